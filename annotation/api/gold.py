"""Gold items, for leads: which there are, how people do on each, making and retiring them."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from ninja import Query, Router

from annotation import gold_items
from annotation.api.auth import MANAGE, READ, find, member, named
from annotation.api.schemas.gold import CandidateOut, GoldIn, GoldItemOut, GoldOut, GoldPage, GoldResultOut
from annotation.api.schemas.shared import REFUSED, PageIn, Text
from annotation.models import Gold, Task
from studio.access import ENGINEERS

router = Router(tags=["gold"])
RESULTS = 1000
PATH = "task__queue__project"


@router.get("/projects/{slug}/gold", auth=READ, response={200: GoldPage, **REFUSED})
def list_gold(
    request: HttpRequest,
    slug: Text,
    page: Query[PageIn],
    queue: int | None = Query(None, ge=1, le=2**62, description="Of this queue only."),
    retired: bool | None = Query(None, description="Only those that are retired, or only those that are not."),
) -> Any:
    """Gold items in the order of their ids, with how people do on them."""
    items = Gold.objects.filter(task__queue__project=member(request, slug, ENGINEERS).project)
    if queue is not None:
        items = items.filter(task__queue=queue)
    if retired is not None:
        items = items.filter(retired_at__isnull=not retired)
    found, after = page.cut(gold_items.with_results(items))
    return {"items": [GoldOut.of(item) for item in found], "next": after}


@router.get("/projects/{slug}/gold-candidates", auth=READ, response={200: list[CandidateOut], **REFUSED})
def list_candidates(request: HttpRequest, slug: Text) -> Any:
    """Judged tasks that would make gold: those that were adjudicated, and those on which three people or more agree."""
    project = member(request, slug, ENGINEERS).project
    return [CandidateOut.of(c) for c in gold_items.adjudicated_tasks(project) + gold_items.unanimous_tasks(project)]


@router.post("/projects/{slug}/gold", auth=MANAGE, response={201: GoldOut, **REFUSED})
def make_gold(request: HttpRequest, slug: Text, body: GoldIn) -> Any:
    """A gold item with the prompt and answers of a task of this project; people meet it from now on."""
    project = member(request, slug, ENGINEERS).project
    task = named(Task.objects.select_related("queue").filter(queue__project=project), body.task, "task")
    queue = None if body.queue is None else named(project.queues, body.queue, "queue")
    made = gold_items.make_gold(
        task, body.tiers, request.user, explanation=body.explanation, is_attention=body.is_attention, queue=queue
    )
    return 201, _out(made.pk)


@router.get("/gold/{gold_id}", auth=READ, response={200: GoldItemOut, **REFUSED})
def show_gold(request: HttpRequest, gold_id: int) -> Any:
    """A gold item with what each person made of it."""
    item, _ = find(request, gold_items.with_results(Gold.objects.all()), gold_id, PATH, ENGINEERS)
    results = item.results.select_related("annotator")[:RESULTS]
    return GoldItemOut(**GoldOut.facts(item), results=[GoldResultOut.of(result) for result in results])


@router.post("/gold/{gold_id}/retire", auth=MANAGE, response={200: GoldOut, **REFUSED})
def retire_gold(request: HttpRequest, gold_id: int) -> Any:
    """Nobody meets it any more; how people did on it stays."""
    item, _ = find(request, Gold.objects.all(), gold_id, PATH, ENGINEERS)
    gold_items.retire(item, request.user)
    return _out(item.pk)


def _out(gold_id: int) -> GoldOut:
    return GoldOut.of(gold_items.with_results(Gold.objects.filter(pk=gold_id)).get())
