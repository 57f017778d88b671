"""Disagreements and doubts, for leads: which tasks people judge differently, who settles them, second looks."""

from __future__ import annotations

from typing import Any, Literal

from django.http import HttpRequest
from ninja import Query, Router

from annotation import second_looks, settling
from annotation.api.auth import MANAGE, READ, find, member
from annotation.api.schemas.adjudication import (
    AdjudicationsIn,
    DisputeOut,
    DisputesOut,
    LookIn,
    SecondLookOut,
    SecondLookPage,
    SliceOut,
)
from annotation.api.schemas.queues import TaskOut
from annotation.api.schemas.shared import REFUSED, Text
from studio.access import ENGINEERS

router = Router(tags=["adjudication"])
ACTS = {"done": second_looks.mark_done, "settle": second_looks.send_on, "withdraw": second_looks.take_out}


@router.get("/projects/{slug}/disagreements", auth=READ, response={200: DisputesOut, **REFUSED})
def list_disagreements(
    request: HttpRequest,
    slug: Text,
    before: int | None = Query(None, ge=1, le=2**62, description="Only tasks older than this one."),
    show: Literal["unsent", "sent", "all"] = Query("unsent", description="sent: to adjudication, open or settled."),
    limit: int = Query(50, ge=1, le=500),
) -> Any:
    """The tasks on which people disagree most, among the newest 5,000 judged by two or more."""
    project = member(request, slug, ENGINEERS).project
    tasks = settling.judged_tasks(project, before)
    measured = settling.measure(tasks)
    chosen = [m for m in measured if m.value > 0 and (show == "all" or m.is_sent == (show == "sent"))]
    return DisputesOut(
        items=[DisputeOut.of(found) for found in settling.disputes(chosen[:limit])],
        tasks=len(tasks),
        disputed=len(chosen),
        slices=[SliceOut.of(found) for found in settling.slices(measured)],
        next=tasks[-1] if len(tasks) == settling.WINDOW else None,
    )


@router.post("/projects/{slug}/adjudications", auth=MANAGE, response={201: list[TaskOut], **REFUSED})
def send_to_adjudication(request: HttpRequest, slug: Text, body: AdjudicationsIn) -> Any:
    """Have these tasks settled, each by somebody who has not judged it; all or none."""
    project = member(request, slug, ENGINEERS).project
    made = settling.send_to_adjudication(project, body.tasks, request.user, priority=body.priority)
    return 201, [TaskOut.of(task) for task in made]


@router.get("/projects/{slug}/second-looks", auth=READ, response={200: SecondLookPage, **REFUSED})
def list_second_looks(
    request: HttpRequest,
    slug: Text,
    done: bool = Query(False, description="Those that had their second look, not those that wait for it."),
    offset: int = Query(0, ge=0, le=10_000_000),
    limit: int = Query(100, ge=1, le=1000),
) -> Any:
    """Labels whose makers want somebody to look at them again, the newest first."""
    project = member(request, slug, ENGINEERS).project
    rows = list(second_looks.flagged(project, done=done)[offset : offset + limit])
    items = [SecondLookOut.of(label) for label in second_looks.look_up(rows)]
    return {"items": items, "next": offset + limit if len(rows) == limit else None}


@router.post("/comparisons/{label_id}/second-look", auth=MANAGE, response={204: None, **REFUSED})
def look_at_comparison(request: HttpRequest, label_id: int, body: LookIn) -> Any:
    """Decide about a ranking that wants a second look."""
    return _look(request, "comparison", label_id, body)


@router.post("/demonstrations/{label_id}/second-look", auth=MANAGE, response={204: None, **REFUSED})
def look_at_demonstration(request: HttpRequest, label_id: int, body: LookIn) -> Any:
    """Decide about a demonstration that wants a second look; it cannot be settled by another."""
    return _look(request, "demonstration", label_id, body)


def _look(request: HttpRequest, kind: str, label_id: int, body: LookIn) -> Any:
    label, _ = find(request, second_looks.KINDS[kind].objects.all(), label_id, "prompt__project", ENGINEERS)
    ACTS[body.act](label, request.user, body.note)
    return 204, None
