"""Who may work: where people stand in a project, what a queue asks of them, and what a lead or a threshold changes."""

from __future__ import annotations

from dataclasses import dataclass

from django.db import IntegrityError, transaction
from django.db.models import Avg, Count, Exists, OuterRef, Q
from django.utils import timezone

from annotation.desk import Desk, look_at
from annotation.journal import record
from annotation.models import GoldResult, Kind, Queue, Standing
from studio.access import EXPERTS
from studio.models import Membership, Project, Role, User

Status = Standing.Status
WORSE = (Status.ACTIVE, Status.WARNED, Status.PAUSED, Status.EXCLUDED)  # thresholds only go to the right
ACTS = {
    Status.ACTIVE: "reactivated", Status.WARNED: "warned", Status.PAUSED: "paused", Status.EXCLUDED: "excluded",
}  # fmt: skip


EXPERTS_SETTLE = "Disagreements are settled by subject-matter experts and engineers."


class MayNotWork(ValueError):
    """Why this person gets nothing from this queue, in a sentence for them."""


def check_may_work(queue: Queue, user: User, desk: Desk | None = None) -> None:
    """Raise MayNotWork when `user` is stopped in the project, or when the queue is not for them."""
    desk = desk or look_at(queue, user)
    if desk.standing in (Status.PAUSED, Status.EXCLUDED):
        raise MayNotWork(_stopped(desk.standing, desk.standing_reason))
    if desk.no_consent:
        raise MayNotWork("You have withdrawn your consent to the use of your work, so no work is given to you.")
    if queue.kind == Kind.ADJUDICATE and desk.role not in EXPERTS:
        raise MayNotWork(EXPERTS_SETTLE)
    if desk.is_reserved and not desk.is_named:
        raise MayNotWork(f"The queue '{queue.name}' is kept for other people.")
    if queue.skill and queue.skill not in desk.skills:
        raise MayNotWork(f"The queue '{queue.name}' asks for the skill '{queue.skill}'. A lead can give it to you.")
    if queue.calibration_items:
        _check_calibration(queue, user)


def has_no_consent(project_id: int, user: User) -> bool:
    """Whether this person took back their consent to the use of their work in the project."""
    return Standing.objects.filter(project=project_id, user=user, consent_withdrawn_at__isnull=False).exists()


def _stopped(status: str, reason: str) -> str:
    why = f" Reason: {reason.rstrip('.')}." if reason else ""
    if status == Status.PAUSED:
        return f"Your work in this project is paused until a lead lets you go on.{why}"
    return f"You are excluded from annotation in this project.{why}"


def calibration_so_far(queue: Queue, user: User) -> tuple[int, float | None]:
    """How many gold items of the trial round this person has done in this queue, and their mean accuracy."""
    done = GoldResult.objects.filter(annotator=user, gold__task__queue=queue, is_calibration=True).order_by()
    found = done.aggregate(n=Count("pk"), mean=Avg("accuracy"))
    return found["n"], found["mean"]


def _check_calibration(queue: Queue, user: User) -> None:
    trial = trial_of(queue, user)
    if trial and trial.failed:
        raise failed_calibration(queue, trial.mean or 0.0)


@dataclass(frozen=True)
class TrialSoFar:
    """What a person is told of the trial round before they take a task."""

    done: int
    asked: int
    mean: float | None
    must: float  # share of the pairs that must be right

    @property
    def failed(self) -> bool:
        return self.done >= self.asked and self.mean is not None and self.mean < self.must


def trial_of(queue: Queue, user: User) -> TrialSoFar | None:
    """The person's trial round in this queue; None where there is none or it has been passed."""
    if not queue.calibration_items:
        return None
    done, mean = calibration_so_far(queue, user)
    trial = TrialSoFar(done, queue.calibration_items, mean, queue.calibration_pass)
    return None if done >= trial.asked and not trial.failed else trial


