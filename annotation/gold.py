"""Gold items: tasks whose right ranking is known, mixed into real work so that it shows whom to trust.

On the screen and in the API a gold item is a task like any other: a claim on it is made the same way, with the same
fields. Its task has no places at first; each person who meets it adds one, by an UPDATE of `overlap` that names the
value it saw, so live claims and judgements never exceed the overlap here either.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import timedelta

from django.db import IntegrityError, transaction
from django.db.models import Exists, F, OuterRef, Q
from django.utils import timezone

from annotation.comparisons import Tiers, outcome, pairs
from annotation.models import (
    Claim,
    Comparison,
    Demonstration,
    Gold,
    GoldResult,
    Queue,
    Skip,
    Slot,
    Standing,
    Task,
    TaskCompletion,
)
from annotation.standing import calibration_so_far, failed_calibration, worsen
from studio.models import User

ATTEMPTS = 20  # at a place that others take at the same moment
FEWEST = 4  # results before a threshold speaks: below it one bad day decides (or the window, where that is smaller)


@dataclass(frozen=True)
class GoldFeedback:
    """What a person is told after a gold item."""

    accuracy: float  # share of the pairs, 0 to 1
    right: str  # the right order in the letters they saw: "B › A = C"
    explanation: str  # Markdown
    calibration: str = ""  # how far the trial round is, or how it ended
    passed: bool | None = None  # of the trial round, once it has ended

    @property
    def text(self) -> str:
        """One or two plain sentences; `explanation` is Markdown and stands apart."""
        if self.accuracy == 1:
            verdict = f"Right: {self.right}."
        else:
            verdict = f"The agreed order is {self.right}; you had {self.accuracy:.0%} of its pairs right."
        return f"{verdict} {self.calibration}".strip()


# Meeting one


def next_gold(queue: Queue, user: User) -> Claim | None:
    """A claim on a gold item when it is time for one: the queue's trial round first, later one in 1/gold_rate tasks.

    None when it is not, or when this person has met all there are. Raises MayNotWork when the trial round has run out
    of items and what was done of it is not good enough. No query where the queue asks for neither.
    """
    calibrating = False
    if queue.calibration_items:
        done, mean = calibration_so_far(queue, user)
        calibrating = done < queue.calibration_items
    if not calibrating and (queue.gold_rate <= 0 or random.random() >= queue.gold_rate):
        return None
    found = _unmet(queue, user).order_by("id" if calibrating else "?").select_related("task").first()
    if found is None:
        if calibrating and mean is not None and mean < queue.calibration_pass:
            raise failed_calibration(queue, mean)
        return None
    try:
        return _take(found.task, queue, user)
    except IntegrityError:  # the same person reached for it in another tab
        return None


def _unmet(queue: Queue, user: User):
    """The queue's gold items on prompts that this person has not judged, nor given back for good."""
    met = Claim.objects.filter(task__prompt=OuterRef("task__prompt"), annotator=user).filter(
        Q(status__in=[Claim.Status.LIVE, Claim.Status.SUBMITTED]) | Q(skip__in=[Skip.OTHERS, Skip.UNUSABLE])
    )
    usable = [Task.Status.OPEN, Task.Status.CLOSED]
    return Gold.objects.filter(~Exists(met), task__queue=queue, task__status__in=usable, retired_at=None)


@transaction.atomic
def _take(task: Task, queue: Queue, user: User) -> Claim | None:
    slot = place_for(task)
    if slot is None:
        return None
    shown = list(TaskCompletion.objects.filter(task=task).values_list("completion_id", flat=True))
    random.shuffle(shown)
    now = timezone.now()
    claim = Claim.objects.create(
        task=task,
        annotator=user,
        project_id=queue.project_id,
        guideline=queue.project.guideline,
        shown_order=shown,
        created_at=now,
        expires_at=now + timedelta(minutes=queue.lease_minutes),
    )
    Slot.objects.filter(pk=slot).update(claim=claim)
    return claim


def place_for(task: Task) -> int | None:
    """The id of a place that is now ours: one that somebody gave back, or a new one."""
    idle = Slot.objects.filter(task=task, status__in=[Slot.Status.FREE, Slot.Status.WITHDRAWN])
    for pk in idle.values_list("id", flat=True)[:ATTEMPTS]:
        if idle.filter(pk=pk).update(status=Slot.Status.CLAIMED, claim=None) == 1:
            return pk
    for _ in range(ATTEMPTS):
        overlap = Task.objects.values_list("overlap", flat=True).get(pk=task.pk)
        if Task.objects.filter(pk=task.pk, overlap=overlap).update(overlap=F("overlap") + 1) == 1:
            return Slot.objects.create(
                task=task, number=overlap, queue_id=task.queue_id, priority=task.priority, status=Slot.Status.CLAIMED
            ).pk
    return None


