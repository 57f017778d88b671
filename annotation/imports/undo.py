"""Take an import out again: its rows vanish at once by the flip of its status and are deleted in batches after it."""

from __future__ import annotations

from typing import Any

from django.db import IntegrityError, connection, models, transaction
from django.utils import timezone

from annotation import journal
from annotation.imports import batches
from annotation.imports.stage import BATCH, Lost, Status, hold, next_of, stale_before
from annotation.models import Comparison, Completion, Demonstration, ImportBatch, Prompt, TaskCompletion
from studio.models import User

MODELS = (Comparison, Demonstration, Completion, Prompt)  # labels first: they refer to the others
THROUGH = (Comparison.completions.through, TaskCompletion)  # counted by the comparison or task they belong to


class BuiltOn(ValueError):
    """Something refers to the batch's rows; `reasons` lists what."""

    def __init__(self, reasons: list[str]):
        super().__init__("Other work was built on what this import brought: " + "; ".join(reasons) + ".")
        self.reasons = reasons


def built_on(batch: ImportBatch) -> list[str]:
    """What refers to rows of this batch and is not of it: tasks, frozen rows, journal entries, other labels …"""
    found: dict[Any, int] = {}
    for model in MODELS:
        rows = model.everything.filter(batch=batch).order_by().values("pk")
        for relation in model._meta.get_fields(include_hidden=True):
            other = relation.related_model
            if not relation.auto_created or relation.concrete or other in THROUGH:
                continue
            referring = other._base_manager.filter(**{f"{relation.field.name}__in": rows}).order_by()
            if any(field.name == "batch" for field in other._meta.fields):
                referring = referring.exclude(batch=batch)
            if number := referring.values("pk").distinct().count():
                found[other] = max(found.get(other, 0), number)
    return [f"{n:,} {o._meta.verbose_name if n == 1 else o._meta.verbose_name_plural}" for o, n in found.items()]


def undo(batch: ImportBatch, user: User) -> None:
    """Hide everything the batch brought, and delete it. Raises BuiltOn, and ValueError when it is not imported."""
    from annotation.imports.tasks import clear_import

    if batch.format == batches.VENDOR:
        raise ValueError("A vendor's batch is not undone here: reject it, or withdraw its labels.")
    if reasons := built_on(batch):
        raise BuiltOn(reasons)
    try:
        with transaction.atomic():
            shown = ImportBatch.objects.filter(pk=batch.pk, status=Status.VISIBLE)
            if shown.update(status=Status.UNDOING, heartbeat_at=None, error="") != 1:
                raise ValueError("This import is not there to be undone any more: reload the page.")
            journal.record(batch.project, user, "import undone", batch=batch.pk, file=batch.name)
            transaction.on_commit(lambda: clear_import.delay(batch.pk), robust=True)
    except IntegrityError as error:
        raise ValueError("Another import of this project is being read: wait until it is done.") from error


def take_up(batch_id: int) -> None:
    """Delete the rows of a batch that is being undone, unless another worker does. Called again after a crash."""
    batch = ImportBatch.objects.select_related("project").filter(pk=batch_id, status=Status.UNDOING).first()
    if batch is None:
        return
    now = timezone.now()
    mine = ImportBatch.objects.filter(pk=batch.pk, status=Status.UNDOING, heartbeat_at=batch.heartbeat_at)
    if not mine.exclude(heartbeat_at__gte=stale_before()).update(heartbeat_at=now):
        return
    batch.heartbeat_at = now
    was_shown = batch.finished_at is not None
    try:
        if was_shown and not batch.counts.get("clearing") and (reasons := built_on(batch)):
            hold(batch, Status.UNDOING, status=Status.VISIBLE, error=str(BuiltOn(reasons)))  # since the undo was asked
            return
        clear(batch)
    except Lost:
        return


def clear(batch: ImportBatch) -> None:
    """Delete the batch's rows, a few thousand a transaction, and conclude it. The caller holds the batch.

    Raises Lost when somebody else took it up.
    """
    hold(batch, Status.UNDOING, counts=batch.counts | {"clearing": True})
    for model in MODELS:
        while ids := list(model.everything.filter(batch=batch).order_by("pk").values_list("pk", flat=True)[: _size()]):
            with transaction.atomic():
                hold(batch, Status.UNDOING)
                _delete(model, ids)
    if batch.error:
        end = Status.FAILED
    else:
        end = Status.UNDONE if batch.finished_at else Status.CANCELLED
    counts = {name: n for name, n in batch.counts.items() if name != "clearing"}
    hold(batch, Status.UNDOING, status=end, finished_at=timezone.now(), counts=counts)
    batches.forget_file(batch)
    next_of(batch.project_id)


def _size() -> int:
    return BATCH[connection.vendor]


def _delete(model: type[models.Model], ids: list[int]) -> None:
    """Straight from the table: what refers to these rows was looked for, and the database refuses what was missed."""
    if model is Comparison:
        through = Comparison.completions.through.objects.filter(comparison__in=ids)
        through._raw_delete(through.db)
    rows = model.everything.filter(pk__in=ids)  # type: ignore[attr-defined]
    rows._raw_delete(rows.db)
