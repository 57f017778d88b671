"""Files in and datasets out, for engineers."""

from __future__ import annotations

from typing import Any, Literal

from django.conf import settings
from django.http import HttpRequest
from ninja import File, Form, Query, Router
from ninja.files import UploadedFile

from annotation import datasets
from annotation.api.auth import EXPORT, IMPORT, READ, find, member, scoped
from annotation.api.schemas.exchange import (
    DatasetOut,
    DatasetPage,
    FreezeIn,
    ImportOptions,
    ImportOut,
    ImportPage,
)
from annotation.api.schemas.shared import REFUSED, PageIn, Text
from annotation.exports.datasets import export_dataset
from annotation.exports.labels import export_labels
from annotation.imports import batches
from annotation.imports.undo import undo
from annotation.models import ImportBatch
from studio.access import ENGINEERS
from studio.models import Scope
from studio.runs.models import Artifact
from studio.web.downloads import download

router = Router(tags=["exchange"])
SEE_IMPORTS = scoped(Scope.READ, Scope.IMPORT)


@router.post("/projects/{slug}/imports", auth=IMPORT, response={202: ImportOut, **REFUSED})
def add_import(request: HttpRequest, slug: Text, file: File[UploadedFile], options: Form[ImportOptions]) -> Any:
    """Bring a file in: read row by row in the background, it shows as a whole or, with a bad row, not at all."""
    project = member(request, slug, ENGINEERS).project
    if file.size > settings.MAX_UPLOAD_BYTES:
        raise ValueError(f"The file has {file.size:,} bytes; at most {settings.MAX_UPLOAD_BYTES:,} are taken.")
    batch = batches.keep_upload(project, request.user, file.name or "upload", file.chunks())
    try:
        batches.choose(batch, options.format or batch.format, **options.dict(exclude={"format", "confirm"}))
    except ValueError:  # else the same file, sent again, would be one that waits for its confirmation
        batches.discard(batch)
        raise
    if options.confirm:
        batches.confirm(batch)
    return 202, batch


@router.get("/projects/{slug}/imports", auth=SEE_IMPORTS, response={200: ImportPage, **REFUSED})
def list_imports(request: HttpRequest, slug: Text, page: Query[PageIn]) -> Any:
    """The imports with how far they are, oldest first."""
    found, after = page.cut(ImportBatch.objects.filter(project=member(request, slug, ENGINEERS).project))
    return {"items": found, "next": after}


@router.get("/imports/{batch_id}", auth=SEE_IMPORTS, response={200: ImportOut, **REFUSED})
def show_import(request: HttpRequest, batch_id: int) -> Any:
    """One import: its status, how many rows are read, what it added, and why it failed."""
    return find_batch(request, batch_id)


@router.post("/imports/{batch_id}/undo", auth=IMPORT, response={202: ImportOut, **REFUSED})
def undo_import(request: HttpRequest, batch_id: int) -> Any:
    """Take a whole import back; refused when other work was built on it."""
    batch = find_batch(request, batch_id)
    undo(batch, request.user)
    batch.refresh_from_db()
    return 202, batch


def find_batch(request: HttpRequest, batch_id: int) -> ImportBatch:
    return find(request, ImportBatch.objects.all(), batch_id, roles=ENGINEERS)[0]


@router.get("/projects/{slug}/datasets", auth=READ, response={200: DatasetPage, **REFUSED})
def list_datasets(request: HttpRequest, slug: Text, page: Query[PageIn]) -> Any:
    """The frozen datasets, oldest first."""
    project = member(request, slug, ENGINEERS).project
    found, after = page.cut(Artifact.objects.filter(project=project, kind=Artifact.Kind.DATASET))
    return {"items": found, "next": after}


@router.get("/datasets/{dataset_id}/export", auth=EXPORT, response={200: None, **REFUSED})
def export(
    request: HttpRequest,
    dataset_id: int,
    format: Text = "trl",
    split: Literal["", "train", "test"] = Query("", description="One split as a single file; left empty, an archive."),
) -> Any:
    """A frozen dataset in another tool's format, streamed; bytes with a file name, not JSON."""
    found, _ = find(request, Artifact.objects.all(), dataset_id, roles=ENGINEERS)
    made = export_dataset(found, format, request.user, split)
    return download(made.chunks, made.filename, made.content_type)


@router.get("/projects/{slug}/labels", auth=EXPORT, response={200: None, **REFUSED})
def export_everything(request: HttpRequest, slug: Text, pseudonyms: bool = False, withdrawn: bool = False) -> Any:
    """Every label as it was given, with its history, streamed as an archive of JSONL."""
    project = member(request, slug, ENGINEERS).project
    made = export_labels(project, request.user, pseudonyms=pseudonyms, withdrawn=withdrawn)
    return download(made.chunks, made.filename, made.content_type)


@router.post("/projects/{slug}/datasets", auth=EXPORT, response={201: DatasetOut, **REFUSED})
def freeze_dataset(request: HttpRequest, slug: Text, body: FreezeIn) -> Any:
    """Freeze the labels of now into an immutable dataset, each row tied to its label."""
    project = member(request, slug, ENGINEERS).project
    if body.kind == "prompts":
        return 201, datasets.freeze_prompts(project, request.user, name=body.name)
    shared = {"name": body.name, "test_fraction": body.test_fraction}
    if body.kind == "demonstrations":
        return 201, datasets.freeze_demonstrations(project, request.user, **shared)
    how = {"aggregation": body.aggregation, "prior": body.prior, "margin": body.margin}
    return 201, datasets.freeze_comparisons(project, request.user, **shared, **how)
