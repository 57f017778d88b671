"""Files to be imported: kept, known by their content, looked at before they count."""

from __future__ import annotations

import hashlib
import shutil
import uuid
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from annotation.imports.columns import guess_columns
from annotation.imports.containers import CHUNK, count_records, unit_of
from annotation.imports.formats import FORMATS, Sample, parse_records, sample
from annotation.imports.items import KINDS
from annotation.models import ImportBatch
from annotation.prompts import TEST_FRACTION
from studio.models import Project, User

Status = ImportBatch.Status
VENDOR = "vendor"  # the format of a vendor's returned batch, which `annotation.vendors` looks after
SHOWN_ITEMS = 6
SHOWN_PROBLEMS = 20
DEFAULTS: dict[str, Any] = {
    "columns": {}, "split": "hash", "test_fraction": TEST_FRACTION, "cluster": "", "tags": [], "licence": "",
    "source": "", "skip_bad": False,
}  # fmt: skip


class AlreadyImported(ValueError):
    """The project has this very content; `batch` is the import that brought it."""

    def __init__(self, batch: ImportBatch):
        word = {Status.PREVIEW: "is waiting for its confirmation", Status.VISIBLE: "was imported"}
        super().__init__(
            f"The same content {word.get(batch.status, 'is being imported')} already: {batch.name}, import {batch.pk}, "
            f"{batch.created_at:%d %B %Y}. Nothing was added twice."
        )
        self.batch = batch


# Keeping


def keep_upload(project: Project, user: User, name: str, chunks: Iterable[bytes]) -> ImportBatch:
    """Keep an uploaded file and make its batch, to be confirmed. Raises ValueError and AlreadyImported."""
    name = Path(name.replace("\\", "/")).name.replace("\0", "")[-150:] or "upload.jsonl"
    directory = settings.VAR / "uploads" / "imports" / uuid.uuid4().hex  # no root below which people may name files
    directory.mkdir(parents=True)
    try:
        with open(directory / name, "wb") as file:
            for chunk in chunks:
                file.write(chunk)
        return _make_batch(project, user, directory / name)
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise


def take_path(project: Project, user: User, path: str) -> ImportBatch:
    """A batch of a file or saved dataset on the server, below IMPORT_ROOTS. Raises ValueError and AlreadyImported."""
    found = Path(path.strip())
    if not found.is_absolute():
        raise ValueError("Give the whole path of the file on the server, from the root on.")
    found = found.resolve()
    if not any(found.is_relative_to(root) for root in settings.IMPORT_ROOTS):
        raise ValueError(f"Files are read below these directories only: {', '.join(map(str, settings.IMPORT_ROOTS))}.")
    if not found.exists():
        raise ValueError(f"{found}: there is no such file or directory on the server.")
    return _make_batch(project, user, found)


def digest_of(path: Path) -> str:
    """sha256 of a file's content, or of a directory's file names and contents."""
    digest = hashlib.sha256()
    for file in sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]:
        if path.is_dir():
            digest.update(f"\0{file.relative_to(path)}\0".encode())
        with open(file, "rb") as stream:
            while chunk := stream.read(CHUNK):
                digest.update(chunk)
    return digest.hexdigest()


def _make_batch(project: Project, user: User, path: Path) -> ImportBatch:
    begin = _sample(path)
    digest = digest_of(path)
    known = ImportBatch.objects.filter(project=project, sha256=digest).exclude(format=VENDOR)
    gone = [Status.FAILED, Status.CANCELLED, Status.UNDONE]
    if earlier := known.exclude(status__in=gone).first():
        raise AlreadyImported(earlier)
    options = DEFAULTS | {"columns": guess_columns(begin.columns), "unit": unit_of(path)}
    return ImportBatch.objects.create(
        project=project, format=begin.format, name=path.name[:200], path=str(path), sha256=digest, options=options,
        status=Status.PREVIEW, rows_total=_count(path), created_by=user,
    )  # fmt: skip


