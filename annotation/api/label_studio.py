"""Label Studio, for leads: link a queue, send its tasks, fetch what was done there, unlink it."""

from __future__ import annotations

from typing import Any

from celery import Task as CeleryTask
from django.db import transaction
from django.http import HttpRequest
from ninja import Router

from annotation.api.auth import MANAGE, READ, find, member
from annotation.api.schemas.label_studio import LabelStudioOut, LinkOut, UnlinkedOut
from annotation.api.schemas.shared import REFUSED, Text
from annotation.label_studio import links
from annotation.label_studio.client import server, why_not_configured
from annotation.label_studio.tasks import pull_link, push_link
from annotation.models import LabelStudioLink, Queue
from studio.access import ENGINEERS
from studio.models import User

router = Router(tags=["label studio"])


@router.get("/projects/{slug}/label-studio", auth=READ, response={200: LabelStudioOut, **REFUSED})
def show_label_studio(request: HttpRequest, slug: Text) -> Any:
    """The server that the studio is configured for, and the queues that are linked to it."""
    found = list(member(request, slug, ENGINEERS).project.label_studio_links.order_by("-is_active", "-id"))
    counts = links.counts(found)
    return LabelStudioOut(
        server=server(),
        not_configured=why_not_configured(),
        links=[LinkOut.of(link, counts[link.pk]) for link in found],
    )


@router.post("/queues/{queue_id}/label-studio", auth=MANAGE, response={202: LinkOut, **REFUSED})
def link_queue(request: HttpRequest, queue_id: int) -> Any:
    """Let a queue be worked on in Label Studio; its tasks are being sent."""
    queue, _ = find(request, Queue.objects.all(), queue_id, roles=ENGINEERS)
    link = links.link_queue(queue, request.user)
    _start(push_link, link, request.user)
    return 202, _out(link)


@router.get("/label-studio-links/{link_id}", auth=READ, response={200: LinkOut, **REFUSED})
def show_link(request: HttpRequest, link_id: int) -> Any:
    """How far a push or pull is, and what the last one reported."""
    return _out(find_link(request, link_id))


@router.post("/label-studio-links/{link_id}/push", auth=MANAGE, response={202: LinkOut, **REFUSED})
def push_tasks(request: HttpRequest, link_id: int) -> Any:
    """Start sending tasks that are not there yet."""
    return _begin(request, link_id, push_link)


@router.post("/label-studio-links/{link_id}/pull", auth=MANAGE, response={202: LinkOut, **REFUSED})
def pull_annotations(request: HttpRequest, link_id: int) -> Any:
    """Start fetching what was done there since the last time."""
    return _begin(request, link_id, pull_link)


@router.post("/label-studio-links/{link_id}/unlink", auth=MANAGE, response={200: UnlinkedOut, **REFUSED})
def unlink_queue(request: HttpRequest, link_id: int) -> Any:
    """Work on the queue here again. What was pulled stays, and so does the project there."""
    return {"places": links.unlink(find_link(request, link_id), request.user)}


def _begin(request: HttpRequest, link_id: int, task: CeleryTask) -> Any:
    link = find_link(request, link_id)
    if why := links.why_not_begun(link):
        raise ValueError(why)
    _start(task, link, request.user)
    return 202, _out(link)


def _start(task: CeleryTask, link: LabelStudioLink, user: User) -> None:
    transaction.on_commit(lambda: task.delay(link.pk, user.pk), robust=True)


def _out(link: LabelStudioLink) -> LinkOut:
    return LinkOut.of(link, links.counts([link])[link.pk])


def find_link(request: HttpRequest, link_id: int) -> LabelStudioLink:
    return find(request, LabelStudioLink.objects.select_related("queue"), link_id, roles=ENGINEERS)[0]