# After the answer


def accuracy_of(right: Tiers, given: Tiers) -> float:
    """Share of the pairs that `right` orders which `given` orders the same way; a tie counts ½, an answer set aside 0.

    >>> accuracy_of([[1], [2, 3]], [[2], [1], [3]])  # pairs 1>2 (wrong), 1>3 (right)
    0.5
    """
    wanted = pairs(right)
    assert wanted, "gold without a pair"
    return sum(outcome(given, better, worse) or 0.0 for better, worse in wanted) / len(wanted)


def after_submit(claim: Claim, label: Comparison | Demonstration) -> GoldFeedback | None:
    """Score a judgement when its task is gold; called in the transaction that takes it in. None: nothing to tell.

    A person's standing changes here when the queue's thresholds say so. Sent again after an undo: where the right
    order was shown the first answer stays, else the last one counts.
    """
    gold = getattr(claim.task, "gold", None)
    if gold is None or not isinstance(label, Comparison):
        return None
    queue = claim.task.queue
    earlier = GoldResult.objects.filter(claim=claim).first()
    if earlier is None:
        done = calibration_so_far(queue, claim.annotator)[0] if queue.calibration_items else 0
        result = GoldResult.objects.create(
            gold=gold,
            claim=claim,
            annotator=claim.annotator,
            accuracy=accuracy_of(gold.tiers, label.tiers),
            is_calibration=done < queue.calibration_items,
        )
        if not result.is_calibration:
            _apply_thresholds(queue, claim.annotator)
    elif not (queue.gold_feedback or earlier.is_calibration):
        GoldResult.objects.filter(pk=earlier.pk).update(accuracy=accuracy_of(gold.tiers, label.tiers))
    return feedback(claim)


def feedback(claim: Claim) -> GoldFeedback | None:
    """What to tell after this submitted claim; None for real work and for silent gold."""
    if getattr(claim.task, "gold", None) is None:  # known without a query where the claim was read with its task's gold
        return None
    result = GoldResult.objects.filter(claim=claim).select_related("gold").first()
    queue = claim.task.queue
    if result is None or not (queue.gold_feedback or result.is_calibration):
        return None
    words, passed = _calibration_words(queue, claim.annotator) if result.is_calibration else ("", None)
    return GoldFeedback(
        accuracy=result.accuracy,
        right=in_letters(result.gold.tiers, claim),
        explanation=result.gold.explanation,
        calibration=words,
        passed=passed,
    )


def in_letters(tiers: Tiers, claim: Claim) -> str:
    """Tiers in the letters of a claim's screen: "B › A = C"."""
    letter = {pk: name.upper() for name, pk in claim.letters.items()}
    return " › ".join(" = ".join(sorted(letter[pk] for pk in tier)) for tier in tiers)


def _calibration_words(queue: Queue, user: User) -> tuple[str, bool | None]:
    done, mean = calibration_so_far(queue, user)
    if done < queue.calibration_items:
        return f"Trial round: {done} of {queue.calibration_items}.", None
    passed = mean >= queue.calibration_pass
    score = f"Trial round done: {mean:.0%} of the pairs right"
    if passed:
        return f"{score}. Real work comes next.", True
    return f"{score}, {queue.calibration_pass:.0%} are asked. A lead will look at it with you.", False


def recent_accuracy(queue: Queue, user: User) -> tuple[int, float | None]:
    """How many of the person's last `gold_window` gold items here count against the thresholds, and their mean.

    Trial rounds do not, nor what came before a lead last decided about the person: they know of it.
    """
    found = GoldResult.objects.filter(annotator=user, gold__task__queue=queue, is_calibration=False)
    decided = Standing.objects.filter(project=queue.project_id, user=user, changed_by__isnull=False).first()
    if decided:
        found = found.filter(created_at__gt=decided.changed_at)
    last = list(found.order_by("-id").values_list("accuracy", flat=True)[: queue.gold_window])
    return len(last), sum(last) / len(last) if last else None


def _apply_thresholds(queue: Queue, user: User) -> None:
    """Warn, pause or exclude, whichever is the worst that applies. Once each, since standing only worsens here."""
    limits = [
        (queue.exclude_below, Standing.Status.EXCLUDED),
        (queue.pause_below, Standing.Status.PAUSED),
        (queue.warn_below, Standing.Status.WARNED),
    ]
    if all(limit is None for limit, _ in limits):
        return
    count, mean = recent_accuracy(queue, user)
    if mean is None or count < min(FEWEST, queue.gold_window):
        return
    for limit, status in limits:
        if limit is not None and mean < limit:
            reason = f"{mean:.0%} of the pairs of the last {count} check items right; at least {limit:.0%} are asked"
            worsen(queue.project, user, status, reason)
            return
