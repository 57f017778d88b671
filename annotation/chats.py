"""Chats with one model or two side by side: messages, and replies that are written while one reads.

A reply is a row from the moment it is asked for. Who writes it is decided by a conditional UPDATE; what there is of it
is saved every second, so that a connection, a server or a web process that breaks leaves the words it had.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone

from annotation.models import Chat, Probe, Reply, Turn
from studio.models import Project, User
from studio.runs.models import Artifact
from studio.serving import client, startup
from studio.serving.client import Sampling
from studio.serving.models import Server
from studio.serving.servers import live_server, mark_used, request_server, seconds_left

LONGEST_MESSAGE = 50_000  # characters
SAVE_SECONDS = 1.0
STALE_SECONDS = client.SILENT_SECONDS + 30  # a reply that was not saved for so long has nobody who writes it
State = Reply.State


class NotYet(ValueError):
    """The reply cannot be written now; asking again later may do."""


# Chats and messages


def open_chat(
    project: Project,
    user: User,
    model: Artifact,
    other: Artifact | None = None,
    *,
    sampling: Sampling | None = None,
    system: str = "",
    is_blind: bool = False,
    probe: Probe | None = None,
) -> Chat:
    """A new conversation; its models are asked to start. A blind one draws which model stands on which side.

    Raises ValueError when the models are the same one, of another project, or cannot be served.
    """
    models = [model] if other is None else [model, other]
    if any(each.project_id != project.pk or each.kind != Artifact.Kind.MODEL for each in models):
        raise ValueError("Choose models of this project.")
    if len({each.pk for each in models}) < len(models):
        raise ValueError("Both sides are the same model: choose another one, or none.")
    if is_blind and other is None:
        raise ValueError("With one model there is no name to hide: choose a second one.")
    if is_blind:
        random.shuffle(models)
    chosen = {name: value for name, value in asdict(sampling or Sampling()).items() if name != "seed"}
    with transaction.atomic():
        chat = Chat.objects.create(
            project=project, user=user, probe=probe, model_a=models[0], model_b=models[1] if other else None,
            is_blind=is_blind, system=system.strip(), sampling=chosen,
        )  # fmt: skip
        wake_models(chat, user)
    return chat


def ask(chat: Chat, text: str, *, chosen: str = "") -> Turn:
    """The next message, with a reply to come from each model. `chosen` says which of two replies it goes on from.

    Raises ValueError when the message is empty or too long, the last one is not answered yet, or nothing was chosen.
    """
    text = text.strip()
    if not text:
        raise ValueError("Write a message first.")
    if len(text) > LONGEST_MESSAGE:
        raise ValueError(f"The message has {len(text):,} characters; at most {LONGEST_MESSAGE:,} fit.")
    settle(chat)
    last = chat.turns.prefetch_related("replies").last()
    try:
        with transaction.atomic():
            if last is not None:
                _go_on_from(last, chosen)
            turn = Turn.objects.create(chat=chat, number=last.number + 1 if last else 1, text=text)
            Reply.objects.bulk_create([Reply(turn=turn, side=side, sampling=_sampling(chat)) for side in chat.sides])
    except IntegrityError as error:
        raise ValueError("Another message was sent here at the same moment: look at it first.") from error
    return turn


def _sampling(chat: Chat) -> dict[str, Any]:
    """Each reply gets a seed of its own, so that it can be drawn again."""
    return {**chat.sampling, "seed": random.randrange(2**31)}


def _go_on_from(last: Turn, chosen: str) -> None:
    replies = {reply.side: reply for reply in last.replies.all()}
    if any(reply.state in (State.WAITING, State.WRITING) for reply in replies.values()):
        raise ValueError("The last message is still being answered: wait for it, or stop it.")
    usable = [side for side, reply in replies.items() if is_usable(reply)]
    if last.chosen in usable or not usable:
        return
    side = usable[0] if len(usable) == 1 else chosen
    if side not in usable:
        raise ValueError("Say which of the two answers the conversation goes on from.")
    Turn.objects.filter(pk=last.pk, chosen=last.chosen).update(chosen=side)


def is_usable(reply: Reply) -> bool:
    """Whether it has words, and no more to come."""
    return reply.state in Reply.ENDED and bool(reply.text.strip())


def messages_of(turn: Turn) -> list[dict[str, str]]:
    """The conversation up to and with this turn's message. Turns that got no usable answer are left out."""
    found = [{"role": "system", "content": turn.chat.system}] if turn.chat.system else []
    for earlier in turn.chat.turns.filter(number__lt=turn.number).prefetch_related("replies"):
        answer = next((reply for reply in earlier.replies.all() if reply.side == earlier.chosen), None)
        if answer is not None and is_usable(answer):
            found.append({"role": "user", "content": earlier.text})
            found.append({"role": "assistant", "content": answer.text})
    return [*found, {"role": "user", "content": turn.text}]


# Models


def wake_models(chat: Chat, user: User) -> None:
    """Ask for the servers that the chat needs next: with room for one only, the next one that has to answer.

    Raises ValueError when a model cannot be served.
    """
    waiting = Reply.objects.filter(turn__chat=chat, state__in=(State.WAITING, State.WRITING))
    sides = list(waiting.order_by("turn", "side").values_list("side", flat=True)) or list(chat.sides)
    if len(sides) > settings.MAX_SERVERS:
        sides = sides[:1]
    for side in sides:
        if live_server(chat.model(side)) is None:
            request_server(chat.model(side), user)


