"""Who works on what: the next task for an annotator, leases that expire, work given back.

Each task has `overlap` slots. A claim holds one; whoever changes a slot or a claim does it by an UPDATE that names the
state it expects and is checked for one row, so no two annotators ever hold the same place, on SQLite as on PostgreSQL.
Where several change, the claim changes first, then the task, then the slot.
"""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.utils import timezone

from annotation.desk import Desk, look_at
from annotation.gold import next_gold
from annotation.journal import record
from annotation.models import Claim, Completion, Draft, Kind, Prompt, Queue, Skip, Slot, Task
from annotation.progress import NOT_AGAIN
from annotation.standing import check_may_work
from studio import statements
from studio.models import Guideline, User
from studio.statements import Part

ATTEMPTS = 20  # places lost to others before the queue counts as contended away
BATCH = 1000
GONE = (Task.Status.WITHDRAWN, Task.Status.HELD)  # tasks whose free places nobody gets
PAUSE_HOURS = 24  # how long a pause keeps the place
RENEW_AFTER = 0.1  # of a lease gone by before typing renews it


class Taken(Exception):
    """Somebody else took the slot first, or the annotator already works on its task."""


def claim_next(queue: Queue, annotator: User) -> Claim | None:
    """A lease on the annotator's next task, or None when there is nothing for them.

    Work already begun comes first, with a fresh lease; then gold when it is due, the highest priority, what is kept for
    this person, and the queue's order. Nobody is given a task that they have judged or skipped for good, and one that
    they put off only when nothing else is left. Raises MayNotWork when the queue is not for them.
    """
    desk = look_at(queue, annotator)
    check_may_work(queue, annotator, desk)
    if desk.live_claim is not None:
        begun = resume(queue, annotator)
        if begun is not None:
            return begun
    if desk.is_overdue:
        expire()
    if not queue.is_open:
        return None
    gold = next_gold(queue, annotator)
    if gold:
        return gold
    for _ in range(ATTEMPTS):
        try:
            with transaction.atomic():
                slot = _next_slot(queue, annotator, desk) or _put_off(queue, annotator)
                return None if slot is None else _take(slot, queue, annotator, desk.guideline)
        except (Taken, IntegrityError):
            continue
    return None


def resume(queue: Queue, annotator: User) -> Claim | None:
    """The annotator's oldest live claim in this queue, clock and lease running anew, under today's guideline."""
    live = Claim.objects.filter(task__queue=queue, annotator=annotator, status=Claim.Status.LIVE)
    claim = live.select_related("task__prompt", "draft").first()
    if claim is None:
        return None
    claim.task.queue = queue
    if claim.paused_at is not None:
        go_on(claim)
    expires_at = timezone.now() + timedelta(minutes=queue.lease_minutes)
    guideline = queue.project.guideline
    renewed = Claim.objects.filter(pk=claim.pk, status=Claim.Status.LIVE).update(
        expires_at=expires_at, guideline=guideline
    )
    if renewed != 1:
        return None
    claim.expires_at, claim.guideline = expires_at, guideline
    return claim


# The next place


def _next_slot(queue: Queue, annotator: User, desk: Desk) -> Slot | None:
    """The first place by priority, kept for the person, place; those that others lock are passed by (PostgreSQL).

    A person may take from several lines: what is kept for them, what is open to all, and one for each skill they have.
    """
    lines = [(True, "")] if desk.has_kept else []
    lines += [(False, skill) for skill in ("", *desk.skills)]
    facts = {"queue": queue.pk, "user": annotator.pk}
    condition = _not_theirs(queue, desk)
    if len(lines) > 1:
        heads = [statements.first(_HEAD + _line(kept, condition), facts | {"skill": skill}) for kept, skill in lines]
        waiting = [(-head[0], head[1] is None, head[2], number) for number, head in enumerate(heads) if head]
        lines = [lines[number] for *_, number in sorted(waiting)]
    for kept, skill in lines:
        locked = _PLACE + _line(kept, condition) + statements.for_update("s")
        row = statements.first(locked, facts | {"skill": skill}, _SLOT, _TASK, _PROMPT)
        if row is not None:
            slot, slot.task, slot.task.prompt, slot.had_before = row
            return slot
    return None


