"""The room for probing: what is asked of you, your chats, and for leads what is asked of others."""

from __future__ import annotations

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from annotation import chats, probe
from annotation.forms_probe import ConcludeForm, ProbeForm
from annotation.models import Chat, Probe, Turn
from studio.access import ENGINEERS, EXPERTS, may, member_required
from studio.models import Project

SHOWN = 50  # open probes
PAGE = 20  # chats
RELATED = ("failure_class", "model", "assignee", "created_by")


@require_GET
@member_required(*EXPERTS)
def probing(request: HttpRequest, project: Project) -> HttpResponse:
    """Open probes (one's own and free ones; a lead sees all) and chats, one's own or, for leads, everybody's."""
    is_lead = may(request.membership, ENGINEERS)
    everybody = is_lead and request.GET.get("chats") == "all"
    open_probes = probe.open_for(project, request.user).select_related(*RELATED)
    others = Probe.objects.none()
    if is_lead:
        others = project.probes.select_related(*RELATED).exclude(pk__in=open_probes.values("pk"))
    found = project.chats.select_related("user", "model_a", "model_b", "probe__failure_class")
    page = Paginator(found if everybody else found.filter(user=request.user), PAGE).get_page(request.GET.get("page"))
    _furnish(page.object_list)
    context = {
        "project": project,
        "probes": probe.with_found(open_probes[:SHOWN]),
        "others": probe.with_found(others[:SHOWN]),
        "page": page,
        "is_lead": is_lead,
        "everybody": everybody,
    }
    return render(request, "annotation/probing.html", context)


def _furnish(found: list[Chat]) -> None:
    """The first message of each chat, how many there are, and whether it shows its names; one query."""
    rows: dict[int, list[Turn]] = {}
    for turn in Turn.objects.filter(chat__in=list(found)).order_by("chat", "number"):
        rows.setdefault(turn.chat_id, []).append(turn)
    for chat in found:
        turns = rows.get(chat.pk, [])
        chat.first = turns[0].text if turns else ""
        chat.length = len(turns)
        chat.names = not chat.is_blind or any(turn.comparison_id for turn in turns)


@require_http_methods(["GET", "POST"])
@member_required(*ENGINEERS)
def assign_probe(request: HttpRequest, project: Project) -> HttpResponse:
    initial = {"failure_class": request.GET.get("class", ""), "model": request.GET.get("model", "")}
    form = ProbeForm(request.POST or None, project=project, initial=initial)
    if request.method == "POST" and form.is_valid():
        data = form.cleaned_data
        failure_class = data.pop("failure_class")
        try:
            made = probe.assign(failure_class, data.pop("model"), request.user, **data)
        except ValueError as error:
            form.add_error(None, str(error))
        else:
            messages.success(request, "The probe is assigned." if made.assignee else "The probe waits to be taken.")
            return redirect("annotation:probe", project.slug, made.pk)
    context = {"project": project, "form": form}
    return render(request, "annotation/assign_probe.html", context, status=422 if form.errors else 200)


@require_GET
@member_required(*EXPERTS)
def probe_page(request: HttpRequest, project: Project, probe_id: int) -> HttpResponse:
    return _show(request, project, _find(project, probe_id), ConcludeForm())


def _find(project: Project, probe_id: int) -> Probe:
    return get_object_or_404(Probe.objects.select_related(*RELATED, "project"), pk=probe_id, project=project)


def _show(request: HttpRequest, project: Project, found: Probe, form: ConcludeForm) -> HttpResponse:
    is_lead = may(request.membership, ENGINEERS)
    talks = found.chats.select_related("user", "model_a", "model_b", "probe__failure_class")
    if not is_lead:
        talks = talks.filter(user=request.user)
    shown = list(talks[:SHOWN])
    _furnish(shown)
    is_open = found.status == Probe.Status.OPEN
    context = {
        "project": project,
        "probe": found,
        "examples": list(probe.examples_of(found).select_related("prompt", "author", "failure_class")),
        "chats": shown,
        "form": form,
        "is_lead": is_lead,
        "is_mine": is_open and found.assignee_id == request.user.pk,
        "is_free": is_open and found.assignee_id is None,
        "is_open": is_open,
    }
    return render(request, "annotation/probe.html", context, status=422 if form.errors else 200)


@require_POST
@member_required(*EXPERTS)
def take_probe(request: HttpRequest, project: Project, probe_id: int) -> HttpResponse:
    found = _find(project, probe_id)
    if not probe.take(found, request.user):
        messages.info(request, "Somebody else was quicker, or the probe is over.")
        return redirect("annotation:probing", project.slug)
    return redirect("annotation:probe", project.slug, found.pk)


@require_POST
@member_required(*EXPERTS)
def give_up_probe(request: HttpRequest, project: Project, probe_id: int) -> HttpResponse:
    if probe.give_up(_find(project, probe_id), request.user):
        messages.success(request, "The probe is left to others. What you filed stays.")
    else:
        messages.info(request, "This probe is not yours, or it is over.")
    return redirect("annotation:probing", project.slug)


@require_POST
@member_required(*EXPERTS)
def probe_chat(request: HttpRequest, project: Project, probe_id: int) -> HttpResponse:
    """A new conversation with the probe's model."""
    found = _find(project, probe_id)
    if found.status != Probe.Status.OPEN or found.assignee_id != request.user.pk:
        messages.info(request, "Take the probe first: it is not yours, or it is over.")
        return redirect("annotation:probe", project.slug, found.pk)
    try:
        made = chats.open_chat(project, request.user, found.model, probe=found)
    except ValueError as error:
        messages.error(request, str(error))
        return redirect("annotation:probe", project.slug, found.pk)
    return redirect("annotation:chat", project.slug, made.pk)


@require_POST
@member_required(*EXPERTS)
def conclude_probe(request: HttpRequest, project: Project, probe_id: int) -> HttpResponse:
    found = _find(project, probe_id)
    form = ConcludeForm(request.POST)
    if form.is_valid():
        try:
            probe.conclude(found, request.user, form.cleaned_data["conclusion"], state=form.cleaned_data["state"])
        except ValueError as error:
            form.add_error(None, str(error))
        else:
            messages.success(request, "The probe is concluded. Thank you.")
            return redirect("annotation:probe", project.slug, found.pk)
    return _show(request, project, found, form)


@require_POST
@member_required(*ENGINEERS)
def withdraw_probe(request: HttpRequest, project: Project, probe_id: int) -> HttpResponse:
    found = _find(project, probe_id)
    if probe.withdraw(found, request.user):
        messages.success(request, "The probe is withdrawn. What was found stays.")
    else:
        messages.info(request, "The probe is over already.")
    return redirect("annotation:probe", project.slug, found.pk)
