"""An annotator's own work: the queues, what waits in them, and what they did."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_http_methods

from annotation import queue
from annotation.models import Claim, Kind, Queue
from annotation.progress import MANY, own_work, progress_of, waiting_for
from annotation.standing import MayNotWork, standing_of, trial_of
from studio.access import ENGINEERS, EXPERTS, may, member_required
from studio.models import Guideline, Membership, Project, User

RECENT = 10


@require_GET
@member_required()
def home(request: HttpRequest, project: Project) -> HttpResponse:
    queues = _queues(project, request.membership)
    context = {
        "project": project,
        "queues": queues,
        "first": next((entry for entry in queues if entry["waiting"]), None),
        "recent": _recent(project, request.user),
        "may_queue": may(request.membership, ENGINEERS),
        "many": MANY,
        "standing": standing_of(project, request.user),
        "mine": own_work(project, request.user),
    }
    context["newer_guideline"] = _newer_guideline(project, context["recent"])
    return render(request, "annotation/home.html", context)


def _queues(project: Project, membership: Membership) -> list[dict[str, Any]]:
    """The open queues that are for this member, those with work for them first; five queries."""
    user, is_open = membership.user, project.queues.filter(is_open=True)
    found = list(is_open if may(membership, EXPERTS) else is_open.exclude(kind=Kind.ADJUDICATE))
    waiting = waiting_for(found, user)
    live = Claim.objects.filter(annotator=user, task__queue__in=found, status=Claim.Status.LIVE).order_by()
    begun = set(live.values_list("task__queue", flat=True))
    places = progress_of(found)
    entries = [
        {
            "queue": each,
            "waiting": waiting.get(each.pk, 0),
            "begun": each.pk in begun,
            "places": places[each.pk],
        }
        for each in found
        if places[each.pk].total or each.pk in waiting
    ]
    return sorted(entries, key=lambda e: (not e["waiting"], not e["begun"], e["queue"].pk))


def _recent(project: Project, user: User) -> list[Claim]:
    mine = Claim.objects.filter(annotator=user, project=project, status=Claim.Status.SUBMITTED)
    related = ("task__prompt", "task__queue", "guideline", "demonstration", "comparison")
    return list(mine.select_related(*related).order_by("-finished_at", "-id")[:RECENT])


def _newer_guideline(project: Project, recent: list[Claim]) -> Guideline | None:
    """The guideline in force, when the annotator's last work was done under an older one (or they did none yet)."""
    newest = project.guideline
    if newest is None or (recent and recent[0].guideline_id == newest.pk):
        return None
    return newest


@require_http_methods(["GET", "POST"])
@member_required()
def queue_page(request: HttpRequest, project: Project, queue_id: int) -> HttpResponse:
    """How far a queue is; sending the form takes the next task from it."""
    found = get_object_or_404(project.queues.select_related("project"), pk=queue_id)
    if request.method == "POST":
        return next_task(request, found)
    context = {
        "project": project,
        "queue": found,
        "places": progress_of([found])[found.pk],
        "waiting": waiting_for([found], request.user).get(found.pk, 0),
        "many": MANY,
        "standing": standing_of(project, request.user),
        "trial": trial_of(found, request.user),
    }
    return render(request, "annotation/queue.html", context)


def next_task(request: HttpRequest, work: Queue) -> HttpResponse:
    """To the user's next task in this queue; to the queue's page when it has none for them, with the reason."""
    try:
        claim = queue.claim_next(work, request.user)
    except MayNotWork as stopped:
        messages.warning(request, str(stopped))
        claim = None
    if claim is None:
        return redirect("annotation:queue", work.project.slug, work.pk)
    return redirect("annotation:work", work.project.slug, claim.pk)
