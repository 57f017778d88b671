"""Making gold items: from a judged task, from what everybody agrees on, from an adjudicated task; and retiring them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import Avg, Count, Exists, OuterRef, QuerySet
from django.utils import timezone

from annotation.comparisons import Tiers, check_tiers, pairs
from annotation.journal import record
from annotation.models import Gold, Kind, Queue, Task, TaskCompletion
from annotation.settling import counted, judged_tasks, measure
from annotation.statistics.intervals import Interval, wilson
from studio.models import Project, User


@transaction.atomic
def make_gold(
    task: Task,
    tiers: Sequence[Sequence[int]],
    by: User,
    *,
    explanation: str = "",
    is_attention: bool = False,
    queue: Queue | None = None,
) -> Gold:
    """A gold item with the prompt and answers of `task`, right in the order `tiers` (completion ids, best tier first).

    It is a task of its own, without places yet, in the same queue or in `queue`: what was judged on the original
    stays what it was and goes on to count in datasets. Raises ValueError when the order names other answers, orders
    no pair, or such an item is there already.
    """
    target = queue or task.queue
    if target.kind == Kind.DEMONSTRATE:
        raise ValueError("A demonstration has no right order: gold items are rankings.")
    if target.project_id != task.queue.project_id:
        raise ValueError("The queue belongs to another project.")
    offered = list(TaskCompletion.objects.filter(task=task).values_list("completion_id", flat=True))
    named = [pk for tier in tiers for pk in tier]
    check_tiers(tiers, [pk for pk in offered if pk not in named], offered)
    if not pairs(tiers):
        raise ValueError("Put at least one answer above another: where all are equal there is nothing to check.")
    if gold_with(target, task.prompt_id, offered):
        raise ValueError(f"'{target.name}' has a gold item with these answers already.")
    copy = Task.objects.create(queue=target, prompt_id=task.prompt_id, overlap=0, priority=task.priority)
    TaskCompletion.objects.bulk_create(
        [TaskCompletion(task=copy, completion_id=pk, position=position) for position, pk in enumerate(offered)]
    )
    gold = Gold.objects.create(
        task=copy,
        tiers=[list(tier) for tier in tiers],
        explanation=explanation.replace("\0", "").strip(),
        is_attention=is_attention,
        created_by=by,
    )
    record(target.project_id, by, "made gold", copy, tiers=gold.tiers, made_from=task.pk, is_attention=is_attention)
    return gold


def gold_with(queue: Queue, prompt_id: int, completions: Sequence[int]) -> Gold | None:
    """The standing gold item of a queue with exactly these answers, if there is one."""
    for gold in Gold.objects.filter(task__queue=queue, task__prompt=prompt_id, retired_at=None):
        offered = TaskCompletion.objects.filter(task=gold.task_id).values_list("completion_id", flat=True)
        if set(offered) == set(completions):
            return gold
    return None


@transaction.atomic
def retire(gold: Gold, by: User) -> None:
    """Nobody meets it any more; how people did on it stays. Raises ValueError when it was retired before."""
    if Gold.objects.filter(pk=gold.pk, retired_at=None).update(retired_at=timezone.now()) != 1:
        raise ValueError("This gold item is retired already.")
    record(gold.task.queue.project_id, by, "retired gold", gold.task)


# How people do on it


def with_results(items: QuerySet[Gold]) -> QuerySet[Gold]:
    """Each item with how many have `met` it and their `mean` accuracy."""
    return items.select_related("task__prompt", "task__queue", "created_by").annotate(
        met=Count("results"), mean=Avg("results__accuracy")
    )


def rate(item: Any) -> Interval | None:
    """Mean accuracy of those who met an item of `with_results`."""
    return wilson(min(item.mean * item.met, item.met), item.met) if item.met else None


# Where gold comes from

AGREE = 3  # people who must have ranked a task the same way before it is suggested


@dataclass(frozen=True)
class Candidate:
    """A judged task that would make a gold item, with the ranking that its judges gave it."""

    task: Task
    tiers: Tiers
    judges: int
    why: str


def unanimous_tasks(project: Project, limit: int = 20) -> list[Candidate]:
    """Tasks that at least three people ranked the same way, the newest first, among those that `judged_tasks` gives.

    Those whose prompt has a gold item are left out, and those on which all saw only ties.
    """
    agreed = {m.task: m.judgements for m in measure(judged_tasks(project)) if m.value == 0 and m.judgements >= AGREE}
    newest = sorted(agreed, reverse=True)[: 4 * limit]
    found = _candidates(Task.objects.filter(pk__in=newest))
    return [Candidate(task, tiers, agreed[task.pk], f"{agreed[task.pk]} people agree") for task, tiers in found][:limit]


def adjudicated_tasks(project: Project, limit: int = 20) -> list[Candidate]:
    """Adjudications that are done, the newest first; those whose prompt has a gold item are left out."""
    done = Task.objects.filter(queue__project=project, adjudicates__isnull=False)
    newest = done.filter(comparisons__withdrawn_at=None, comparisons__isnull=False).distinct().order_by("-pk")
    found = _candidates(Task.objects.filter(pk__in=list(newest.values_list("pk", flat=True)[: 4 * limit])))
    return [Candidate(task, tiers, 1, "Adjudicated") for task, tiers in found][:limit]


def _candidates(tasks: QuerySet[Task]) -> list[tuple[Task, Tiers]]:
    """Tasks without gold on their prompt, each with its newest standing ranking, where that orders any answers."""
    has_gold = Task.objects.filter(prompt=OuterRef("prompt"), gold__isnull=False, gold__retired_at=None)
    found = tasks.exclude(Exists(has_gold)).select_related("prompt", "queue", "adjudicates__queue").order_by("-pk")
    rankings = dict(counted().filter(task__in=found).order_by("id").values_list("task", "tiers"))
    return [(task, rankings[task.pk]) for task in found if pairs(rankings.get(task.pk, []))]