def server_states(chat: Chat, *, names: bool) -> list[dict[str, Any]]:
    """For each side how far its server is, for the page's script; without `names` nothing that tells the model."""
    return [_server_state(side, chat.model(side), names) for side in chat.sides]


def _server_state(side: str, model: Artifact, names: bool) -> dict[str, Any]:
    server = Server.objects.filter(artifact=model).first()
    if server is None:
        return {"side": side, "state": "", "words": "The model is not started"}
    found = {"side": side, "state": server.state, "words": server.get_state_display(), "error": ""}
    if server.state == Server.State.STARTING:
        eta = seconds_left(server)
        found |= {
            "words": server.note if names or not server.note.startswith("Made room") else "Starting",
            "step": server.step, "steps": len(startup.PHASES), "eta": eta and round(eta),
        }  # fmt: skip
    elif server.state == Server.State.CRASHED:
        found |= {"words": "The model's server crashed", "error": server.error if names else ""}
    return found


# Replies


def take_up(reply: Reply) -> Server:
    """Become the one who writes this reply; the healthy server that will answer.

    Raises NotYet when the model is not ready, too many are answering, or somebody writes it already.
    """
    server = live_server(reply.turn.chat.model(reply.side))
    if server is None or server.state != Server.State.HEALTHY:
        raise NotYet("The model is not ready yet.")
    fresh = timezone.now() - timedelta(seconds=STALE_SECONDS)
    if Reply.objects.filter(state=State.WRITING, saved_at__gte=fresh).count() >= settings.MAX_CHAT_STREAMS:
        raise NotYet("The studio is writing as many answers as it can; this one comes next.")
    mine = Reply.objects.filter(pk=reply.pk, state=State.WAITING)
    if mine.update(state=State.WRITING, saved_at=timezone.now(), stop_asked=False, error="") != 1:
        raise NotYet("This answer is being written already.")
    mark_used(server)
    return server


def write(reply: Reply, server: Server) -> Iterator[dict[str, Any]]:
    """Write a reply that was taken up; yields {"text": words} and at last {"state", "error"}.

    Closing the iterator early keeps what there is, as an answer that was cut.
    """
    sampling = Sampling(**reply.sampling)
    started = saved = time.monotonic()
    text, tokens = "", None
    state, finish_reason, error = State.CUT, "cut", "The connection broke off."
    try:
        yield {"state": State.WRITING.value}
        for piece in client.stream_chat(server, messages_of(reply.turn), sampling):
            words = piece.text.replace("\0", "\ufffd")  # PostgreSQL stores no NUL
            text, tokens = text + words, piece.tokens
            if piece.finish_reason:
                state, finish_reason, error = State.DONE, piece.finish_reason, ""
            if time.monotonic() - saved > SAVE_SECONDS:
                saved = time.monotonic()
                if not _save_words(reply, text):
                    error = "It was stopped."
                    break
            if words:
                yield {"text": words}
    except (ValueError, client.ServerUnavailable) as problem:
        state, finish_reason, error = State.CUT, "cut", str(problem)
    finally:
        if state == State.CUT and not text.strip():
            state, finish_reason = State.FAILED, ""
        Reply.objects.filter(pk=reply.pk, state=State.WRITING).update(
            state=state, text=text, finish_reason=finish_reason, error=error[:300], tokens=tokens,
            seconds=time.monotonic() - started, saved_at=timezone.now(),
        )  # fmt: skip
        mark_used(server)
    yield {"state": state.value, "error": error}


def _save_words(reply: Reply, text: str) -> bool:
    """False when its reader asked to stop."""
    mine = Reply.objects.filter(pk=reply.pk, state=State.WRITING, stop_asked=False)
    return mine.update(text=text, saved_at=timezone.now()) == 1


def stop(reply: Reply) -> bool:
    """Ask its writer to stop; one that waits is given up at once. False when it has ended already."""
    waiting = Reply.objects.filter(pk=reply.pk, state=State.WAITING)
    if waiting.update(state=State.FAILED, error="It was stopped before it began."):
        return True
    return Reply.objects.filter(pk=reply.pk, state=State.WRITING).update(stop_asked=True) == 1


def try_again(reply: Reply) -> bool:
    """Wait for the model once more, with a new seed; only the chat's last turn, and nothing that labels rest on."""
    later = Turn.objects.filter(chat=reply.turn.chat_id, number__gt=reply.turn.number)
    if later.exists():
        return False
    again = Reply.objects.filter(pk=reply.pk, state__in=(State.FAILED, State.CUT), completion=None)
    return (
        again.update(state=State.WAITING, text="", error="", finish_reason="", sampling=_sampling(reply.turn.chat)) == 1
    )


def settle(chat: Chat) -> None:
    """Replies whose writer is gone (a web process that was killed) end with the words that were saved."""
    stale = timezone.now() - timedelta(seconds=STALE_SECONDS)
    lost = Reply.objects.filter(turn__chat=chat, state=State.WRITING, saved_at__lt=stale)
    lost.filter(~Q(text="")).update(state=State.CUT, finish_reason="cut", error="The connection broke off.")
    lost.filter(text="").update(state=State.FAILED, error="The connection broke off.")


# Reading


def may_read(chat: Chat, user: User, is_lead: bool) -> bool:
    return is_lead or chat.user_id == user.pk


def shows_names(chat: Chat) -> bool:
    """Names stay hidden in a blind chat until its first vote."""
    return not chat.is_blind or Turn.objects.filter(chat=chat).exclude(comparison=None).exists()
