"""Free probing: talk to one or two models, and make labels of what they say. Only a POST starts or asks a model."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from annotation import chat_labels, chats, probe
from annotation.failure_labels import prompts_like, suggested_prompts
from annotation.failures import final_class
from annotation.forms import make_of
from annotation.forms_failures import FailureExampleForm
from annotation.forms_probe import ChatDemonstrationForm, ChatForm, ConcludeForm, MessageForm, VoteForm
from annotation.models import Chat, FailureClass, Prompt, Reply, Turn
from studio.access import ENGINEERS, EXPERTS, may, member_required
from studio.models import Project, User
from studio.web.numbers import whole_number

TRIES = 8  # prompts offered in a probe
WAITING, WRITING = Reply.State.WAITING, Reply.State.WRITING


@require_http_methods(["GET", "POST"])
@member_required(*EXPERTS)
def new_chat(request: HttpRequest, project: Project) -> HttpResponse:
    """Choose models and ask the first thing; `?text=`, `?prompt=` and `?model=` fill the form in."""
    form = ChatForm(request.POST or None, project=project, initial=_suggested(request, project))
    if request.method == "POST" and form.is_valid():
        data = form.cleaned_data
        try:
            chat = chats.open_chat(
                project, request.user, data["model"], data["other"], sampling=form.sampling(), system=data["system"],
                is_blind=data["is_blind"],
            )  # fmt: skip
            if data["text"].strip():
                chats.ask(chat, data["text"])
        except ValueError as error:
            form.add_error(None, str(error))
        else:
            return redirect("annotation:chat", project.slug, chat.pk)
    about = FailureClass.objects.filter(project=project, pk=whole_number(request.GET.get("class"))).first()
    context = {"project": project, "form": form, "class": about}
    return render(request, "annotation/new_chat.html", context, status=422 if form.errors else 200)


def _suggested(request: HttpRequest, project: Project) -> dict[str, Any]:
    initial = {name: request.GET[name] for name in ("text", "model", "other") if name in request.GET}
    prompt = Prompt.objects.filter(project=project, pk=whole_number(request.GET.get("prompt"))).first()
    return initial | ({"text": prompt.text} if prompt else {})


@require_GET
@member_required(*EXPERTS)
def chat(request: HttpRequest, project: Project, chat_id: int) -> HttpResponse:
    """The conversation; its own user goes on with it, leads read it."""
    found = _readable(request, project, chat_id)
    return _show_chat(request, project, found, MessageForm())


@require_POST
@member_required(*EXPERTS)
def say(request: HttpRequest, project: Project, chat_id: int) -> HttpResponse:
    """The next message. The page that follows asks for the replies."""
    found = _own(request, project, chat_id)
    form = MessageForm(request.POST)
    if form.is_valid():
        try:
            turn = chats.ask(found, form.cleaned_data["text"], chosen=form.cleaned_data["chosen"])
        except ValueError as error:
            form.add_error(None, str(error))
        else:
            return redirect(f"{reverse('annotation:chat', args=[project.slug, found.pk])}#turn-{turn.pk}")
    return _show_chat(request, project, found, form)


def _show_chat(request: HttpRequest, project: Project, found: Chat, form: MessageForm) -> HttpResponse:
    chats.settle(found)
    turns = list(_turns(found.turns))
    names = chats.shows_names(found)
    mine = found.user_id == request.user.pk
    for turn in turns:
        _furnish(turn, found, names, mine, is_last=turn is turns[-1])
    context = {
        "project": project, "chat": found, "turns": turns, "names": names, "mine": mine, "form": form,
        **_probe_context(found, request.user),
    }  # fmt: skip
    return render(request, "annotation/chat.html", context, status=422 if form.errors else 200)


def _turns(turns: Any) -> Any:
    return turns.select_related("prompt", "comparison").prefetch_related(
        "replies__completion__failures__failure_class", "replies__completion__drafted_demonstrations"
    )


def _furnish(turn: Turn, found: Chat, names: bool, mine: bool, is_last: bool) -> None:
    """What the templates show of a turn: its replies with their names and what was made of them, and what is to do."""
    turn.shown = list(turn.replies.all())
    turn.is_last = is_last
    for reply in turn.shown:
        model = found.model(reply.side)
        reply.model = model if names else None
        reply.title = model.name if names else "Name hidden"
        reply.usable = chats.is_usable(reply)
        reply.may_repeat = mine and is_last and reply.completion_id is None
        reply.filed = reply.completion.failures.all() if reply.completion else []
        reply.demonstrated = reply.completion.drafted_demonstrations.all() if reply.completion else []
    usable = [reply for reply in turn.shown if reply.usable]
    turn.is_settled = all(reply.state not in (WAITING, WRITING) for reply in turn.shown)
    turn.can_vote = mine and turn.is_settled and len(usable) == 2 and turn.comparison is None
    turn.must_choose = turn.is_settled and len(usable) == 2 and turn.chosen == ""
    turn.can_use = mine and names
    turn.vote_form = VoteForm() if turn.can_vote else None
    turn.verdict = _verdict(turn)


def _verdict(turn: Turn) -> str:
    comparison = turn.comparison
    if comparison is None:
        return ""
    if not comparison.tiers:
        return "Neither was usable"
    if len(comparison.tiers) == 1:
        return "Equally good"
    better = "A" if comparison.tiers[0][0] == comparison.shown_order[0] else "B"
    strength = f", {comparison.get_strength_display().lower()}" if comparison.strength else ""
    return f"{better} was preferred{strength}"


def _probe_context(found: Chat, user: User) -> dict[str, Any]:
    work = found.probe
    if work is None:
        return {"probe": None}
    examples = probe.examples_of(work).select_related("prompt")
    is_open = work.status == work.Status.OPEN and work.assignee_id == user.pk
    context = {"probe": work, "examples": list(examples), "conclude_form": ConcludeForm(), "is_open": is_open}
    if is_open:
        failed, alike = prompts_like(work.failure_class)
        texts = [*suggested_prompts(work.failure_class), *(prompt.text for prompt in (*alike, *failed))]
        context["tries"] = list(dict.fromkeys(texts))[:TRIES]
    return context


# What the page's script asks for


@require_GET
@member_required(*EXPERTS)
def turn(request: HttpRequest, project: Project, turn_id: int) -> HttpResponse:
    """One turn as it is now."""
    found = get_object_or_404(Turn.objects.select_related("chat"), pk=turn_id, chat__project=project)
    if not chats.may_read(found.chat, request.user, may(request.membership, ENGINEERS)):
        raise Http404("This is somebody else's chat.")
    chats.settle(found.chat)
    return _show_turn(request, project, found.pk)


def _show_turn(request: HttpRequest, project: Project, turn_id: int, **context: Any) -> HttpResponse:
    related = ("chat__model_a", "chat__model_b", "chat__probe__failure_class")
    found = _turns(Turn.objects).select_related(*related).get(pk=turn_id)
    mine = found.chat.user_id == request.user.pk
    last = not Turn.objects.filter(chat=found.chat_id, number__gt=found.number).exists()
    _furnish(found, found.chat, chats.shows_names(found.chat), mine, is_last=last)
    return render(request, "annotation/_turn.html", {"project": project, "chat": found.chat, "turn": found, **context})


@require_http_methods(["GET", "POST"])
@member_required(*EXPERTS)
def servers(request: HttpRequest, project: Project, chat_id: int) -> HttpResponse:
    """How far the models' servers are, as JSON; a POST asks for those that the chat needs next."""
    found = _own(request, project, chat_id)
    problem = ""
    if request.method == "POST":
        try:
            chats.wake_models(found, request.user)
        except ValueError as error:
            problem = str(error)
    states = chats.server_states(found, names=chats.shows_names(found))
    return JsonResponse({"servers": states, "problem": problem})


