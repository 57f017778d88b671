"""Labels that newer guidelines made stale, and asking for them again; for leads."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from ninja import Router

from annotation import staleness
from annotation.api.auth import MANAGE, READ, member, named
from annotation.api.schemas.shared import REFUSED, Text
from annotation.api.schemas.staleness import AskedStaleOut, AskStaleIn, StaleGroupsOut, StaleOut
from studio.access import ENGINEERS

router = Router(tags=["guidelines"])


@router.get("/projects/{slug}/stale-labels", auth=READ, response={200: StaleGroupsOut, **REFUSED})
def list_stale_labels(request: HttpRequest, slug: Text) -> Any:
    """Stale labels by kind, guideline version and queue, oldest version first."""
    project = member(request, slug, ENGINEERS).project
    guideline = staleness.decisive_version(project)
    groups = staleness.stale_groups(project, guideline) if guideline else []
    version = guideline.version if guideline else None
    return StaleGroupsOut(guideline_version=version, groups=[StaleOut.of(group) for group in groups])


@router.post("/projects/{slug}/stale-labels/ask-again", auth=MANAGE, response={201: AskedStaleOut, **REFUSED})
def ask_for_stale_labels(request: HttpRequest, slug: Text, body: AskStaleIn) -> Any:
    """Put the work of these groups before people again, each label once a version; the labels stay."""
    project = member(request, slug, ENGINEERS).project
    guideline = staleness.decisive_version(project)
    if guideline is None:
        raise ValueError("There are no guidelines yet, so nothing can be stale.")
    queue = None if body.queue is None else named(project.queues, body.queue, "queue")
    labels, tasks = staleness.ask_again(
        project, guideline, body.groups, request.user, queue=queue, same_people=body.same_people
    )
    return 201, {"labels": labels, "tasks": tasks}
