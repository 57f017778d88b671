"""Gold items: which there are, how people do on each, making and retiring them."""

from __future__ import annotations

from collections import Counter
from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Count, F, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from annotation.forms_quality import GoldForm
from annotation.gold_items import adjudicated_tasks, rate, retire, unanimous_tasks, with_results
from annotation.models import Comparison, Gold, Kind, Queue, Task
from studio.access import ENGINEERS, member_required
from studio.models import Project
from studio.web.numbers import whole_number

PAGE = 25
SUSPICIOUS = 0.5  # mean accuracy below which an item is rather wrong itself than hard …
SEVERAL = 3  # … once this many people have met it
RESULTS = 100


@require_GET
@member_required(*ENGINEERS)
def gold(request: HttpRequest, project: Project) -> HttpResponse:
    """The items, those that people fail first, retired ones last; queues that use them; what would make more."""
    chosen = request.GET.get("queue", "")
    queue = whole_number(chosen)
    found = with_results(Gold.objects.filter(task__queue__project=project))
    if queue is not None:
        found = found.filter(task__queue=queue)
    in_line = found.order_by(F("retired_at").desc(nulls_first=True), F("mean").asc(nulls_last=True), "-pk")
    page = Paginator(in_line, PAGE).get_page(request.GET.get("page"))
    for item in page:
        item.rate = rate(item)
        item.is_suspicious = is_suspicious(item)
    context = {
        "project": project,
        "page": page,
        "chosen": chosen,
        "queues": _queues(project),
        "candidates": adjudicated_tasks(project, 5) + unanimous_tasks(project, 10),
    }
    return render(request, "annotation/gold.html", context)


def is_suspicious(item: Any) -> bool:
    return item.retired_at is None and item.met >= SEVERAL and item.mean < SUSPICIOUS


def _queues(project: Project) -> list[Queue]:
    """Ranking queues with how many items they have, and whether that is too few for what they ask. One query."""
    standing = Q(tasks__gold__isnull=False, tasks__gold__retired_at=None)
    queues = list(
        project.queues.exclude(kind=Kind.DEMONSTRATE)
        .annotate(items=Count("tasks__gold", filter=standing))
        .order_by("id")
    )
    for queue in queues:
        queue.lacks = max(queue.calibration_items + bool(queue.gold_rate), 0) > queue.items
    return [queue for queue in queues if queue.items or queue.gold_rate or queue.calibration_items]


@require_GET
@member_required(*ENGINEERS)
def gold_item(request: HttpRequest, project: Project, gold_id: int) -> HttpResponse:
    """One item: its answers, the right order, what each person made of it."""
    item = get_object_or_404(with_results(Gold.objects.filter(task__queue__project=project)), pk=gold_id)
    completions = [o.completion for o in item.task.offered.select_related("completion__model").order_by("position")]
    letters = {c.pk: chr(ord("A") + i) for i, c in enumerate(completions)}
    places = {pk: number for number, tier in enumerate(item.tiers, 1) for pk in tier}
    results = list(item.results.select_related("annotator", "claim__comparison")[:RESULTS])
    given = [(result, in_letters(result.claim.comparison.tiers, letters)) for result in results]
    context = {
        "project": project,
        "item": item,
        "rate": rate(item),
        "is_suspicious": is_suspicious(item),
        "right": in_letters(item.tiers, letters),
        "answers": [{"letter": letters[c.pk], "completion": c, "place": places.get(c.pk)} for c in completions],
        "given": given,
        "orders": Counter(words for _, words in given).most_common(5),
    }
    return render(request, "annotation/gold_item.html", context)


def in_letters(tiers: list[list[int]], letters: dict[int, str]) -> str:
    return " › ".join(" = ".join(sorted(letters[pk] for pk in tier)) for tier in tiers)


@require_http_methods(["GET", "POST"])
@member_required(*ENGINEERS)
def new_gold(request: HttpRequest, project: Project, task_id: int) -> HttpResponse:
    """Make a gold item of a judged task; the places are those of its newest ranking, to be corrected."""
    tasks = Task.objects.filter(queue__project=project, offered__isnull=False).distinct()
    task = get_object_or_404(tasks.select_related("prompt", "queue", "adjudicates__queue"), pk=task_id)
    newest = Comparison.objects.filter(task=task, withdrawn_at=None).order_by("-id").first()
    form = GoldForm(
        request.POST if request.method == "POST" else None,
        project=project, task=task, tiers=newest.tiers if newest else [],
    )  # fmt: skip
    if request.method == "POST" and form.is_valid() and (made := form.make(request.user)):
        messages.success(request, f"Gold item made. People meet it in '{made.task.queue.name}'.")
        return redirect("annotation:gold-item", project.slug, made.pk)
    context = {"project": project, "form": form, "task": task}
    return render(request, "annotation/new_gold.html", context, status=422 if form.is_bound else 200)


@require_POST
@member_required(*ENGINEERS)
def retire_gold(request: HttpRequest, project: Project, gold_id: int) -> HttpResponse:
    item = get_object_or_404(
        Gold.objects.filter(task__queue__project=project).select_related("task__queue"), pk=gold_id
    )
    try:
        retire(item, request.user)
    except ValueError as error:
        messages.error(request, str(error))
    else:
        messages.success(request, "Retired. Nobody meets it any more; how people did on it stays.")
    return redirect("annotation:gold-item", project.slug, item.pk)
