"""Accept or reject what a vendor sent back, as a whole: one transaction of a few UPDATEs decides about all of it."""

from __future__ import annotations

from django.db import IntegrityError, transaction
from django.db.models import Exists, F, OuterRef
from django.utils import timezone

from annotation import journal
from annotation.gold import accuracy_of
from annotation.models import (
    Claim,
    Comparison,
    Demonstration,
    GoldResult,
    ImportBatch,
    Slot,
    Task,
    VendorBatch,
)
from annotation.vendors import Status, free_places, held_rows
from studio.models import User


def accept(batch: VendorBatch, user: User, note: str = "") -> None:
    """All labels of the return count from here on, their places are done, and unfilled places are free again."""
    staged = _staged(batch, note)
    now = timezone.now()
    try:
        with transaction.atomic():
            _conclude(batch, Status.ACCEPTED, user, note)
            claims = Claim.objects.filter(pk__in=_claims_of(staged))
            claims.update(status=Claim.Status.SUBMITTED, reason="", finished_at=now)
            held_rows(batch)
            filled = Slot.objects.filter(pk__in=batch.items.values("slot"), status=Slot.Status.AWAY)
            filled.filter(claim__isnull=False).update(status=Slot.Status.DONE)
            free_places(batch)
            ImportBatch.objects.filter(pk=staged.pk).update(status=ImportBatch.Status.VISIBLE, finished_at=now)
            _score_gold(staged)
            waiting = Slot.objects.filter(
                task=OuterRef("pk"), status__in=[Slot.Status.FREE, Slot.Status.CLAIMED, Slot.Status.AWAY]
            )
            done = Task.objects.filter(~Exists(waiting), pk__in=batch.items.values("task"), status=Task.Status.OPEN)
            done.update(status=Task.Status.CLOSED)
    except IntegrityError as error:
        raise ValueError(
            "A worker of this vendor judged one of these tasks in another batch that was accepted meanwhile: send the "
            "return again, and that row will be refused."
        ) from error


def reject(batch: VendorBatch, user: User, note: str) -> None:
    """None of the labels ever counts; they stay on record, and their places are free again. Raises ValueError."""
    if not note.strip():
        raise ValueError("Say why the batch is rejected: the vendor will ask.")
    staged = _staged(batch, note)
    with transaction.atomic():
        _conclude(batch, Status.REJECTED, user, note)
        Claim.objects.filter(pk__in=_claims_of(staged)).update(reason="In a vendor's batch that was rejected")
        held_rows(batch)
        Slot.objects.filter(pk__in=batch.items.values("slot"), status=Slot.Status.AWAY).update(claim=None)
        free_places(batch)
        ImportBatch.objects.filter(pk=staged.pk).update(
            status=ImportBatch.Status.CANCELLED, error=note.strip()[:300], finished_at=timezone.now()
        )


def _staged(batch: VendorBatch, note: str) -> ImportBatch:
    if len(note.strip()) > 300:
        raise ValueError("A note has at most 300 characters.")
    if batch.status != Status.RETURNED or batch.returned is None:
        raise ValueError("Only a batch that has come back and is not decided yet can be accepted or rejected.")
    return batch.returned


def _conclude(batch: VendorBatch, status: str, user: User, note: str) -> None:
    returned = VendorBatch.objects.filter(pk=batch.pk, status=Status.RETURNED, returned=batch.returned)
    changes = {"status": status, "decided_by": user, "decided_at": timezone.now(), "decision_note": note.strip()}
    if returned.update(**changes) != 1:
        raise ValueError("This batch was decided, or sent again, meanwhile: reload the page.")
    act = "accepted from a vendor" if status == Status.ACCEPTED else "rejected from a vendor"
    taken = batch.report.get("arrival", {}).get("taken")
    journal.record(batch.project, user, act, vendor=batch.vendor, batch=batch.pk, labels=taken, reason=note.strip())
    batch.status = status


def _claims_of(staged: ImportBatch) -> list[int]:
    return [
        pk
        for model in (Comparison, Demonstration)
        for pk in model.everything.filter(batch=staged).values_list("claim", flat=True)
    ]


def _score_gold(staged: ImportBatch) -> None:
    """A place and a result for each judgement of a gold item, as for people here (see `gold`)."""
    met = Comparison.everything.filter(batch=staged, task__gold__isnull=False).select_related("task__gold", "claim")
    for label in met:
        task = label.task
        Task.objects.filter(pk=task.pk).update(overlap=F("overlap") + 1)
        number = Task.objects.values_list("overlap", flat=True).get(pk=task.pk) - 1
        Slot.objects.create(
            task=task, number=number, queue_id=task.queue_id, priority=task.priority, status=Slot.Status.DONE,
            claim=label.claim,
        )  # fmt: skip
        GoldResult.objects.create(
            gold=task.gold, claim=label.claim, annotator=label.annotator,
            accuracy=accuracy_of(task.gold.tiers, label.tiers),
        )  # fmt: skip