@require_POST
@member_required(*EXPERTS)
def write_reply(request: HttpRequest, project: Project, reply_id: int) -> HttpResponse:
    """The reply, as JSON lines while the model writes it; 409 with the reason when it cannot be written now."""
    reply = _own_reply(request, project, reply_id)
    try:
        server = chats.take_up(reply)
    except chats.NotYet as error:
        return JsonResponse({"wait": str(error)}, status=409)
    lines = _lines(chats.write(reply, server))
    next(lines)  # begun: closing it from now on keeps what there is
    response = StreamingHttpResponse(lines, content_type="application/x-ndjson")
    response["Cache-Control"] = "no-store"
    response["X-Accel-Buffering"] = "no"  # nginx would hold it back
    return response


def _lines(events: Iterator[dict[str, Any]]) -> Iterator[bytes]:
    try:
        for event in events:
            yield json.dumps(event).encode() + b"\n"
    finally:
        events.close()  # type: ignore[attr-defined]


@require_POST
@member_required(*EXPERTS)
def stop_reply(request: HttpRequest, project: Project, reply_id: int) -> HttpResponse:
    return _act_on_reply(request, project, reply_id, chats.stop)


@require_POST
@member_required(*EXPERTS)
def repeat_reply(request: HttpRequest, project: Project, reply_id: int) -> HttpResponse:
    """Wait for the model once more, after a failure or a cut."""
    return _act_on_reply(request, project, reply_id, chats.try_again)


