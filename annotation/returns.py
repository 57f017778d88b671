"""What a vendor sends back: checked row by row, and staged unseen with its claims.

The labels belong to a batch that is not visible, their claims count for nothing and their places stay away, until
somebody has looked at the report and decides (`annotation.verdicts`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from annotation.comparisons import pairs
from annotation.gold import accuracy_of
from annotation.imports.batches import VENDOR
from annotation.imports.containers import read_lines
from annotation.imports.insert import add_rows, new_ids
from annotation.imports.items import check_characters, storable
from annotation.models import (
    Claim,
    Comparison,
    Completion,
    Demonstration,
    Gold,
    ImportBatch,
    Kind,
    Slot,
    Task,
    VendorBatch,
    VendorItem,
)
from annotation.pseudonyms import pseudonym
from annotation.return_report import Judged, report_on
from annotation.submit import demonstration_content, is_unchanged, ranking_content
from annotation.vendors import Status, guideline_of
from studio.models import User

LARGEST = 50_000_000  # bytes of a return; it is checked as one
ROWS = 500  # a transaction
LISTED = 100  # refused rows that the report keeps
UNDECIDED = "In a vendor's batch that is not decided yet"
TEXTS = ("worker", "answer", "reasoning", "rationale")
RANKING = ("tiers", "unrankable", "strength", "ratings", "flags", "rationale")


@dataclass
class Checked:
    """A row of the return that can be taken."""

    line: int
    item: VendorItem
    worker: str
    seconds: float | None
    content: dict[str, Any]
    user: User | None = None
    keep: bool = True  # False: it only counts for the report


@dataclass
class Reading:
    rows: list[Checked] = field(default_factory=list)
    refused: list[tuple[int, str]] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)  # key -> why the worker did not do it
    total: int = 0


def take_return(batch: VendorBatch, name: str, content: bytes, user: User) -> VendorBatch:
    """Check and stage what came back, and write the report. It may be sent again until the batch is decided.

    Raises ValueError when there is no row in it that can be taken, and when the batch is not waiting for one.
    """
    reading = _read(batch, content)
    if not reading.rows:
        first = f" The first: line {reading.refused[0][0]}: {reading.refused[0][1]}." if reading.refused else ""
        raise ValueError(f"{name}: none of its {reading.total:,} rows can be taken.{first}")
    staged = _open(batch, name, content, user)
    try:
        for start in range(0, len(reading.rows), ROWS):
            with transaction.atomic():
                _stage(batch, staged, reading.rows[start : start + ROWS])
        report = batch.report | {"arrival": _report(batch, reading, name)}
        mine = VendorBatch.objects.filter(pk=batch.pk, status=Status.OUT, returned=staged)
        if mine.update(status=Status.RETURNED, report=report) != 1:
            raise ValueError("Somebody else sent a return for this batch at the same moment: reload the page.")
    except BaseException:
        _forget(batch, staged)
        raise
    batch.refresh_from_db()
    return batch


# Checking


def _read(batch: VendorBatch, content: bytes) -> Reading:
    reading = Reading()
    items = {item.key: item for item in batch.items.select_related("slot")}
    tasks = Task.objects.in_bulk({item.task_id for item in items.values()})
    for item in items.values():
        item.task = tasks[item.task_id]
        item.task.queue = batch.queue  # read once: the checks ask it for the project and what that asks
    seen: dict[str, int] = {}
    judged: dict[tuple[str, int], int] = {}
    for record in read_lines(content):
        reading.total += 1
        try:
            if record.problem:
                raise ValueError(record.problem)
            row = _check(record.number, record.value, items, seen, judged)
        except ValueError as error:
            reading.refused.append((record.number, storable(str(error).rstrip("."))))
            continue
        seen[record.value["key"]] = record.number
        if isinstance(row, str):
            reading.skipped[record.value["key"]] = row
        else:
            reading.rows.append(row)
    _know_workers(batch, reading)
    return reading


def _check(
    line: int, row: Any, items: dict[str, VendorItem], seen: dict[str, int], judged: dict[tuple[str, int], int]
) -> Checked | str:
    """The checked row, or the reason why the worker did not do the task. Raises ValueError."""
    if not isinstance(row, dict):
        raise ValueError("it is no object ({…})")
    key, worker = row.get("key"), row.get("worker")
    if not isinstance(key, str) or key not in items:
        raise ValueError("its 'key' is none of this batch")
    if key in seen:
        raise ValueError(f"its task was answered in line {seen[key]} already")
    if not isinstance(worker, str) or not 1 <= len(worker.strip()) <= 80:
        raise ValueError("'worker' must say who did it, in 1 to 80 characters")
    for name in TEXTS:
        if isinstance(row.get(name), str):
            check_characters(f"'{name}'", row[name])
    if row.get("skip"):
        return storable(str(row["skip"]))[:200]
    item, worker = items[key], worker.strip()
    if before := judged.get((worker, item.task_id)):
        raise ValueError(f"{worker} did the same task in line {before} already: each place wants another person")
    content = _content(item, row)
    judged[worker, item.task_id] = line
    return Checked(line, item, worker, _seconds(row.get("seconds")), content)


def _content(item: VendorItem, row: dict[str, Any]) -> dict[str, Any]:
    try:
        if item.task.queue.kind == Kind.DEMONSTRATE:
            return demonstration_content(
                item.task.queue.project_id, row.get("answer") or "", row.get("reasoning") or ""
            )
        claim = Claim(task=item.task, shown_order=item.shown_order)
        return ranking_content(claim, **_letters(row))
    except (TypeError, AttributeError, KeyError) as error:
        raise ValueError("its answer does not have the form that is asked for") from error


def _letters(row: dict[str, Any]) -> dict[str, Any]:
    tiers = row.get("tiers")
    if not isinstance(tiers, list) or not all(isinstance(tier, list) for tier in tiers):
        raise ValueError('\'tiers\' must be a list of lists of letters, best first, for instance [["b"], ["a"]]')
    said = {name: row[name] for name in RANKING if row.get(name) is not None}
    return said | {"tiers": tiers, "rationale": row.get("rationale") or ""}


def _seconds(value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1e7:
        raise ValueError("'seconds' must be a number of seconds")
    return float(value)


def _know_workers(batch: VendorBatch, reading: Reading) -> None:
    """The account of each worker. Whoever did a task in an earlier batch cannot do it again; with gold it only counts
    for the report."""
    users = {worker: pseudonym(batch.project, batch.vendor, worker) for worker in {r.worker for r in reading.rows}}
    earlier = set(
        Claim.objects.filter(
            annotator__in=users.values(), task__in=batch.items.values("task"),
            status__in=[Claim.Status.LIVE, Claim.Status.SUBMITTED],
        ).values_list("task", "annotator")
    )  # fmt: skip
    kept = []
    for row in reading.rows:
        row.user = users[row.worker]
        if (row.item.task_id, row.user.pk) in earlier:
            if row.item.slot_id is not None:
                reading.refused.append((row.line, f"{row.worker} did this task in an earlier batch"))
                continue
            row.keep = False
        kept.append(row)
    reading.rows = kept
    reading.refused.sort()


# Staging


def _open(batch: VendorBatch, name: str, content: bytes, user: User) -> ImportBatch:
    """A batch for the labels, in place of one that came before and was not decided."""
    before = batch.returned
    with transaction.atomic():
        staged = ImportBatch.objects.create(
            project=batch.project, format=VENDOR, name=name[:200], sha256=hashlib.sha256(content).hexdigest(),
            options={"source": batch.vendor}, status=ImportBatch.Status.PREVIEW, created_by=user,
        )  # fmt: skip
        waiting = VendorBatch.objects.filter(
            pk=batch.pk, status__in=[Status.OUT, Status.RETURNED], returned=before and before.pk
        )
        if waiting.update(returned=staged, status=Status.OUT) != 1:
            raise ValueError("This batch is not waiting for a return any more: reload the page.")
    if before is not None:
        _forget(batch, before)
    return staged


def _stage(batch: VendorBatch, staged: ImportBatch, rows: list[Checked]) -> None:
    rows = [row for row in rows if row.keep]
    claims = new_ids(Claim, len(rows))
    _add_claims(batch, rows, claims)
    labels = {"guideline_id": _guideline_id(batch), "batch_id": staged.pk, "source": batch.vendor}
    if batch.queue.kind == Kind.DEMONSTRATE:
        _add_demonstrations(rows, claims, labels)
    else:
        _add_comparisons(rows, claims, labels)
    places = [Slot(pk=row.item.slot_id, claim_id=claim) for row, claim in zip(rows, claims) if row.item.slot_id]
    Slot.objects.bulk_update(places, ["claim"], batch_size=200)


def _guideline_id(batch: VendorBatch) -> int | None:
    guideline = guideline_of(batch)
    return guideline.pk if guideline else None


def _add_claims(batch: VendorBatch, rows: list[Checked], claims: Iterable[int]) -> None:
    now = timezone.now()
    add_rows(
        Claim, ("id", "task_id", "annotator_id", "shown_order", "created_at"),
        [
            (pk, row.item.task_id, row.user.pk, row.item.shown_order, now - timedelta(seconds=row.seconds or 0))
            for pk, row in zip(claims, rows)
        ],
        status=Claim.Status.RELEASED, reason=UNDECIDED, expires_at=now, finished_at=now,
        project_id=batch.project_id, guideline_id=_guideline_id(batch),
    )  # fmt: skip


def _add_demonstrations(rows: list[Checked], claims: Iterable[int], labels: dict[str, Any]) -> None:
    answers = new_ids(Completion, len(rows))
    add_rows(
        Completion, ("id", "prompt_id", "text", "author_id"),
        [(pk, row.item.task.prompt_id, row.content["text"], row.user.pk) for pk, row in zip(answers, rows)],
        batch_id=labels["batch_id"],
    )  # fmt: skip
    names = ("id", "prompt_id", "claim_id", "annotator_id", "seconds", "row_key", "completion_id", "reasoning")
    made = [
        (
            pk, row.item.task.prompt_id, claim, row.user.pk, row.seconds, row.item.key, answer,
            row.content["reasoning"],
        )
        for pk, row, claim, answer in zip(new_ids(Demonstration, len(rows)), rows, claims, answers)
    ]  # fmt: skip
    add_rows(Demonstration, names, made, **labels)


def _add_comparisons(rows: list[Checked], claims: Iterable[int], labels: dict[str, Any]) -> None:
    names = (
        "id", "prompt_id", "claim_id", "annotator_id", "seconds", "row_key", "task_id", "review_id", "shown_order",
        "unchanged", "round_id", *RANKING,
    )  # fmt: skip
    ids = new_ids(Comparison, len(rows))
    made = [
        (
            pk, row.item.task.prompt_id, claim, row.user.pk, row.seconds, row.item.key, row.item.task_id,
            row.item.task.review_id, row.item.shown_order, is_unchanged(row.content["tiers"], row.item.shown_order),
            row.item.task.round_id, *(row.content[name] for name in RANKING),
        )
        for pk, row, claim in zip(ids, rows, claims)
    ]  # fmt: skip
    add_rows(Comparison, names, made, **labels)
    shown = [(pk, answer) for pk, row in zip(ids, rows) for answer in row.item.shown_order]
    through = Comparison.completions.through
    pks = new_ids(through, len(shown))
    add_rows(through, ("id", "comparison_id", "completion_id"), [(pk, *pair) for pk, pair in zip(pks, shown)])


def _forget(batch: VendorBatch, staged: ImportBatch) -> None:
    """Delete what was staged, and conclude its batch."""
    with transaction.atomic():
        claims = []
        for model in (Comparison, Demonstration):
            mine = model.everything.filter(batch=staged)
            claims += mine.values_list("claim", flat=True)
            if model is Comparison:
                through = Comparison.completions.through.objects.filter(comparison__in=mine)
                through._raw_delete(through.db)
            mine._raw_delete(mine.db)
        answers = Completion.everything.filter(batch=staged)
        answers._raw_delete(answers.db)
        Slot.objects.filter(claim__in=claims, status=Slot.Status.AWAY).update(claim=None)
        Claim.objects.filter(pk__in=claims, status=Claim.Status.RELEASED, reason=UNDECIDED).delete()
        ImportBatch.objects.filter(pk=staged.pk).update(status=ImportBatch.Status.CANCELLED, finished_at=timezone.now())


# The report


def _report(batch: VendorBatch, reading: Reading, name: str) -> dict[str, Any]:
    gold = {g.task_id: g.tiers for g in Gold.objects.filter(task__in=batch.items.values("task"))}
    ours = _our_rankings(batch, reading.rows)
    judged = []
    for row in reading.rows:
        tiers = row.content.get("tiers")
        right = gold.get(row.item.task_id) if row.item.slot_id is None else None
        agreed = [accuracy_of(our, tiers) for our in ours.get(row.item.task_id, ()) if pairs(our)] if tiers else []
        judged.append(
            Judged(
                worker=row.worker,
                task=row.item.task_id,
                gold=accuracy_of(right, tiers) if right and tiers else None,
                agreement=sum(agreed) / len(agreed) if agreed and right is None else None,
                seconds=row.seconds,
                unchanged=bool(tiers) and is_unchanged(tiers, row.item.shown_order),
                tied=bool(tiers) and len(tiers) == 1,
            )
        )
    answered = {row.item.key for row in reading.rows} | set(reading.skipped)
    missing = set(batch.items.values_list("key", flat=True)) - answered
    return report_on(judged) | {
        "file": name, "rows": reading.total, "taken": len(reading.rows), "skipped": len(reading.skipped),
        "refused": len(reading.refused), "refused_rows": reading.refused[:LISTED], "missing": len(missing),
    }  # fmt: skip


def _our_rankings(batch: VendorBatch, rows: list[Checked]) -> dict[int, list[Any]]:
    """What people here, or an accepted batch, said about the same tasks."""
    found: dict[int, list[Any]] = {}
    tasks = sorted({row.item.task_id for row in rows})
    for start in range(0, len(tasks), ROWS):
        made = Comparison.objects.filter(task__in=tasks[start : start + ROWS], withdrawn_at=None)
        for task, tiers in made.values_list("task", "tiers"):
            found.setdefault(task, []).append(tiers)
    return found