def _sample(path: Path) -> Sample:
    try:
        return sample(path)
    except (OSError, EOFError) as error:  # a broken gzip stream
        raise ValueError(f"{path.name} cannot be read: {error}.") from error


def _count(path: Path) -> int | None:
    try:
        return count_records(path)
    except (OSError, EOFError):  # damaged further on: reading will say where
        return None


def is_kept(batch: ImportBatch) -> bool:
    """Whether the file is a copy of ours, rather than one on the server that belongs to somebody."""
    return Path(batch.path).is_relative_to(settings.VAR / "uploads" / "imports")


def forget_file(batch: ImportBatch) -> None:
    if batch.path and is_kept(batch):
        shutil.rmtree(Path(batch.path).parent, ignore_errors=True)


# Looking


@dataclass
class Preview:
    columns: list[str]
    unused: list[str]
    items: list[tuple[int, Any]]  # (line or row, item): the first of them
    counts: dict[str, int]  # of the records looked at, by kind
    looked_at: int
    whole: bool
    problems: list[tuple[str, list[int]]]  # each reason with the lines or rows that have it
    bad: int


def preview(batch: ImportBatch) -> Preview:
    """What the first records of the file would become with the batch's format and options. Raises ValueError."""
    begin = _sample(Path(batch.path))
    counts: Counter[str] = Counter()
    problems: dict[str, list[int]] = {}
    items: list[tuple[int, Any]] = []
    for parsed in parse_records(iter(begin.records), batch.format, batch.options["columns"]):
        if parsed.problem:
            problems.setdefault(parsed.problem, []).append(parsed.number)
        counts.update(item.kind for item in parsed.items)
        items += [(parsed.number, item) for item in parsed.items]
    used = set(batch.options["columns"].values()) if batch.format == "columns" else set(begin.columns)
    return Preview(
        columns=begin.columns,
        unused=[name for name in begin.columns if name not in used],
        items=_varied(items),
        counts={kind: counts[kind] for kind in KINDS if counts[kind]},
        looked_at=len(begin.records),
        whole=begin.whole,
        problems=list(problems.items())[:SHOWN_PROBLEMS],
        bad=sum(map(len, problems.values())),
    )


def _varied(items: list[tuple[int, Any]]) -> list[tuple[int, Any]]:
    """The first items, at least one of each kind among them."""
    first = {item.kind: (number, item) for number, item in reversed(items)}
    shown = items[:SHOWN_ITEMS]
    return shown + [entry for entry in first.values() if entry not in shown]


# Deciding


def choose(batch: ImportBatch, format: str, **options: Any) -> None:
    """Change how a batch that is to be confirmed will be read. Raises ValueError."""
    if format not in FORMATS:
        raise ValueError(f"There is no format '{format}'. Formats: {', '.join(FORMATS)}.")
    batch.format, batch.options = format, batch.options | options
    changed = ImportBatch.objects.filter(pk=batch.pk, status=Status.PREVIEW).update(
        format=format, options=batch.options
    )
    if changed != 1:
        raise ValueError("This import has been confirmed or discarded meanwhile: reload the page.")


def confirm(batch: ImportBatch) -> None:
    """Let the batch be brought in by a worker. Raises ValueError when it is not waiting for that."""
    from annotation.imports.tasks import stage_import

    with transaction.atomic():
        changed = ImportBatch.objects.filter(pk=batch.pk, status=Status.PREVIEW).update(status=Status.WAITING)
        if changed != 1:
            raise ValueError("This import has been confirmed or discarded meanwhile: reload the page.")
        transaction.on_commit(lambda: stage_import.delay(batch.pk), robust=True)
    batch.status = Status.WAITING


def discard(batch: ImportBatch) -> None:
    """Forget a batch that was never confirmed, or that waits for a worker. Raises ValueError when it is too late."""
    waiting = ImportBatch.objects.filter(pk=batch.pk, status__in=[Status.PREVIEW, Status.WAITING])
    if waiting.update(status=Status.CANCELLED, finished_at=timezone.now()) != 1:
        raise ValueError("This import has begun meanwhile: reload the page, and cancel it there.")
    forget_file(batch)
