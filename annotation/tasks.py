"""Queues and the tasks in them: made from prompts and completions, assigned, held, withdrawn.

A task has `overlap` slots; what a slot copies of its task (priority, skill, assignee) and its place in line are written
here and in `ordering` alone. Whoever changes the status of a task holds its row, so that a place that is given back at
the same moment follows the task (see `queue.free_slot`).
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from annotation.models import Completion, Kind, Prompt, Queue, Review, Slot, Split, Task, TaskCompletion
from studio.memberships import skill_tag
from studio.models import Membership, Project, Round, User
from studio.runs.models import Artifact

LETTERS = 26  # answers of one task are called a, b, c …
BATCH = 1000


def find_queue(project: Project, kind: str, name: str = "") -> Queue:
    """The project's queue of this kind and name, made when it is not there. Without a name: the kind's own."""
    return Queue.objects.get_or_create(project=project, kind=kind, name=name or Kind(kind).label)[0]


def add_tasks(
    queue: Queue,
    work: Iterable[tuple[Prompt, Sequence[Completion]]],
    *,
    overlap: int = 1,
    priority: int = 0,
    skill: str = "",
    assignee: User | None = None,
    round: Round | None = None,
    review: Review | None = None,
) -> list[Task]:
    """One task for each (prompt, completions to rank; none for a demonstration). All or none.

    A `skill` is asked of all who do them; of the places of each, one is kept for an `assignee`, whatever they know. The
    places of a task stand together in line, so that what was begun is finished first.

    Raises ValueError when the completions do not fit the kind of work or the prompt.
    """
    work = list(work)
    if not work:
        raise ValueError("There is nothing to make tasks from.")
    if not 1 <= overlap <= 100:
        raise ValueError(f"Overlap: {overlap} must be between 1 and 100 people a task.")
    for prompt, completions in work:
        _check_work(queue, prompt, completions)
    skill = skill_tag(skill)
    _check_people(queue, skill, assignee)
    shared = {"priority": priority, "skill": skill}
    with transaction.atomic():
        tasks = Task.objects.bulk_create(
            [
                Task(
                    queue=queue, prompt=prompt, overlap=overlap, assignee=assignee, round=round, review=review, **shared
                )
                for prompt, _ in work
            ],
            batch_size=BATCH,
        )
        TaskCompletion.objects.bulk_create(
            [
                TaskCompletion(task=task, completion=completion, position=position)
                for task, (_, completions) in zip(tasks, work, strict=True)
                for position, completion in enumerate(completions)
            ],
            batch_size=BATCH,
        )
        Slot.objects.bulk_create([slot for task in tasks for slot in _slots(queue, task)], batch_size=BATCH)
    return tasks


def _slots(queue: Queue, task: Task) -> list[Slot]:
    """The task's places. What is kept for a person asks them for no skill."""
    place = first_place(queue, task)
    slots = [
        Slot(task=task, number=number, queue=queue, priority=task.priority, skill=task.skill, place=place)
        for number in range(task.overlap)
    ]
    if task.assignee is not None:
        slots[0].assignee, slots[0].skill = task.assignee, ""
    return slots


def first_place(queue: Queue, task: Task) -> float:
    """Where a new task stands in line: at random, or behind all others until the queue is ordered again."""
    return random.random() if queue.order == Queue.Order.RANDOM else float(task.pk)


def _check_people(queue: Queue, skill: str, assignee: User | None) -> None:
    if len(skill) > 40:
        raise ValueError("A skill has at most 40 characters.")
    if assignee and not Membership.objects.filter(project=queue.project_id, user=assignee).exists():
        raise ValueError(f"{assignee.username} is not a member of this project.")


def _check_work(queue: Queue, prompt: Prompt, completions: Sequence[Completion]) -> None:
    if prompt.project_id != queue.project_id:
        raise ValueError("A prompt of another project cannot be put into this queue.")
    if queue.kind == Kind.DEMONSTRATE:
        if completions:
            raise ValueError("A demonstration task takes no completions.")
        return
    if not 2 <= len(completions) <= LETTERS:
        raise ValueError(f"A ranking needs 2 to {LETTERS} completions; prompt {prompt.pk} has {len(completions)}.")
    if len({c.pk for c in completions}) < len(completions):
        raise ValueError(f"A ranking shows an answer once; prompt {prompt.pk} has one of them twice.")
    if any(c.prompt_id != prompt.pk for c in completions):
        raise ValueError("A ranking compares completions of one prompt only.")


def add_demonstration_tasks(queue: Queue, prompts: Iterable[Prompt], **shared: Any) -> list[Task]:
    """A task for each prompt; `shared` is what `add_tasks` takes for all of them."""
    return add_tasks(queue, [(prompt, ()) for prompt in prompts], **shared)


def add_ranking_tasks(
    queue: Queue,
    completions: QuerySet[Completion],
    *,
    answers: int = 2,
    per_prompt: int = 1,
    split: str | None = Split.TRAIN,
    seed: int = 0,
    **shared: Any,
) -> list[Task]:
    """Tasks that rank `answers` of these completions each, up to `per_prompt` a prompt, no completion twice.

    Equal texts of a prompt count once, for there is nothing to choose between them. Which ones meet is drawn with
    `seed`. Held-out prompts are left out unless `split` says otherwise (None: both).
    """
    chosen = completions.filter(prompt__project=queue.project_id).select_related("prompt").order_by("prompt_id", "id")
    if split:
        chosen = chosen.filter(prompt__split=split)
    distinct: dict[Prompt, dict[str, Completion]] = {}
    for completion in chosen:
        if completion.text.strip():
            distinct.setdefault(completion.prompt, {}).setdefault(completion.text.strip(), completion)
    generator = random.Random(seed)
    work = []
    for prompt, by_text in distinct.items():
        pool = list(by_text.values())
        generator.shuffle(pool)
        groups = [pool[i : i + answers] for i in range(0, len(pool) - answers + 1, answers)]
        work += [(prompt, group) for group in groups[:per_prompt]]
    if not work:
        raise ValueError(
            f"No prompt has {answers} different completions to rank. Sample more, at a temperature above 0."
        )
    return add_tasks(queue, work, **shared)


def completions_of(artifact: Artifact) -> QuerySet[Completion]:
    """The rows of a completions artifact, for `add_ranking_tasks`."""
    return Completion.objects.filter(artifact=artifact)


def withdraw_tasks(tasks: QuerySet[Task]) -> int:
    """Take tasks that wait or are held out of their queues; judgements that exist stay. Returns how many they were."""
    taken_out = 0
    ids = tasks.filter(status__in=[Task.Status.OPEN, Task.Status.HELD]).order_by("pk").values_list("pk", flat=True)
    for some in batched(list(ids)):
        with transaction.atomic():
            rows = hold_rows(Task.objects.filter(pk__in=some), Task.Status.OPEN, Task.Status.HELD)
            Slot.objects.filter(task__in=rows, status=Slot.Status.FREE).update(status=Slot.Status.WITHDRAWN)
            gone = Task.objects.filter(pk__in=[task.pk for task in rows])
            taken_out += gone.update(status=Task.Status.WITHDRAWN)
    return taken_out


def batched(ids: Sequence[int], size: int = BATCH) -> Iterator[Sequence[int]]:
    return (ids[start : start + size] for start in range(0, len(ids), size))


def hold_rows(tasks: QuerySet[Task], *status: str) -> list[Task]:
    """Those of these tasks that have such a status; they keep it until the transaction ends."""
    return list(tasks.filter(status__in=status).order_by("pk").select_for_update(no_key=True))