def _not_theirs(queue: Queue, desk: Desk) -> str:
    if queue.kind == Kind.ADJUDICATE:  # nobody settles a disagreement that is their own
        return """AND NOT EXISTS(SELECT 1 FROM annotation_claim j
            WHERE j.task_id = t.adjudicates_id AND j.annotator_id = %(user)s AND j.status = 'submitted')"""
    if desk.is_doubted:  # a second opinion is somebody else's
        return """AND NOT EXISTS(SELECT 1
            FROM annotation_repeat r JOIN annotation_comparison j ON j.id = r.comparison_id
            WHERE r.task_id = t.id AND r.reward_model_id IS NOT NULL AND j.annotator_id = %(user)s)"""
    return ""


def _line(kept: bool, condition: str) -> str:
    """One range of the index `slot_next`, in its order.

    By the assignee first, though it is one in each line: to PostgreSQL, IS NULL does not make a column of an index
    constant, and without it the index would not give the order.
    """
    return f"""
        FROM annotation_slot s JOIN annotation_task t ON t.id = s.task_id JOIN annotation_prompt p ON p.id = t.prompt_id
        WHERE s.queue_id = %(queue)s AND s.status = 'free' AND s.skill = %(skill)s
        AND s.assignee_id {"= %(user)s" if kept else "IS NULL"}
        AND NOT EXISTS(SELECT 1 FROM annotation_claim c WHERE c.task_id = s.task_id AND c.annotator_id = %(user)s
            AND (c.status IN ('live', 'submitted') OR c.skip <> ''))
        {condition}
        ORDER BY s.assignee_id, s.priority DESC, s.place LIMIT 1"""


_SLOT, _TASK, _PROMPT = Part(Slot, "s"), Part(Task, "t"), Part(Prompt, "p")
_HEAD = "SELECT s.priority, s.assignee_id, s.place"
# Counted, not asked with EXISTS: for that PostgreSQL reads all claims of the person into a hash table first.
_PLACE = f"""
SELECT {_SLOT}, {_TASK}, {_PROMPT},
    (SELECT count(*) FROM annotation_claim c WHERE c.task_id = s.task_id AND c.annotator_id = %(user)s)"""


def _lock_first(places: QuerySet[Slot]) -> Slot | None:
    return places.select_related("task__prompt").select_for_update(of=("self",), skip_locked=True).first()


def _put_off(queue: Queue, annotator: User) -> Slot | None:
    """A free place of the task that this person put off first, of those that they were not given since."""
    later = Claim.objects.filter(
        annotator=annotator, status=Claim.Status.RELEASED, skip=Skip.LATER, task__queue=queue
    ).order_by("finished_at")
    closed = Claim.objects.filter(task=OuterRef("task"), annotator=annotator).filter(
        Q(status__in=[Claim.Status.LIVE, Claim.Status.SUBMITTED]) | Q(skip__in=NOT_AGAIN)
    )
    for task in later.filter(~Exists(closed)).values_list("task", flat=True):
        free = free_places(task, annotator)
        slot = _lock_first(free)
        if slot is not None:
            return slot
    return None


def free_places(task: int, annotator: User) -> QuerySet[Slot]:
    """The free places of a task that this person may have: first the one that is kept for them."""
    free = Slot.objects.filter(task=task, status=Slot.Status.FREE)
    free = free.filter(Q(assignee=None) | Q(assignee=annotator)).order_by(F("assignee").asc(nulls_last=True), "number")
    return free.annotate(had_before=Exists(Claim.objects.filter(task=OuterRef("task"), annotator=annotator)))


