"""Work and who does it: tasks, the next one for an annotator, leases that expire, work given back.

Each task has `overlap` slots. A claim holds one; whoever changes a slot or a claim does it by an UPDATE that names the
state it expects and is checked for one row, so no two annotators ever hold the same place, on SQLite as on PostgreSQL.
Where both change, the claim changes first.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet
from django.utils import timezone

from annotation.models import Claim, Completion, Kind, Prompt, Queue, Review, Skip, Slot, Split, Task, TaskCompletion
from studio.models import Project, Round, User
from studio.runs.models import Artifact

LETTERS = 26  # answers of one task are called a, b, c …
CANDIDATES = 8  # slots looked at in one go
ATTEMPTS = 20  # looks before the queue counts as contended away
BATCH = 1000
NOT_AGAIN = (Skip.OTHERS, Skip.UNUSABLE)  # given back for good


class Taken(Exception):
    """Somebody else took the slot first, or the annotator already works on its task."""


# Tasks


def find_queue(project: Project, kind: str, name: str = "") -> Queue:
    """The project's queue of this kind and name, made when it is not there. Without a name: the kind's own."""
    return Queue.objects.get_or_create(project=project, kind=kind, name=name or Kind(kind).label)[0]


def add_tasks(
    queue: Queue,
    work: Iterable[tuple[Prompt, Sequence[Completion]]],
    *,
    overlap: int = 1,
    priority: int = 0,
    round: Round | None = None,
    review: Review | None = None,
) -> list[Task]:
    """One task for each (prompt, completions to rank; none for a demonstration). All or none.

    Raises ValueError when the completions do not fit the kind of work or the prompt.
    """
    work = list(work)
    if not work:
        raise ValueError("There is nothing to make tasks from.")
    if not 1 <= overlap <= 100:
        raise ValueError(f"Overlap: {overlap} must be between 1 and 100 people a task.")
    for prompt, completions in work:
        _check_work(queue, prompt, completions)
    with transaction.atomic():
        tasks = Task.objects.bulk_create(
            [
                Task(queue=queue, prompt=prompt, overlap=overlap, priority=priority, round=round, review=review)
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
        Slot.objects.bulk_create(
            [
                Slot(task=task, number=number, queue=queue, priority=priority)
                for task in tasks
                for number in range(overlap)
            ],
            batch_size=BATCH,
        )
    return tasks


def _check_work(queue: Queue, prompt: Prompt, completions: Sequence[Completion]) -> None:
    if prompt.project_id != queue.project_id:
        raise ValueError("A prompt of another project cannot be put into this queue.")
    if queue.kind == Kind.DEMONSTRATE:
        if completions:
            raise ValueError("A demonstration task takes no completions.")
        return
    if not 2 <= len(completions) <= LETTERS:
        raise ValueError(f"A ranking needs 2 to {LETTERS} completions; prompt {prompt.pk} has {len(completions)}.")
    if any(c.prompt_id != prompt.pk for c in completions):
        raise ValueError("A ranking compares completions of one prompt only.")


def add_demonstration_tasks(
    queue: Queue, prompts: Iterable[Prompt], *, overlap: int = 1, priority: int = 0, round: Round | None = None
) -> list[Task]:
    return add_tasks(queue, [(prompt, ()) for prompt in prompts], overlap=overlap, priority=priority, round=round)


def add_ranking_tasks(
    queue: Queue,
    completions: QuerySet[Completion],
    *,
    answers: int = 2,
    per_prompt: int = 1,
    overlap: int = 1,
    priority: int = 0,
    round: Round | None = None,
    split: str | None = Split.TRAIN,
    seed: int = 0,
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
    return add_tasks(queue, work, overlap=overlap, priority=priority, round=round)


def completions_of(artifact: Artifact) -> QuerySet[Completion]:
    """The rows of a completions artifact, for `add_ranking_tasks`."""
    return Completion.objects.filter(artifact=artifact)


def withdraw_tasks(tasks: QuerySet[Task]) -> int:
    """Take tasks that still wait out of their queues; judgements that exist stay. Returns how many were open."""
    with transaction.atomic():
        ids = list(tasks.filter(status=Task.Status.OPEN).values_list("id", flat=True))
        Slot.objects.filter(task__in=ids, status=Slot.Status.FREE).update(status=Slot.Status.WITHDRAWN)
        return Task.objects.filter(id__in=ids, status=Task.Status.OPEN).update(status=Task.Status.WITHDRAWN)


# Claims


def claim_next(queue: Queue, annotator: User) -> Claim | None:
    """A lease on the annotator's next task, or None when there is nothing for them.

    Work already begun comes first, with a fresh lease; then the highest priority, at random within it. Nobody is given
    a task that they have judged or skipped.
    """
    expire(queue)
    begun = resume(queue, annotator)
    if begun or not queue.is_open:
        return begun
    for _ in range(ATTEMPTS):
        candidates = _free_slots(queue, annotator)
        if not candidates:
            return None
        for slot in candidates:
            try:
                return _take(slot, queue, annotator)
            except (Taken, IntegrityError):
                continue
    return None


def resume(queue: Queue, annotator: User) -> Claim | None:
    """The annotator's oldest live claim in this queue, its lease renewed and the guideline shown now noted."""
    claim = Claim.objects.filter(task__queue=queue, annotator=annotator, status=Claim.Status.LIVE).first()
    if claim is None:
        return None
    expires_at = timezone.now() + timedelta(minutes=queue.lease_minutes)
    guideline = queue.project.guideline
    renewed = Claim.objects.filter(pk=claim.pk, status=Claim.Status.LIVE).update(
        expires_at=expires_at, guideline=guideline
    )
    if renewed != 1:
        return None
    claim.expires_at, claim.guideline = expires_at, guideline
    return claim


