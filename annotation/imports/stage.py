"""Bring a confirmed file in: its rows are staged unseen, in batches, and one UPDATE of the ImportBatch shows them all.

Whoever stages holds the batch by its heartbeat: each transaction begins with an UPDATE that names the status and the
heartbeat it last wrote. So a second worker, a cancel or an undo is noticed before the next rows are written; and since
the number of records done is kept in the same transaction as their rows, the next worker goes on exactly there.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path

from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.db.utils import InterfaceError, OperationalError
from django.utils import timezone

from annotation import journal
from annotation.imports import batches
from annotation.imports.containers import read_records, unit_of
from annotation.imports.formats import Parsed, parse_records
from annotation.imports.read_ahead import read_ahead
from annotation.imports.rows import BadRow, RowWriter
from annotation.models import ImportBatch
from studio.models import User

log = logging.getLogger(__name__)
Status = ImportBatch.Status
BATCH = {"postgresql": 2000, "sqlite": 400}  # records a transaction: SQLite lets nobody else write meanwhile
ATTEMPTS = 5  # of one batch of rows, when somebody adds the same prompt by hand at the same moment
LISTED = 200  # skipped rows that are kept with their reasons


class Lost(Exception):
    """Somebody else holds the batch now: another worker, a cancel."""


def stale_before() -> datetime:
    return timezone.now() - timedelta(seconds=settings.RUN_HEARTBEAT_TIMEOUT_SECONDS)


def stage(batch_id: int) -> None:
    """Bring the batch in, from where an earlier attempt stopped. Does nothing when it is not ours to take up."""
    batch = ImportBatch.objects.select_related("project", "created_by").filter(pk=batch_id).first()
    if batch is None or not _claim(batch):
        return
    try:
        _bring_in(batch)
    except Lost:
        return
    except (OperationalError, InterfaceError):
        raise  # the database is away or busy: the heartbeat goes stale and another attempt goes on from here
    except BadRow as error:
        fail(batch, f"{batch.name}, {unit_of(Path(batch.path))} {error.number}: {error.reason}.")
    except (ValueError, OSError, EOFError) as error:
        fail(batch, str(error))
    except Exception as error:
        log.exception("import %s", batch.pk)
        fail(batch, f"Something unexpected went wrong while reading the file ({type(error).__name__}: {error}).")


def _claim(batch: ImportBatch) -> bool:
    now = timezone.now()
    mine = ImportBatch.objects.filter(pk=batch.pk)
    try:
        with transaction.atomic():  # one import of a project at a time: the constraint refuses the second
            taken = mine.filter(status=Status.WAITING).update(status=Status.STAGING, heartbeat_at=now)
    except IntegrityError:
        return False
    if not taken:
        stale = mine.filter(status=Status.STAGING, heartbeat_at=batch.heartbeat_at, heartbeat_at__lt=stale_before())
        taken = stale.update(heartbeat_at=now)
    batch.status, batch.heartbeat_at = Status.STAGING, now
    return bool(taken)


def hold(batch: ImportBatch, expected: str, **changes: object) -> None:
    """Write the heartbeat and `changes` if the batch is still ours and in that status; raises Lost otherwise."""
    now = timezone.now()
    mine = ImportBatch.objects.filter(pk=batch.pk, status=expected, heartbeat_at=batch.heartbeat_at)
    if mine.update(heartbeat_at=now, **changes) != 1:
        raise Lost
    batch.heartbeat_at = now
    for name, value in changes.items():
        setattr(batch, name, value)


def _bring_in(batch: ImportBatch) -> None:
    path = Path(batch.path)
    if batches.digest_of(path) != batch.sha256:  # looked at by each attempt: half of one file and half of another
        raise ValueError(f"{batch.name} has changed since its preview: import it again.")
    hold(batch, Status.STAGING)
    records = islice(read_records(path), batch.rows_done, None)
    parsed = parse_records(records, batch.format, batch.options["columns"])
    writer = RowWriter(batch)
    gc.freeze()  # a fifth of the time would go into looking again and again at what the process held before
    try:
        with read_ahead(parsed, BATCH[connection.vendor]) as groups:
            for rows in groups:
                _write(batch, writer, rows)
    finally:
        gc.unfreeze()
    if not batch.rows_done:
        raise ValueError(f"{batch.name} is empty: there are no rows in it.")
    show(batch, batch.created_by)


def _write(batch: ImportBatch, writer: RowWriter, rows: list[Parsed]) -> None:
    bad = [row for row in rows if row.problem]
    if bad and not batch.options["skip_bad"]:
        raise BadRow(bad[0].number, bad[0].problem)
    if end := next((row for row in bad if row.ends), None):
        raise BadRow(end.number, f"{end.problem}. It cannot be passed over: what stands behind it would be lost")
    for attempt in range(ATTEMPTS):
        held = batch.heartbeat_at, batch.rows_done, batch.counts
        try:
            with transaction.atomic():
                hold(batch, Status.STAGING)
                if connection.vendor == "postgresql":  # what is lost in a power cut is staged again; the flip waits
                    connection.cursor().execute("SET LOCAL synchronous_commit = off")
                added, refused = writer.write(rows)
                hold(batch, Status.STAGING, rows_done=batch.rows_done + len(rows), counts=_sum(batch, added, refused))
            return
        except Exception as error:
            # What this attempt wrote is gone, its heartbeat and the accounts it made too.
            batch.heartbeat_at, batch.rows_done, batch.counts = held
            writer.annotators.clear()
            if not isinstance(error, IntegrityError) or attempt == ATTEMPTS - 1:
                raise


def _sum(batch: ImportBatch, added: dict[str, int], refused: list[Parsed]) -> dict[str, object]:
    counts = dict(batch.counts)
    for name, number in added.items():
        counts[name] = counts.get(name, 0) + number
    if refused:
        counts["skipped"] = counts.get("skipped", 0) + len(refused)
        listed = [[row.number, row.problem] for row in refused]
        counts["skipped_rows"] = (counts.get("skipped_rows", []) + listed)[:LISTED]
    return counts


def show(batch: ImportBatch, user: User) -> None:
    """The flip: everything the batch brought is visible from here on."""
    with transaction.atomic():
        hold(batch, Status.STAGING, status=Status.VISIBLE, finished_at=timezone.now(), rows_total=batch.rows_done)
        numbers = {name: n for name, n in batch.counts.items() if isinstance(n, int)}
        journal.record(batch.project, user, "imported", batch=batch.pk, file=batch.name, **numbers)
    next_of(batch.project_id)


def fail(batch: ImportBatch, reason: str) -> None:
    """Say why, and take out again what was staged."""
    from annotation.imports.undo import clear

    try:
        hold(batch, Status.STAGING, status=Status.UNDOING, error=reason)
        clear(batch)
    except Lost:
        return


def cancel(batch: ImportBatch) -> None:
    """Stop the import and take out what it staged. Raises ValueError when it is not being read."""
    from annotation.imports.tasks import clear_import

    with transaction.atomic():
        reading = ImportBatch.objects.filter(pk=batch.pk, status=Status.STAGING)
        if reading.update(status=Status.UNDOING, heartbeat_at=None) != 1:
            raise ValueError("This import is not being read any more: reload the page.")
        transaction.on_commit(lambda: clear_import.delay(batch.pk), robust=True)


def next_of(project_id: int) -> None:
    """Send the project's next waiting import to a worker."""
    from annotation.imports.tasks import stage_import

    waiting = ImportBatch.objects.filter(project=project_id, status=Status.WAITING).exclude(format=batches.VENDOR)
    if batch := waiting.order_by("pk").first():
        transaction.on_commit(lambda: stage_import.delay(batch.pk), robust=True)


def unattended() -> Iterator[tuple[str, int]]:
    """(what to do, batch id) of imports that wait or were left behind by a worker that died."""
    busy = ImportBatch.objects.filter(status__in=[Status.STAGING, Status.UNDOING])
    for batch in busy.exclude(heartbeat_at__gte=stale_before()):
        yield ("stage" if batch.status == Status.STAGING else "clear"), batch.pk
    waiting = ImportBatch.objects.filter(status=Status.WAITING).exclude(format=batches.VENDOR).order_by("pk")
    projects = set(busy.values_list("project", flat=True))
    for batch in waiting:
        if batch.project_id not in projects:
            projects.add(batch.project_id)
            yield "stage", batch.pk