def failed_calibration(queue: Queue, mean: float) -> MayNotWork:
    return MayNotWork(
        f"In the trial round of '{queue.name}' you put {mean:.0%} of the pairs in the right order; "
        f"{queue.calibration_pass:.0%} are asked. A lead will look at it with you and can let you repeat it."
    )


def standing_of(project: Project, user: User) -> Standing:
    """The person's row, or an unsaved one that says active."""
    found = Standing.objects.filter(project=project, user=user).select_related("changed_by").first()
    return found or Standing(project=project, user=user)


@transaction.atomic
def set_standing(project: Project, user: User, status: str, reason: str, by: User) -> Standing:
    """A lead's decision about a person, in either direction. Raises ValueError for bad input or no change."""
    reason = reason.replace("\0", "").strip()[:300]
    if status not in Status.values:
        raise ValueError("Choose what to do: warn, pause, exclude or reactivate.")
    if status != Status.ACTIVE and not reason:
        raise ValueError("Give a reason: the person reads it.")
    roles = dict(Membership.objects.filter(project=project, user__in=[user, by]).values_list("user", "role"))
    if user.pk not in roles:
        raise ValueError(f"{user.username} is not a member of this project.")
    if not may_decide_about(roles[user.pk], roles.get(by.pk, "")):
        raise ValueError(f"{user.username} owns this project: only an owner decides about an owner.")
    found = _row(project, user)
    before = found.status
    if before == status and found.reason == reason:
        raise ValueError(f"{user.username} is {Status(status).label.lower()} already.")
    _change(found, before, status, reason, by)
    return found


def may_decide_about(role: str, by: str) -> bool:
    """Whether a lead of the role `by` may change where a member of this role stands: owners only by owners."""
    return role != Role.OWNER or by == Role.OWNER


@transaction.atomic
def worsen(project: Project, user: User, status: str, reason: str) -> bool:
    """What a threshold does: a person's standing goes from better to `status`, once; never back. False: no change."""
    found = _row(project, user)
    if WORSE.index(Status(found.status)) >= WORSE.index(Status(status)):
        return False
    try:
        _change(found, found.status, status, reason, None)
    except ValueError:
        return False
    return True


def _row(project: Project, user: User) -> Standing:
    try:
        with transaction.atomic():
            return Standing.objects.get_or_create(project=project, user=user)[0]
    except IntegrityError:
        return Standing.objects.get(project=project, user=user)


def _change(found: Standing, before: str, status: str, reason: str, by: User | None) -> None:
    now = timezone.now()
    changed = Standing.objects.filter(pk=found.pk, status=before).update(
        status=status, reason=reason[:300], changed_by=by, changed_at=now
    )
    if changed != 1:
        raise ValueError("Somebody changed this person's standing meanwhile: look again.")
    found.status, found.reason, found.changed_by, found.changed_at = status, reason, by, now
    record(found.project_id, by, ACTS[Status(status)], person=found.user, reason=reason, before=before)


def is_shut_out(project: Project | OuterRef) -> Exists:
    """A condition on labels by their `annotator`: those who are excluded or took their consent back."""
    rows = Standing.objects.filter(project=project, user=OuterRef("annotator"))
    return Exists(rows.filter(Q(status=Status.EXCLUDED) | Q(consent_withdrawn_at__isnull=False)))


@transaction.atomic
def let_repeat_trial(queue: Queue, user: User, by: User) -> None:
    """Begin the trial round of a queue anew, with items that the person has not met. ValueError when there was none.

    What was done of it stays on record, but counts neither for the new round nor against the thresholds.
    """
    done, mean = calibration_so_far(queue, user)
    if not done:
        raise ValueError(f"{user.username} has not begun the trial round of '{queue.name}'.")
    GoldResult.objects.filter(annotator=user, gold__task__queue=queue, is_calibration=True).update(is_calibration=False)
    row = _row(queue.project, user)
    Standing.objects.filter(pk=row.pk).update(changed_by=by, changed_at=timezone.now())
    record(queue.project_id, by, "let repeat a trial round", person=user, queue=queue.name, done=done, mean=mean)