def _free_slots(queue: Queue, annotator: User) -> list[Slot]:
    """Some free slots of the highest priority, from a random place in line on, so that annotators rarely collide."""
    mine = Claim.objects.filter(task=OuterRef("task"), annotator=annotator).filter(
        Q(status__in=[Claim.Status.LIVE, Claim.Status.SUBMITTED]) | Q(skip__in=NOT_AGAIN)
    )
    free = Slot.objects.filter(~Exists(mine), queue=queue, status=Slot.Status.FREE)
    first = free.order_by("-priority").values_list("priority", flat=True).first()
    if first is None:
        return []
    line = free.filter(priority=first).order_by("place")
    return list(line.filter(place__gte=random.random())[:CANDIDATES]) or list(line[:CANDIDATES])


@transaction.atomic
def _take(slot: Slot, queue: Queue, annotator: User) -> Claim:
    free = Slot.objects.filter(pk=slot.pk, status=Slot.Status.FREE)
    if free.update(status=Slot.Status.CLAIMED) != 1:
        raise Taken
    shown = list(TaskCompletion.objects.filter(task=slot.task_id).values_list("completion_id", flat=True))
    random.shuffle(shown)
    now = timezone.now()
    claim = Claim.objects.create(  # unique (task, annotator): a second tab of the same person fails here
        task_id=slot.task_id,
        annotator=annotator,
        guideline=queue.project.guideline,
        shown_order=shown,
        created_at=now,
        expires_at=now + timedelta(minutes=queue.lease_minutes),
    )
    Slot.objects.filter(pk=slot.pk).update(claim=claim)
    return claim


def claim_task(task: Task, annotator: User) -> Claim | None:
    """A lease on this very task (a link, a lead's assignment), or None when it has no free slot for the annotator."""
    expire(task.queue)
    live = Claim.objects.filter(task=task, annotator=annotator, status=Claim.Status.LIVE).first()
    if live:
        return live
    for slot in Slot.objects.filter(task=task, status=Slot.Status.FREE):
        try:
            return _take(slot, task.queue, annotator)
        except (Taken, IntegrityError):
            continue
    return None


