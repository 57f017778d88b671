"""What is made of a chat: a comparison of its two replies, a demonstration, an example of a failure.

The conversation up to the turn becomes a prompt of the project and the replies its completions when the first of these
is made; until then a chat adds nothing to what the project samples from and trains on.
"""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.utils import timezone
from rapidfuzz.distance import Levenshtein

from annotation import failures, journal
from annotation.chats import is_usable, messages_of, shows_names
from annotation.instrument import check_demonstration, instrument_of
from annotation.models import (
    Comparison,
    Completion,
    Demonstration,
    FailureClass,
    FailureExample,
    Prompt,
    Reply,
    Strength,
    Turn,
)
from annotation.prompts import message_key, remember_prompts
from annotation.submit import LONGEST
from studio.models import User

OUTCOMES = {"a": "A is better", "b": "B is better", "tie": "Equally good", "neither": "Neither is usable"}


def keep(turn: Turn) -> dict[str, Completion]:
    """The turn's usable replies as completions of a prompt of the project, by side; made when they are not there yet.

    Call it inside a transaction.
    """
    locked = Turn.objects.select_for_update(of=("self",)).select_related("chat__project", "chat__user").get(pk=turn.pk)
    chat = locked.chat
    prompt = locked.prompt or _prompt_of(locked)
    kept = {}
    for reply in locked.replies.select_related("completion"):
        if not is_usable(reply):
            continue
        if reply.completion is None:
            reply.completion = Completion.objects.create(
                prompt=prompt, text=reply.text, model=chat.model(reply.side), sampling=reply.sampling,
                finish_reason=reply.finish_reason, tokens=reply.tokens,
            )  # fmt: skip
            reply.save(update_fields=["completion"])
        kept[reply.side] = reply.completion
    return kept


def _prompt_of(turn: Turn) -> Prompt:
    messages = messages_of(turn)
    key = message_key(messages)
    wanted = {key: {"messages": messages, "tags": ["chat"]}}
    prompt = remember_prompts(turn.chat.project, wanted, turn.chat.user, source=f"Chat {turn.chat_id}")[key]
    Turn.objects.filter(pk=turn.pk).update(prompt=prompt)
    return prompt


def _kept(turn: Turn, side: str) -> Completion:
    kept = keep(turn)
    if side not in kept:
        raise ValueError("This answer is not finished, or it is empty.")
    return kept[side]


def _where(turn: Turn) -> str:
    return f"Chat {turn.chat_id}, turn {turn.number}"


@transaction.atomic
def vote(turn: Turn, user: User, outcome: str, *, strength: int | None = None, rationale: str = "") -> Comparison:
    """Which of the two replies is better, once a turn: a comparison in the order in which they were shown.

    The conversation goes on from the better one. Raises ValueError when there are not two different answers to compare.
    """
    if outcome not in OUTCOMES:
        raise ValueError("Say which answer is better, that they are equally good, or that neither is usable.")
    decided = outcome in ("a", "b")
    if strength is not None and (strength not in Strength.values or not decided):
        raise ValueError("Strength is 1 (slightly better), 2 (better) or 3 (much better), and a tie has none.")
    if len(rationale) > LONGEST:
        raise ValueError(f"The rationale has {len(rationale):,} characters; at most {LONGEST:,} fit.")
    was_blind = not shows_names(turn.chat)
    kept = keep(turn)
    if set(kept) != {"a", "b"}:
        raise ValueError("There are no two finished answers to compare.")
    if kept["a"].text.strip() == kept["b"].text.strip():
        raise ValueError("Both answers are the same: there is nothing to choose between them.")
    a, b = kept["a"].pk, kept["b"].pk
    tiers: dict[str, Any] = {"a": [[a], [b]], "b": [[b], [a]], "tie": [[a, b]], "neither": []}
    finished = max(reply.saved_at for reply in turn.replies.all())
    comparison = Comparison.objects.create(
        prompt=kept["a"].prompt, annotator=user, guideline=turn.chat.project.guideline, tiers=tiers[outcome],
        unrankable=[a, b] if outcome == "neither" else [], shown_order=[a, b], strength=strength,
        rationale=rationale.strip(), source=_where(turn), seconds=(timezone.now() - finished).total_seconds(),
    )  # fmt: skip
    comparison.completions.set([a, b])
    open_turn = Turn.objects.filter(pk=turn.pk, comparison=None)
    changes = {"comparison": comparison, **({"chosen": outcome} if decided else {})}
    if open_turn.update(**changes) != 1:
        raise ValueError("You have compared these two answers already.")
    journal.record(turn.chat.project_id, user, "submitted", comparison, source=_where(turn), blind=was_blind)
    return comparison


@transaction.atomic
def demonstrate(reply: Reply, user: User, text: str, *, reasoning: str = "") -> Demonstration:
    """A person's ideal answer to the turn, written from this reply; the edit distance to it is kept.

    Raises ValueError when it is empty, not as the project asks for, or handed in already.
    """
    turn = reply.turn
    if not text.strip():
        raise ValueError("The answer is empty.")
    for what, given in (("The answer", text), ("The reasoning", reasoning)):
        if len(given) > LONGEST:
            raise ValueError(f"{what} has {len(given):,} characters; at most {LONGEST:,} fit.")
    check_demonstration(instrument_of(turn.chat.project_id), text=text, reasoning=reasoning)
    draft = _kept(turn, reply.side)
    same = Demonstration.objects.filter(prompt=draft.prompt_id, annotator=user, completion__text=text.strip())
    if same.filter(withdrawn_at=None).exists():
        raise ValueError("This demonstration is there already.")
    completion = Completion.objects.create(prompt=draft.prompt, text=text.strip(), author=user)
    made = Demonstration.objects.create(
        prompt=draft.prompt, completion=completion, annotator=user, guideline=turn.chat.project.guideline,
        reasoning=reasoning.strip(), draft_of=draft, edit_distance=Levenshtein.distance(draft.text, text.strip()),
        source=_where(turn),
    )  # fmt: skip
    journal.record(turn.chat.project_id, user, "submitted", made, source=_where(turn))
    return made


@transaction.atomic
def file_reply(
    reply: Reply,
    user: User,
    *,
    failure_class: FailureClass | None = None,
    name: str = "",
    correction: str,
    reasoning: str = "",
) -> FailureExample:
    """File a reply as an example of a failure. Raises ValueError as `failures.file_failure` does."""
    completion = _kept(reply.turn, reply.side)
    return failures.file_failure(
        reply.turn.chat.project, completion, user, failure_class=failure_class, name=name, correction=correction,
        reasoning=reasoning,
    )  # fmt: skip
