"""What leads do to queues and their tasks: settings, assignment, what is stuck, what was set aside.

Every act is written into the journal. A place that somebody holds or has judged stays theirs: only free places change.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db import IntegrityError, transaction

from annotation import queue as claims
from annotation.journal import record
from annotation.models import Claim, Kind, Queue, Slot, Task
from annotation.ordering import check_scores, reorder
from annotation.ordering_tasks import reorder_queue
from annotation.tasks import withdraw_tasks
from studio.memberships import skill_tag
from studio.models import Membership, Project, User

AT_ONCE = 3000  # tasks that are ordered while the lead waits: a few seconds


def create_queue(
    project: Project, by: User, *, kind: str, name: str, people: Iterable[User] = (), **settings: Any
) -> Queue:
    """A new queue. Raises ValueError for a kind that is none, a name that is taken, and settings that do not fit."""
    if kind not in (Kind.DEMONSTRATE, Kind.RANK):
        raise ValueError("A queue made by hand is for demonstrations or rankings; reviews and settling make their own.")
    made = Queue(project=project, kind=kind, name=name.strip(), **settings)
    _check(made)
    try:
        with transaction.atomic():
            made.save()
            made.people.set(_members(project, people))
            record(project, by, "queue made", queue=made.pk, name=made.name)
    except IntegrityError as error:
        raise ValueError(f"There is a queue “{made.name}” for this kind of work already.") from error
    return made


def change_queue(found: Queue, by: User, *, people: Iterable[User] | None = None, **settings: Any) -> Queue:
    """Change settings of a queue; what changed is written down. Raises ValueError as `create_queue` does."""
    before = {name: getattr(found, name) for name in settings}
    for name, value in settings.items():
        setattr(found, name, value)
    _check(found)
    changed = [name for name in settings if before[name] != getattr(found, name)]
    try:
        with transaction.atomic():
            if changed:
                found.save(update_fields=changed)
            if people is not None:
                found.people.set(_members(found.project, people))
            record(found.project_id, by, "queue changed", queue=found.pk, name=found.name, changed=changed)
    except IntegrityError as error:
        raise ValueError(f"There is a queue “{found.name}” for this kind of work already.") from error
    return found


def _check(queue: Queue) -> None:
    queue.skill = skill_tag(queue.skill)
    if not queue.name:
        raise ValueError("Give the queue a name.")
    if not 1 <= queue.lease_minutes <= 7 * 24 * 60:
        raise ValueError("A claim holds its place for 1 minute to 7 days.")
    if not 0 <= queue.gold_rate <= 0.5:
        raise ValueError("Gold items: a share from 0 to 0.5 of a person's tasks.")
    if not 0 <= queue.calibration_pass <= 1:
        raise ValueError("To pass the trial round: a share from 0 to 1 of the pairs.")
    steps = [t for t in (queue.exclude_below, queue.pause_below, queue.warn_below) if t is not None]
    if any(not 0 <= t <= 1 for t in steps) or steps != sorted(steps):
        raise ValueError("Thresholds are shares from 0 to 1: warn below the highest, exclude below the lowest.")
    if queue.order in (Queue.Order.UNCERTAIN, Queue.Order.DISPUTED) and queue.reward_model is None:
        raise ValueError("This order goes by a reward model's scores: choose the reward model.")


def _members(project: Project, people: Iterable[User]) -> list[User]:
    people = list(people)
    inside = set(Membership.objects.filter(project=project, user__in=people).values_list("user", flat=True))
    for person in people:
        if person.pk not in inside:
            raise ValueError(f"{person.username} is not a member of this project.")
    return people


def order_queue(found: Queue, by: User) -> int | None:
    """Put the waiting tasks into the queue's order now; None: they are many, and a worker does it.

    Raises ValueError when the order goes by scores and there are none.
    """
    waiting = found.tasks.filter(status__in=[Task.Status.OPEN, Task.Status.HELD])[: AT_ONCE + 1].count()
    if waiting <= AT_ONCE:
        return reorder(found, by)
    check_scores(found)
    transaction.on_commit(lambda: reorder_queue.delay(found.pk, by.pk), robust=True)
    return None


def release_claim(claim: Claim, by: User, reason: str = "") -> None:
    """Give back what somebody holds; the draft stays, and counts when it is sent after all. ValueError when over."""
    with transaction.atomic():
        if not claims.release(claim, reason=reason or "Released by a lead"):
            raise ValueError("This claim is over already: it was submitted or given back meanwhile.")
        record(claim.task.queue.project_id, by, "released", claim.task, person=claim.annotator, reason=reason[:200])


@transaction.atomic
def assign(task: Task, person: User | None, by: User) -> None:
    """Keep one free place of the task for a person, or (None) open what was kept to all.

    Raises ValueError when no place is free, the person has judged or holds it already, or is no member.
    """
    _lock(task)
    if person is not None:
        _members(task.queue.project, [person])
        if task.claims.filter(annotator=person, status__in=[Claim.Status.LIVE, Claim.Status.SUBMITTED]).exists():
            raise ValueError(f"{person.display_name} works on this task or has judged it already.")
        if is_about(task, person):
            raise ValueError(f"This task is about a judgement of {person.display_name}: choose somebody else.")
    free = Slot.objects.filter(task=task, status=Slot.Status.FREE)
    free.exclude(assignee=None).update(assignee=None, skill=task.skill)
    if person is not None:
        place = free.order_by("number").values_list("pk", flat=True).first()
        if place is None or free.filter(pk=place).update(assignee=person, skill="") != 1:
            raise ValueError("No place of this task is free: release a claim first.")
    Task.objects.filter(pk=task.pk).update(assignee=person)
    task.assignee = person
    record(task.queue.project_id, by, "assigned", task, person=person)


def is_about(task: Task, person: User) -> bool:
    """Whether the task settles or doubts what this person has judged: the queue never gives it to them."""
    judged = Claim.objects.filter(annotator=person, status=Claim.Status.SUBMITTED)
    doubted = task.repeats.filter(reward_model__isnull=False, comparison__annotator=person)
    return (task.adjudicates_id is not None and judged.filter(task=task.adjudicates_id).exists()) or doubted.exists()


@transaction.atomic
def put_back(task: Task, by: User) -> None:
    """A task that was set aside as not usable is work again. Raises ValueError when it is not set aside."""
    _lock(task)
    if Task.objects.filter(pk=task.pk, status=Task.Status.HELD).update(status=Task.Status.OPEN) != 1:
        raise ValueError("This task is not set aside any more.")
    withdrawn = Slot.objects.filter(task=task, status=Slot.Status.WITHDRAWN)
    withdrawn.filter(task__gold=None).update(status=Slot.Status.FREE)  # no place of a gold item is open to all
    task.status = Task.Status.OPEN
    record(task.queue.project_id, by, "put back", task)


@transaction.atomic
def take_out(task: Task, by: User, reason: str = "") -> None:
    """Take a task out of its queue for good; judgements that exist stay. Raises ValueError when it is over already."""
    if withdraw_tasks(Task.objects.filter(pk=task.pk)) != 1:
        raise ValueError("This task is over already.")
    task.status = Task.Status.WITHDRAWN
    record(task.queue.project_id, by, "task withdrawn", task, reason=reason[:200])


@transaction.atomic
def set_priority(task: Task, priority: int, by: User) -> None:
    """Higher comes first. Raises ValueError outside -1,000 to 1,000."""
    if not -1000 <= priority <= 1000:
        raise ValueError("Priority: a whole number from -1,000 to 1,000.")
    Task.objects.filter(pk=task.pk).update(priority=priority)
    Slot.objects.filter(task=task).update(priority=priority)
    record(task.queue.project_id, by, "priority set", task, before=task.priority, priority=priority)
    task.priority = priority


def _lock(task: Task) -> None:
    """Whoever changes what is free of a task holds its row (see `queue.free_slot`)."""
    list(Task.objects.filter(pk=task.pk).select_for_update(no_key=True))