def shown_answers(claim: Claim) -> dict[str, Completion]:
    """The answers to rank by their letter, in the order in which this claim shows them."""
    found = Completion.objects.in_bulk(claim.shown_order)
    return {letter: found[pk] for letter, pk in claim.letters.items()}


def expire(queue: Queue, now: datetime | None = None) -> int:
    """Take back the places of overdue claims; returns how many. Drafts stay and may still come in."""
    now = now or timezone.now()
    overdue = Claim.objects.filter(task__queue=queue, status=Claim.Status.LIVE, expires_at__lt=now)
    return sum(
        _give_up(Claim.objects.filter(pk=pk, expires_at__lt=now), pk, status=Claim.Status.EXPIRED)
        for pk in list(overdue.values_list("id", flat=True)[:BATCH])
    )


def release(claim: Claim, *, reason: str = "", skip: str = "") -> bool:
    """Give the place back; `skip` (of `Skip`) says to whom next. False when it was not live."""
    changes = {"status": Claim.Status.RELEASED, "reason": reason[:200], "skip": skip, "finished_at": timezone.now()}
    return bool(_give_up(Claim.objects.filter(pk=claim.pk), claim.pk, **changes))


def pause(claim: Claim) -> bool:
    """Let the claim's clock stand still. Its lease goes on. False when it is not live or stands still already."""
    live = Claim.objects.filter(pk=claim.pk, status=Claim.Status.LIVE, paused_at=None)
    return live.update(paused_at=timezone.now()) == 1


def resume_clock(claim: Claim) -> bool:
    """Let the clock of a paused claim go on, with a fresh lease where it still has one. False when none stood still."""
    since = Claim.objects.filter(pk=claim.pk).values_list("paused_at", flat=True).get()
    if since is None:
        return False
    now = timezone.now()
    stood = Claim.objects.filter(pk=claim.pk, paused_at=since)
    if stood.update(paused_at=None, paused_seconds=F("paused_seconds") + (now - since).total_seconds()) != 1:
        return False
    expires_at = now + timedelta(minutes=claim.task.queue.lease_minutes)
    Claim.objects.filter(pk=claim.pk, status=Claim.Status.LIVE).update(expires_at=expires_at)
    return True


@transaction.atomic
def _give_up(claims: QuerySet[Claim], pk: int, **changes: Any) -> int:
    if claims.filter(status=Claim.Status.LIVE).update(**changes) != 1:
        return 0
    free_slot(pk)
    return 1


def free_slot(claim_id: int) -> None:
    """Empty the slot of a claim that is live no more; a slot of a withdrawn task stays out of the queue."""
    held = Slot.objects.filter(claim=claim_id, status=Slot.Status.CLAIMED)
    held.filter(task__status=Task.Status.WITHDRAWN).update(status=Slot.Status.WITHDRAWN, claim=None)
    held.update(status=Slot.Status.FREE, claim=None)


def progress(queue: Queue) -> dict[str, int]:
    """Slots of the queue by status: free, claimed, done, withdrawn."""
    counts = dict.fromkeys(Slot.Status.values, 0)
    counts.update(
        Slot.objects.filter(queue=queue).order_by().values_list("status").annotate(n=Count("id"))  # type: ignore[arg-type]
    )
    return counts


def waiting_for(queues: Iterable[Queue], annotator: User) -> dict[int, int]:
    """For each queue id, how many tasks this annotator could still take, live claims included. One query."""
    mine = Claim.objects.filter(task=OuterRef("pk"), annotator=annotator)
    open_tasks = (
        Task.objects.filter(queue__in=list(queues), status=Task.Status.OPEN)
        .exclude(Exists(mine.filter(Q(status=Claim.Status.SUBMITTED) | Q(skip__in=NOT_AGAIN))))
        .filter(
            Q(Exists(Slot.objects.filter(task=OuterRef("pk"), status=Slot.Status.FREE)))
            | Exists(mine.filter(status=Claim.Status.LIVE))
        )
    )
    return dict(open_tasks.order_by().values_list("queue").annotate(n=Count("id")))
