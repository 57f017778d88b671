"""Making gold items: from a judged task, from what everybody agrees on, from an adjudicated task; and retiring them."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import transaction
from django.utils import timezone

from annotation.comparisons import check_tiers, pairs
from annotation.journal import record
from annotation.models import Gold, Kind, Queue, Task, TaskCompletion
from studio.models import User


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