def _take(slot: Slot, queue: Queue, annotator: User, guideline: Guideline | None) -> Claim:
    """A claim on a free slot found for this person, inside a transaction. Raises Taken and IntegrityError.

    What they had typed and the order they saw come back with a task that they had before.
    """
    shown = list(_answers(slot.task))
    random.shuffle(shown)
    before = None
    if slot.had_before:  # type: ignore[attr-defined]
        earlier = Claim.objects.filter(task=slot.task_id, annotator=annotator)
        before = earlier.select_related("draft").order_by("-id").first()
    if before is not None and set(before.shown_order) == set(shown):
        shown = before.shown_order
    now = timezone.now()
    claim = Claim(
        task=slot.task,
        annotator=annotator,
        project_id=queue.project_id,
        guideline=guideline,
        shown_order=shown,
        created_at=now,
        expires_at=now + timedelta(minutes=queue.lease_minutes),
    )
    statements.insert(claim)  # unique (task, annotator): a second tab of the same person fails here
    if statements.change(_CLAIM_PLACE, {"slot": slot.pk, "claim": claim.pk}) != 1:
        raise Taken
    _hand_over_draft(before, claim)
    claim.task.queue = queue
    return claim


_CLAIM_PLACE = (
    "UPDATE annotation_slot SET status = 'claimed', claim_id = %(claim)s WHERE id = %(slot)s AND status = 'free'"
)


def _answers(task: Task) -> dict[int, Completion]:
    """The task's completions by id. The task remembers them: the second time costs no query."""
    if "answers" not in task.__dict__:
        offered = statements.rows(_ANSWERS, {"task": task.pk}, _COMPLETION)
        task.answers = {completion.pk: completion for (completion,) in offered}
    return task.answers


_COMPLETION = Part(Completion, "c")
_ANSWERS = f"""
SELECT {_COMPLETION} FROM annotation_taskcompletion o JOIN annotation_completion c ON c.id = o.completion_id
WHERE o.task_id = %(task)s ORDER BY o.position
"""


def _hand_over_draft(before: Claim | None, claim: Claim) -> None:
    draft = getattr(before, "draft", None)
    if draft is not None:
        Draft.objects.filter(pk=draft.pk).update(claim=claim)
        draft.claim = claim
    else:
        Claim.draft.related.set_cached_value(claim, None)  # type: ignore[attr-defined]  # known without a query


def claim_task(task: Task, annotator: User) -> Claim | None:
    """A lease on this very task (a link, a lead's assignment), or None when it has no free slot for the annotator."""
    expire()
    live = Claim.objects.filter(task=task, annotator=annotator, status=Claim.Status.LIVE).first()
    if live:
        return live
    for _ in range(ATTEMPTS):
        try:
            with transaction.atomic():
                slot = _lock_first(free_places(task.pk, annotator))
                return None if slot is None else _take(slot, task.queue, annotator, task.queue.project.guideline)
        except Taken:
            continue
        except IntegrityError:  # judged already
            return None
    return None


def shown_answers(claim: Claim) -> dict[str, Completion]:
    """The answers to rank by their letter, in the order in which this claim shows them."""
    found = _answers(claim.task)
    return {letter: found[pk] for letter, pk in claim.letters.items()}


# Leases


def renew(claim: Claim) -> None:
    """Somebody types: begin the lease anew, unless it was begun a moment ago or the claim is not live any more."""
    lease = timedelta(minutes=claim.task.queue.lease_minutes)
    now = timezone.now()
    live = Claim.objects.filter(pk=claim.pk, status=Claim.Status.LIVE, paused_at=None)
    if live.filter(expires_at__lt=now + (1 - RENEW_AFTER) * lease).update(expires_at=now + lease):
        claim.expires_at = now + lease


def pause(claim: Claim) -> bool:
    """Let the claim's clock stand still, its place kept for a day. False when it is not live, or paused already."""
    now = timezone.now()
    running = Claim.objects.filter(pk=claim.pk, status=Claim.Status.LIVE, paused_at=None)
    expires_at = max(claim.expires_at, now + timedelta(hours=PAUSE_HOURS))
    if running.update(paused_at=now, expires_at=expires_at) != 1:
        return False
    claim.paused_at, claim.expires_at = now, expires_at
    return True


