"""What a lead does with queues and their work: make and change queues, assign, release, rank by priority, decide.

Each act is written into the journal. Tasks are named by their ids within a queue; what does not fit is left as
it is, and the number of tasks changed is returned.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from django.db import IntegrityError, transaction

from annotation.journal import record
from annotation.models import Claim, Kind, Queue, Slot, Task
from annotation.queue import release
from annotation.tasks import batched, hold_rows, withdraw_tasks
from studio.models import Membership, Project, User
from studio.runs.models import Artifact

LONGEST_LEASE = 14 * 24 * 60  # minutes
MADE_BY_HAND = (Kind.RANK, Kind.DEMONSTRATE)  # reviews and adjudication make their own
SCORED = (Queue.Order.UNCERTAIN, Queue.Order.DISPUTED)  # orders that need a reward model's scores
PRIORITIES = range(-1000, 1001)
WAITING = (Task.Status.OPEN, Task.Status.HELD)


def create_queue(
    project: Project, by: User, *, kind: str, name: str, people: Collection[User] = (), **settings: Any
) -> Queue:
    """A new queue. Raises ValueError when its settings do not fit together or the name is taken."""
    if kind not in MADE_BY_HAND:
        raise ValueError("A queue is for rankings or for demonstrations; reviews and adjudication make their own.")
    queue = Queue(project=project, kind=kind, name=name, **settings)
    _check(queue, people)
    try:
        with transaction.atomic():
            queue.save()
            queue.people.set(people)
            record(project, by, "made queue", queue=queue.pk, name=queue.name)
    except IntegrityError as error:
        raise ValueError(f"There is a queue '{queue.name}' for this kind of work already.") from error
    return queue


def change_queue(queue: Queue, by: User, *, people: Collection[User] | None = None, **settings: Any) -> Queue:
    """Other settings for a queue. Raises ValueError as `create_queue` does; what was changed goes into the journal."""
    before = {name: getattr(queue, name) for name in settings}
    for name, value in settings.items():
        setattr(queue, name, value)
    _check(queue, queue.people.all() if people is None else people)
    changed = {name: _plain(getattr(queue, name)) for name in settings if getattr(queue, name) != before[name]}
    try:
        with transaction.atomic():
            queue.save(update_fields=list(settings))
            if people is not None and {p.pk for p in people} != set(queue.people.values_list("pk", flat=True)):
                queue.people.set(people)
                changed["people"] = sorted(p.username for p in people)
            if changed:
                record(queue.project_id, by, "changed queue", queue=queue.pk, name=queue.name, **{"to": changed})
    except IntegrityError as error:
        raise ValueError(f"There is a queue '{queue.name}' for this kind of work already.") from error
    return queue


def _plain(value: Any) -> Any:
    return value.pk if isinstance(value, Artifact) else value


def _check(queue: Queue, people: Iterable[User]) -> None:
    queue.name = " ".join(queue.name.split())
    if not 1 <= len(queue.name) <= 120:
        raise ValueError("Give the queue a name of at most 120 characters.")
    if not 1 <= queue.lease_minutes <= LONGEST_LEASE:
        raise ValueError(f"A task is held for 1 to {LONGEST_LEASE:,} minutes.")
    if len(queue.skill) > 40 or len(queue.note) > 300:
        raise ValueError("A skill has at most 40 characters, a note at most 300.")
    if queue.order not in Queue.Order.values:
        raise ValueError(f"Order: one of {', '.join(Queue.Order.values)}.")
    if queue.order in SCORED and queue.reward_model is None:
        raise ValueError("This order goes by a reward model's scores: choose which one's.")
    if queue.reward_model and queue.reward_model.project_id != queue.project_id:
        raise ValueError("Choose a reward model of this project.")
    if queue.kind == Kind.DEMONSTRATE and queue.order not in (Queue.Order.RANDOM, Queue.Order.OLDEST):
        raise ValueError("A demonstration has no answers to order by: choose at random, or first come, first served.")
    _check_gold(queue)
    members = set(Membership.objects.filter(project=queue.project_id).values_list("user", flat=True))
    if strangers := [person.username for person in people if person.pk not in members]:
        raise ValueError(f"{strangers[0]} is not a member of this project.")


def _check_gold(queue: Queue) -> None:
    if not 0 <= queue.gold_rate <= 0.5:
        raise ValueError("Gold is at most half of a person's tasks: a rate between 0 and 0.5.")
    if not 0 <= queue.calibration_pass <= 1 or not 0 <= queue.calibration_items <= 100:
        raise ValueError("A trial round has 0 to 100 items, and its share to pass is between 0 and 1.")
    if not 1 <= queue.gold_window <= 1000 or not 0 <= queue.min_seconds <= 600:
        raise ValueError("Count the last 1 to 1,000 gold items; a hasty answer takes less than 0 to 600 seconds.")
    limits = [limit for limit in (queue.warn_below, queue.pause_below, queue.exclude_below) if limit is not None]
    if any(not 0 <= limit <= 1 for limit in limits):
        raise ValueError("Accuracies are between 0 and 1.")
    if limits != sorted(limits, reverse=True):
        raise ValueError("One is warned first, then paused, then excluded: the accuracies must fall in that order.")


def set_open(queue: Queue, by: User, is_open: bool) -> bool:
    """Hand work out, or no more; claims that live go on. False when it was so already."""
    with transaction.atomic():
        if Queue.objects.filter(pk=queue.pk, is_open=not is_open).update(is_open=is_open) != 1:
            return False
        record(queue.project_id, by, "opened queue" if is_open else "closed queue", queue=queue.pk, name=queue.name)
    queue.is_open = is_open
    return True


# Single tasks


def release_claim(claim: Claim, by: User, reason: str = "") -> bool:
    """Take a task back from the person who holds it: their draft is kept. False when it was not live any more."""
    with transaction.atomic():
        if not release(claim, reason=reason or "Released by a lead"):
            return False
        record(claim.task.queue.project_id, by, "released", claim.task, person=claim.annotator, reason=reason[:200])
    return True


def assign(queue: Queue, tasks: Sequence[int], person: User | None, by: User) -> int:
    """Keep one free place of each of these tasks for `person` alone; None: for anybody, as before.

    Tasks without a free place, or that this person has had already, are left out. Raises ValueError for a person who is
    not a member.
    """
    if person and not Membership.objects.filter(project=queue.project_id, user=person).exists():
        raise ValueError(f"{person.username} is not a member of this project.")
    changed = 0
    for some in batched(tasks):
        with transaction.atomic():
            rows = hold_rows(queue.tasks.filter(pk__in=some), Task.Status.OPEN)
            free = Slot.objects.filter(task__in=rows, status=Slot.Status.FREE)
            done: list[Task] = []
            if person is not None:
                done = _keep(rows, free, person)
            else:
                done = [task for task in rows if task.assignee_id]
                for task in done:
                    free.filter(task=task).exclude(assignee=None).update(assignee=None, skill=task.skill)
            Task.objects.filter(pk__in=[task.pk for task in done]).update(assignee=person)
            for task in done:
                record(queue.project_id, by, "assigned" if person else "unassigned", task, person=person)
            changed += len(done)
    return changed


def _keep(tasks: list[Task], free: Any, person: User) -> list[Task]:
    had = Claim.objects.filter(task__in=tasks, annotator=person)
    out = set(had.filter(status__in=[Claim.Status.LIVE, Claim.Status.SUBMITTED]).values_list("task", flat=True))
    kept = []
    for task in tasks:
        places = free.filter(task=task)
        places.exclude(assignee=None).update(assignee=None, skill=task.skill)  # whoever had it before
        first = places.order_by("number").values_list("pk", flat=True).first()
        if task.pk in out or first is None:
            continue
        if free.filter(pk=first).update(assignee=person, skill="") == 1:
            kept.append(task)
    had.filter(task__in=kept).exclude(skip="").update(skip="")  # the lead asks again for what they had skipped
    return kept


def set_priority(queue: Queue, tasks: Sequence[int], priority: int, by: User) -> int:
    """Higher comes first. Raises ValueError beyond ±1,000."""
    if priority not in PRIORITIES:
        raise ValueError("A priority is between -1,000 and 1,000.")
    changed = 0
    for some in batched(tasks):
        with transaction.atomic():
            rows = hold_rows(queue.tasks.filter(pk__in=some).exclude(priority=priority), *WAITING)
            Slot.objects.filter(task__in=rows).update(priority=priority)
            changed += Task.objects.filter(pk__in=[task.pk for task in rows]).update(priority=priority)
    if changed:
        record(queue.project_id, by, "set priority", queue=queue.pk, tasks=changed, priority=priority)
    return changed


def put_back(queue: Queue, tasks: Sequence[int], by: User) -> int:
    """Let people have tasks again that somebody found not usable, or that were withdrawn by hand."""
    changed = 0
    for some in batched(tasks):
        with transaction.atomic():
            rows = hold_rows(queue.tasks.filter(pk__in=some, review=None), Task.Status.HELD, Task.Status.WITHDRAWN)
            Slot.objects.filter(task__in=rows, status=Slot.Status.WITHDRAWN).update(status=Slot.Status.FREE)
            changed += Task.objects.filter(pk__in=[task.pk for task in rows]).update(status=Task.Status.OPEN)
            for task in rows:
                record(queue.project_id, by, "put back", task)
    return changed


def withdraw(queue: Queue, tasks: Sequence[int], by: User) -> int:
    """Take tasks out of the queue; judgements that exist stay."""
    with transaction.atomic():
        changed = withdraw_tasks(queue.tasks.filter(pk__in=tasks))
        if changed:
            record(queue.project_id, by, "withdrew tasks", queue=queue.pk, tasks=changed)
    return changed
