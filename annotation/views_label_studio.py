"""Queues in Label Studio: linked, sent, fetched, unlinked."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_POST

from annotation.label_studio import links
from annotation.label_studio.client import server, why_not_configured
from annotation.label_studio.tasks import pull_link, push_link
from annotation.models import LabelStudioLink
from studio.access import ENGINEERS, member_required
from studio.models import Project
from studio.web.numbers import whole_number


def _find(project: Project, link_id: int) -> LabelStudioLink:
    return get_object_or_404(LabelStudioLink.objects.filter(project=project).select_related("queue"), pk=link_id)


@require_GET
@member_required(*ENGINEERS)
def label_studio(request: HttpRequest, project: Project) -> HttpResponse:
    found = list(LabelStudioLink.objects.filter(project=project).select_related("queue").order_by("-is_active", "-id"))
    counts = links.counts(found)
    context = {
        "project": project,
        "server": server(),
        "not_configured": why_not_configured(),
        "rows": [_facts(link, counts[link.pk]) for link in found],
        "queues": links.linkable(project).order_by("-id"),
    }
    return render(request, "annotation/label_studio.html", context)


def _facts(link: LabelStudioLink, counts: dict[str, int]) -> dict[str, Any]:
    """What the page says of a link; `state` changes whenever any of it does."""
    busy = links.is_busy(link)
    report = link.last_report
    return {
        "link": link,
        "counts": counts,
        "busy": busy,
        "report": report,
        "at": datetime.fromisoformat(report["at"]) if "at" in report else None,
        "state": f"{link.act if busy else ''}.{link.done}.{link.is_active:d}.{report.get('at', '')}",
        "address": f"{link.server}/projects/{link.remote_project}/data" if link.remote_project else "",
    }


@require_GET
@member_required(*ENGINEERS)
def link_status(request: HttpRequest, project: Project, link_id: int) -> HttpResponse:
    """What the page asks for every few seconds: 204 as long as it shows the same already."""
    link = _find(project, link_id)
    if not request.htmx:
        return redirect("annotation:label-studio", project.slug)
    facts = _facts(link, links.counts([link])[link.pk])
    if request.GET.get("seen") == facts["state"]:
        return HttpResponse(status=204)
    return render(request, "annotation/_label_studio_status.html", {"project": project, "row": facts})


@require_POST
@member_required(*ENGINEERS)
def link_queue(request: HttpRequest, project: Project) -> HttpResponse:
    queue = project.queues.filter(pk=whole_number(request.POST.get("queue"))).first()
    if queue is None:
        messages.error(request, "Choose the queue that people are to work on in Label Studio.")
        return redirect("annotation:label-studio", project.slug)
    try:
        link = links.link_queue(queue, request.user)
    except ValueError as error:
        messages.error(request, str(error))
    else:
        transaction.on_commit(lambda: push_link.delay(link.pk, request.user.pk), robust=True)
        messages.success(request, f"“{queue.name}” is linked: its tasks are being sent.")
    return redirect("annotation:label-studio", project.slug)


@require_POST
@member_required(*ENGINEERS)
def push_queue(request: HttpRequest, project: Project, link_id: int) -> HttpResponse:
    return _enqueue(request, project, link_id, push_link, "The tasks are being sent.")


@require_POST
@member_required(*ENGINEERS)
def pull_queue(request: HttpRequest, project: Project, link_id: int) -> HttpResponse:
    return _enqueue(request, project, link_id, pull_link, "The annotations are being fetched.")


def _enqueue(request: HttpRequest, project: Project, link_id: int, task: Any, said: str) -> HttpResponse:
    link = _find(project, link_id)
    if why := links.why_not_begun(link):
        messages.error(request, why)
    else:
        transaction.on_commit(lambda: task.delay(link.pk, request.user.pk), robust=True)
        messages.success(request, said)
    return redirect("annotation:label-studio", project.slug)


@require_POST
@member_required(*ENGINEERS)
def unlink_queue(request: HttpRequest, project: Project, link_id: int) -> HttpResponse:
    link = _find(project, link_id)
    try:
        places = links.unlink(link, request.user)
    except ValueError as error:
        messages.error(request, str(error))
    else:
        messages.success(request, f"“{link.queue.name}” is worked on here again: {places:,} places came back.")
    return redirect("annotation:label-studio", project.slug)