def go_on(claim: Claim) -> bool:
    """Let the clock of a paused claim go on, with a fresh lease where it is live. False when none stood still."""
    claim.refresh_from_db(fields=["paused_at", "paused_seconds", "expires_at"])
    if claim.paused_at is None:
        return False
    now = timezone.now()
    paused = claim.paused_seconds + (now - claim.paused_at).total_seconds()
    stood = Claim.objects.filter(pk=claim.pk, paused_at=claim.paused_at)
    if stood.update(paused_at=None, paused_seconds=paused) != 1:
        return False
    claim.paused_at, claim.paused_seconds = None, paused
    expires_at = now + timedelta(minutes=claim.task.queue.lease_minutes)
    if Claim.objects.filter(pk=claim.pk, status=Claim.Status.LIVE).update(expires_at=expires_at):
        claim.expires_at = expires_at
    return True


def expire(queue: Queue | None = None, now: datetime | None = None) -> int:
    """Take back the places of overdue claims, in all queues or in one; returns how many. Drafts stay and may come in.

    One query of the index `claim_live_expiry` when nothing is overdue.
    """
    now = now or timezone.now()
    overdue = Claim.objects.filter(status=Claim.Status.LIVE, expires_at__lt=now).order_by("expires_at")
    if queue is not None:
        overdue = overdue.filter(task__queue=queue)
    return sum(
        _give_up(Claim.objects.filter(pk=pk, expires_at__lt=now), pk, status=Claim.Status.EXPIRED)
        for pk in list(overdue.values_list("id", flat=True)[:BATCH])
    )


def release(claim: Claim, *, reason: str = "", skip: str = "") -> bool:
    """Give the place back; `skip` (of `Skip`) says to whom next. False when it was not live.

    A task that is not usable is held: nobody gets its free places until a lead decides.
    """
    if skip not in ("", *Skip.values):
        raise ValueError(f"Skip: '{skip}' must be one of {', '.join(Skip.values)}.")
    changes = {"status": Claim.Status.RELEASED, "reason": reason[:200], "skip": skip, "finished_at": timezone.now()}
    with transaction.atomic():
        released = _give_up(Claim.objects.filter(pk=claim.pk), claim.pk, **changes)
        if released and skip == Skip.UNUSABLE:
            _hold(claim, reason)
        elif released and skip:  # what was kept for somebody who does not want it is for all who may
            kept = Slot.objects.filter(task=claim.task_id, assignee=claim.annotator_id)
            kept.update(assignee=None, skill=claim.task.skill)
    return bool(released)


def _hold(claim: Claim, reason: str) -> None:
    list(Task.objects.filter(pk=claim.task_id).select_for_update(no_key=True))
    if Task.objects.filter(pk=claim.task_id, status=Task.Status.OPEN).update(status=Task.Status.HELD) == 1:
        free = Slot.objects.filter(task=claim.task_id, status=Slot.Status.FREE)
        free.update(status=Slot.Status.WITHDRAWN)
        record(claim.task.queue.project_id, claim.annotator, "held", claim.task, reason=reason[:200])


@transaction.atomic
def _give_up(claims: QuerySet[Claim], pk: int, **changes: Any) -> int:
    if claims.filter(status=Claim.Status.LIVE).update(**changes) != 1:
        return 0
    free_slot(pk)
    return 1


def free_slot(claim_id: int) -> None:
    """Empty the slot of a claim that is live no more, in a transaction; that of a task taken out stays out too."""
    held = Slot.objects.filter(claim=claim_id, status=Slot.Status.CLAIMED)
    # Whoever takes a task out of its queue holds its row: either they see this place free, or we see the task gone.
    task = Task.objects.filter(slots__claim=claim_id).select_for_update(of=("self",), no_key=True).first()
    gone = task is not None and (task.status in GONE or hasattr(task, "gold"))  # gold: no place is open to all
    held.update(status=Slot.Status.WITHDRAWN if gone else Slot.Status.FREE, claim=None)
