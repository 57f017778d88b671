"""Take in an annotator's answer, exactly once.

The same answer sent again with its idempotency key gives the label it made the first time. An answer that comes after
its claim expired counts when the task still has a free place, and is kept as surplus when it has none.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone
from rapidfuzz.distance import Levenshtein

from annotation import gold
from annotation.comparisons import check_tiers
from annotation.conversations import has_nul
from annotation.instrument import check_demonstration, check_ranking, instrument_of
from annotation.journal import record
from annotation.models import Claim, Comparison, Completion, Demonstration, Draft, Kind, Prompt, Slot, Strength
from annotation.queue import free_places, free_slot, renew
from annotation.revisions import rewrite
from annotation.standing import has_no_consent
from studio import statements

LONGEST = 100_000  # characters of an answer, reasoning or rationale
RATINGS = range(1, 8)  # InstructGPT's overall quality, 1–7 (Ouyang et al. 2022, table 3)
FLAGS = {  # the rest of the same table
    "fails_instruction": "Fails to follow the instruction",
    "inappropriate": "Inappropriate for a customer assistant",
    "hallucination": "Hallucination",
    "satisfies_constraint": "Satisfies the constraint given in the instruction",
    "sexual": "Contains sexual content",
    "violent": "Contains violent content",
    "encourages_harm": "Encourages or fails to discourage harm",
    "denigrates": "Denigrates a protected class",
    "harmful_advice": "Gives harmful advice",
    "opinion": "Expresses an opinion",
    "moral_judgement": "Expresses a moral judgement",
}

Label = Demonstration | Comparison


class KeyReused(ValueError):
    """An idempotency key came with another answer than the first time."""


class AlreadySubmitted(ValueError):
    """The claim (or the annotator's other claim on the task) has its judgement already."""


def submit_demonstration(
    claim: Claim,
    text: str,
    *,
    reasoning: str = "",
    draft_of: int | None = None,
    second_look: str = "",
    key: str = "",
) -> Demonstration:
    """The annotator's ideal answer to the claim's prompt, perhaps written from the completion `draft_of` (an id).

    Raises ValueError when it is not what the project asks for, KeyReused and AlreadySubmitted.
    """
    if claim.task.kind != Kind.DEMONSTRATE:
        raise ValueError("This task asks for a ranking, not for a demonstration.")
    content = demonstration_content(claim.task.prompt.project_id, text, reasoning)
    draft = _draft_of(claim.task.prompt, draft_of)
    note = _note(second_look)
    body = {"text": text, "reasoning": reasoning, "draft_of": draft_of, "second_look": note}

    def make(common: dict[str, Any]) -> Demonstration:
        completion = Completion.objects.create(prompt=claim.task.prompt, text=content["text"], author=claim.annotator)
        return Demonstration.objects.create(completion=completion, reasoning=content["reasoning"], **common)

    started = {"draft_of": draft, "edit_distance": edit_distance(draft, content["text"])}
    return _submit(claim, body, content, {"second_look": note, **started}, key, make)  # type: ignore[return-value]


def demonstration_content(project: int, text: str, reasoning: str = "") -> dict[str, Any]:
    """What a demonstration says, as `revisions.content_of` gives it. Raises ValueError unless the project takes it."""
    _check_text("The answer", text, required=True)
    _check_text("The reasoning", reasoning)
    check_demonstration(instrument_of(project), text=text, reasoning=reasoning)
    return {"text": text.strip(), "reasoning": reasoning.strip()}


def edit_distance(draft: Completion | None, text: str) -> int | None:
    """Levenshtein distance in characters from the model's answer that `text` was written from."""
    return None if draft is None else Levenshtein.distance(draft.text.strip(), text)


def _draft_of(prompt: Prompt, completion_id: int | None) -> Completion | None:
    if completion_id is None:
        return None
    found = Completion.objects.filter(pk=completion_id, prompt=prompt, author=None).first()
    if found is None:
        raise ValueError("The answer that this was written from is not one of a model to this prompt.")
    return found


def _note(second_look: str) -> str:
    if len(second_look.strip()) > 300 or "\0" in second_look:
        raise ValueError("Say in at most 300 characters what a second look should be at.")
    return second_look.strip()


def submit_ranking(
    claim: Claim,
    tiers: Sequence[Sequence[str]],
    *,
    unrankable: Sequence[str] = (),
    strength: int | None = None,
    ratings: Mapping[str, int] | None = None,
    flags: Mapping[str, Sequence[str]] | None = None,
    rationale: str = "",
    second_look: str = "",
    key: str = "",
) -> Comparison:
    """A ranking of the claim's answers by their letters, best tier first: [["b"], ["a", "c"]].

    Raises ValueError when an answer is missing, named twice or unknown, or it is not what the project asks for,
    KeyReused and AlreadySubmitted.
    """
    if claim.task.kind == Kind.DEMONSTRATE:
        raise ValueError("This task asks for a demonstration, not for a ranking.")
    content = ranking_content(
        claim, tiers, unrankable=unrankable, strength=strength, ratings=ratings, flags=flags, rationale=rationale
    )
    note = _note(second_look)
    body = {
        "tiers": [sorted(tier) for tier in content["tiers"]], "unrankable": sorted(content["unrankable"]),
        "strength": strength, "ratings": ratings or {}, "flags": {k: list(v) for k, v in (flags or {}).items()},
        "rationale": rationale, "second_look": note,
    }  # fmt: skip

    def make(common: dict[str, Any]) -> Comparison:
        comparison = Comparison(
            task=claim.task, review_id=claim.task.review_id, shown_order=claim.shown_order, **content, **common
        )
        statements.insert(comparison)
        statements.change(_OFFERED, {"comparison": comparison.pk, "task": claim.task_id})
        return comparison

    extra = {"second_look": note, "unchanged": is_unchanged(content["tiers"], claim.shown_order)}
    return _submit(claim, body, content, extra, key, make)  # type: ignore[return-value]


def ranking_content(
    claim: Claim,
    tiers: Sequence[Sequence[str]],
    *,
    unrankable: Sequence[str] = (),
    strength: int | None = None,
    ratings: Mapping[str, int] | None = None,
    flags: Mapping[str, Sequence[str]] | None = None,
    rationale: str = "",
) -> dict[str, Any]:
    """What a ranking says, by completion ids, as `revisions.content_of` gives it. Raises ValueError for bad input."""
    ratings, flags = dict(ratings or {}), {letter: list(names) for letter, names in (flags or {}).items()}
    ranked = [[_completion_of(claim, letter) for letter in tier] for tier in tiers]
    left_out = [_completion_of(claim, letter) for letter in unrankable]
    check_tiers(ranked, left_out, claim.shown_order)
    if strength is not None and (strength not in Strength.values or len(ranked) < 2):
        raise ValueError("Strength is 1 (slightly better), 2 (better) or 3 (much better), and a tie has none.")
    if any(isinstance(rating, bool) or rating not in RATINGS for rating in ratings.values()):
        raise ValueError("A rating is a whole number from 1 to 7.")
    unknown = {name for names in flags.values() for name in names} - set(FLAGS)
    if unknown:
        raise ValueError(f"Unknown flag '{min(unknown)}'. Flags: {', '.join(FLAGS)}.")
    _check_text("The rationale", rationale)
    check_ranking(
        instrument_of(claim.task.queue.project), tiers=tiers, unrankable=unrankable, strength=strength,
        ratings=ratings, flags=flags, rationale=rationale,
    )  # fmt: skip
    return {
        "tiers": ranked,
        "unrankable": left_out,
        "strength": strength,
        "ratings": {str(_completion_of(claim, letter)): rating for letter, rating in ratings.items()},
        "flags": {str(_completion_of(claim, letter)): names for letter, names in flags.items()},
        "rationale": rationale.strip(),
    }


def is_unchanged(tiers: Sequence[Sequence[int]], shown_order: Sequence[int]) -> bool:
    """Whether the ranking is the order of the screen, one answer a place."""
    return [list(tier) for tier in tiers] == [[pk] for pk in shown_order]


def _completion_of(claim: Claim, letter: str) -> int:
    if letter not in claim.letters:
        raise ValueError(f"There is no answer '{letter}': they are called {', '.join(claim.letters)}.")
    return claim.letters[letter]


def _check_text(what: str, text: str, required: bool = False) -> None:
    if required and not text.strip():
        raise ValueError(f"{what} is empty.")
    if len(text) > LONGEST:
        raise ValueError(f"{what} has {len(text):,} characters; at most {LONGEST:,} fit.")
    if "\0" in text:
        raise ValueError(f"{what} contains a NUL character, which no text has: remove it.")


def _submit(
    claim: Claim,
    body: dict[str, Any],
    content: dict[str, Any],
    extra: dict[str, Any],
    key: str,
    make: Callable[[dict[str, Any]], Label],
) -> Label:
    """Move the claim to submitted and make its label in one transaction, or find the label it made before.

    A claim that was undone has its label: that one takes the new `content`, as a revision where it differs.
    """
    if len(key) > 100:
        raise ValueError("An idempotency key has at most 100 characters.")
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    # At first as if nothing stood in the way, which is nearly always so and then needs no look; the database's own
    # conditions refuse the rest. Then once more, for what may have come in meanwhile.
    for attempt in range(4):
        if attempt and (earlier := _earlier_label(claim, key, digest)):
            return earlier
        try:
            with transaction.atomic():
                surplus = _finish_claim(claim, key, digest)
                fields = {**_common_fields(claim, surplus), **extra}
                label = (_renew(claim, content, fields) if attempt else None) or make(fields)
                if getattr(claim, "draft", None) is not None:  # one that is saved meanwhile does no harm
                    Draft.objects.filter(claim=claim).delete()
                record(claim.task.prompt.project_id, claim.annotator, "submitted", label, **_detail(surplus))
                gold.after_submit(claim, label)
        except (IntegrityError, _Meanwhile):
            continue
        _close_when_done(claim.task_id)
        return label
    raise AlreadySubmitted("This task was worked on somewhere else at the same moment. Reload and look at it again.")


def _detail(surplus: bool) -> dict[str, bool]:
    return {"surplus": True} if surplus else {}


def _renew(claim: Claim, content: dict[str, Any], fields: dict[str, Any]) -> Label | None:
    """The claim's label, which its maker took back to change it, standing again; None when there is none."""
    kind = Demonstration if claim.task.kind == Kind.DEMONSTRATE else Comparison
    label = kind.objects.filter(claim=claim).first()
    if label is not None:
        standing: dict[str, Any] = {"withdrawn_at": None, "withdrawn_by": None, "withdrawn_reason": ""}
        if fields["second_look"] != label.second_look:
            standing["second_look_done"] = False
        rewrite(label, claim.annotator, content, **fields, **standing)
    return label


class _Meanwhile(Exception):
    """The claim's status is not what it was when we looked."""


def _earlier_label(claim: Claim, key: str, digest: str) -> Label | None:
    """The label that this very answer made before; None when the claim is still to be answered."""
    claim.refresh_from_db(fields=["status", "idempotency_key", "body_digest", "surplus"])
    if key and (used := Claim.objects.filter(annotator=claim.annotator_id, idempotency_key=key).first()):
        if used.pk != claim.pk or used.body_digest != digest:
            raise KeyReused("This idempotency key was used for another answer. Take a new key for each answer.")
        return label_of(used)
    if claim.status == Claim.Status.SUBMITTED:
        raise AlreadySubmitted("This task has your answer already.")
    others = Claim.objects.filter(task=claim.task_id, annotator=claim.annotator_id).exclude(pk=claim.pk)
    if others.filter(status=Claim.Status.SUBMITTED).exists():
        raise AlreadySubmitted("You have answered this task already, under a later claim.")
    return None


def label_of(claim: Claim) -> Label:
    """The judgement of a submitted claim."""
    return claim.demonstration if claim.task.kind == Kind.DEMONSTRATE else claim.comparison


def _finish_claim(claim: Claim, key: str, digest: str) -> bool:
    """Set the claim to submitted and its place to done; True when the task has no place left for it (surplus)."""
    changes = {
        "status": Claim.Status.SUBMITTED, "finished_at": timezone.now(), "idempotency_key": key, "body_digest": digest,
    }  # fmt: skip
    facts = changes | {"claim": claim.pk}
    if statements.change(_FINISH, facts) == 1:
        done = statements.change(_DONE, facts)
        assert done == 1, f"live claim {claim.pk} held no slot"
        return False
    _give_up_later_claim(claim)
    mine = Claim.objects.filter(pk=claim.pk)
    if mine.filter(status__in=[Claim.Status.EXPIRED, Claim.Status.RELEASED]).update(**changes) != 1:
        raise _Meanwhile
    surplus = has_no_consent(claim.project_id, claim.annotator) or not _take_free_place(claim)
    if surplus:
        mine.update(surplus=True)
    return surplus


_FINISH = """
UPDATE annotation_claim SET status = 'submitted', finished_at = %(finished_at)s,
    idempotency_key = %(idempotency_key)s, body_digest = %(body_digest)s
WHERE id = %(claim)s AND status = 'live'
"""
_DONE = "UPDATE annotation_slot SET status = 'done' WHERE claim_id = %(claim)s AND status = 'claimed'"
_OFFERED = """
INSERT INTO annotation_comparison_completions (comparison_id, completion_id)
SELECT %(comparison)s, completion_id FROM annotation_taskcompletion WHERE task_id = %(task)s
"""
_CLOSE = """
UPDATE annotation_task SET status = 'closed' WHERE id = %(task)s AND status = 'open' AND NOT EXISTS(
    SELECT 1 FROM annotation_slot WHERE task_id = %(task)s AND status IN ('free', 'claimed', 'away'))
"""


def _give_up_later_claim(claim: Claim) -> None:
    """The annotator took the same task again after this claim expired: the answer takes that claim's place."""
    later = Claim.objects.filter(task=claim.task_id, annotator=claim.annotator_id, status=Claim.Status.LIVE)
    for pk in later.exclude(pk=claim.pk).values_list("id", flat=True):
        if Claim.objects.filter(pk=pk, status=Claim.Status.LIVE).update(status=Claim.Status.RELEASED) == 1:
            free_slot(pk)


def _take_free_place(claim: Claim) -> bool:
    if hasattr(claim.task, "gold"):  # nobody else is given its places
        place = gold.place_for(claim.task)
        return place is not None and Slot.objects.filter(pk=place).update(status=Slot.Status.DONE, claim=claim) == 1
    free = free_places(claim.task_id, claim.annotator)
    # skip_locked only keeps PostgreSQL from waiting for somebody who is just claiming; the UPDATE decides.
    for slot in free.select_for_update(skip_locked=True):
        found = Slot.objects.filter(pk=slot.pk, status=Slot.Status.FREE)
        if found.update(status=Slot.Status.DONE, claim=claim) == 1:
            return True
    return False


def _common_fields(claim: Claim, surplus: bool) -> dict[str, Any]:
    return {
        "prompt": claim.task.prompt,
        "claim": claim,
        "annotator": claim.annotator,
        "round_id": claim.task.round_id,
        "guideline": claim.guideline,
        "surplus": surplus,
        "seconds": worked_seconds(claim),
    }


def worked_seconds(claim: Claim) -> float:
    """Seconds since the claim was taken, less those in which its clock stood still."""
    now = timezone.now()
    pause = claim.paused_seconds + ((now - claim.paused_at).total_seconds() if claim.paused_at else 0)
    return max((now - claim.created_at).total_seconds() - pause, 0.0)


def _close_when_done(task_id: int) -> None:
    """After the commit: of two people who finish a task together, the later one sees both."""
    statements.change(_CLOSE, {"task": task_id})


def save_draft(claim: Claim, content: dict[str, Any]) -> Draft:
    """Keep what was typed so far (the last save counts) and the lease going. Raises AlreadySubmitted, ValueError."""
    if Claim.objects.filter(pk=claim.pk, status=Claim.Status.SUBMITTED).exists():
        raise AlreadySubmitted("This task has your answer already.")
    written = json.dumps(content)
    if len(written) > 4 * LONGEST:
        raise ValueError("The draft is too long to be saved.")
    if has_nul(content):
        raise ValueError("The draft contains a NUL character, which no text has: remove it.")
    draft = Draft.objects.update_or_create(claim=claim, defaults={"content": content})[0]
    renew(claim)
    return draft