def _act_on_reply(
    request: HttpRequest, project: Project, reply_id: int, act: Callable[[Reply], object]
) -> HttpResponse:
    reply = _own_reply(request, project, reply_id)
    act(reply)
    return _show_turn(request, project, reply.turn_id)


# What is made of a turn


@require_POST
@member_required(*EXPERTS)
def vote(request: HttpRequest, project: Project, turn_id: int) -> HttpResponse:
    """Which of the two replies is better."""
    found = get_object_or_404(
        Turn.objects.select_related("chat__project"), pk=turn_id, chat__project=project, chat__user=request.user
    )
    form = VoteForm(request.POST)
    if not form.is_valid():
        messages.error(request, "Say which answer is better, that they are equally good, or that neither is usable.")
    else:
        try:
            made = chat_labels.vote(found, request.user, **form.cleaned_data)
        except ValueError as error:
            messages.error(request, str(error))
        else:
            messages.success(request, f"Comparison {made.pk} is saved.")
    return redirect(f"{reverse('annotation:chat', args=[project.slug, found.chat_id])}#turn-{found.pk}")


@require_http_methods(["GET", "POST"])
@member_required(*EXPERTS)
def demonstrate(request: HttpRequest, project: Project, reply_id: int) -> HttpResponse:
    """The content of a dialog: the reply to be edited into an ideal answer."""
    reply = _usable_reply(request, project, reply_id)
    form = ChatDemonstrationForm(request.POST or None, initial={"text": reply.text})
    made = make_of(form, partial(chat_labels.demonstrate, reply, request.user))
    context = {"project": project, "reply": reply, "form": form, "made": made}
    return render(request, "annotation/_chat_demonstration.html", context, status=422 if form.errors else 200)


@require_http_methods(["GET", "POST"])
@member_required(*EXPERTS)
def file_reply(request: HttpRequest, project: Project, reply_id: int) -> HttpResponse:
    """The content of a dialog: the reply as an example of a failure, in a probe of the class that it is for."""
    reply = _usable_reply(request, project, reply_id)
    work = reply.turn.chat.probe
    initial = {"failure_class": final_class(work.failure_class).pk} if work else {}
    form = FailureExampleForm(request.POST or None, project=project, initial=initial)
    filed = make_of(form, partial(chat_labels.file_reply, reply, request.user))
    context = {
        "project": project, "completion": reply, "form": form, "filed": filed, "action": request.path,
        "turn": reply.turn_id, **(_probe_context(reply.turn.chat, request.user) if filed else {}),
    }  # fmt: skip
    return render(request, "annotation/_file_failure.html", context, status=422 if form.errors else 200)


# Finding


def _readable(request: HttpRequest, project: Project, chat_id: int) -> Chat:
    related = ("model_a", "model_b", "user", "probe__failure_class", "probe__model")
    found = get_object_or_404(Chat.objects.select_related(*related), pk=chat_id, project=project)
    if not chats.may_read(found, request.user, may(request.membership, ENGINEERS)):
        raise Http404("This is somebody else's chat.")
    return found


def _own(request: HttpRequest, project: Project, chat_id: int) -> Chat:
    related = ("model_a", "model_b", "user", "probe__failure_class", "probe__model")
    return get_object_or_404(Chat.objects.select_related(*related), pk=chat_id, project=project, user=request.user)


def _own_reply(request: HttpRequest, project: Project, reply_id: int) -> Reply:
    related = ("turn__chat__model_a", "turn__chat__model_b", "turn__chat__probe__failure_class", "turn__chat__project")
    replies = Reply.objects.select_related(*related)
    return get_object_or_404(replies, pk=reply_id, turn__chat__project=project, turn__chat__user=request.user)


def _usable_reply(request: HttpRequest, project: Project, reply_id: int) -> Reply:
    """A finished reply whose model is known to its reader: in a blind chat the vote comes first."""
    reply = _own_reply(request, project, reply_id)
    if not chats.is_usable(reply):
        raise Http404("This answer is not finished, or it is empty.")
    if not chats.shows_names(reply.turn.chat):
        raise Http404("Vote first: what you make of an answer is kept with the model's name.")
    return reply
