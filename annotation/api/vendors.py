"""Vendor batches, for leads: hand work over, fetch its file, send back what came, and accept or reject it whole."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.utils.text import slugify
from ninja import File, Query, Router
from ninja.files import UploadedFile

from annotation import returns, vendors, verdicts
from annotation.api.auth import EXPORT, IMPORT, MANAGE, READ, find, member, named
from annotation.api.schemas.shared import REFUSED, PageIn, Text
from annotation.api.schemas.vendors import NoteIn, RecalledOut, VendorBatchIn, VendorBatchOut, VendorBatchPage
from annotation.models import VendorBatch
from studio.access import ENGINEERS
from studio.web.downloads import download

router = Router(tags=["vendors"])


@router.get("/projects/{slug}/vendor-batches", auth=READ, response={200: VendorBatchPage, **REFUSED})
def list_vendor_batches(request: HttpRequest, slug: Text, page: Query[PageIn]) -> Any:
    """Batches in the order in which they were handed over, with the report of each that came back."""
    batches = member(request, slug, ENGINEERS).project.vendor_batches.select_related("created_by", "decided_by")
    found, after = page.cut(batches)
    return {"items": [VendorBatchOut.of(batch) for batch in found], "next": after}


@router.post("/projects/{slug}/vendor-batches", auth=MANAGE, response={201: VendorBatchOut, **REFUSED})
def hand_over(request: HttpRequest, slug: Text, body: VendorBatchIn) -> Any:
    """Send free places of a queue away; nobody here is offered them until the batch is decided or recalled."""
    project = member(request, slug, ENGINEERS).project
    queue = named(project.queues.select_related("project"), body.queue, "queue")
    how = body.dict(exclude={"queue"})
    return 201, VendorBatchOut.of(vendors.hand_over(queue, user=request.user, **how))


@router.get("/vendor-batches/{vendor_batch_id}", auth=READ, response={200: VendorBatchOut, **REFUSED})
def show_vendor_batch(request: HttpRequest, vendor_batch_id: int) -> Any:
    """A batch: where it is, and what was found when it came back."""
    return VendorBatchOut.of(find_vendor_batch(request, vendor_batch_id))


@router.get("/vendor-batches/{vendor_batch_id}/hand-off", auth=EXPORT, response={200: None, **REFUSED})
def fetch_hand_off(request: HttpRequest, vendor_batch_id: int) -> Any:
    """The file for the vendor, JSONL, streamed: what is asked, then a task a line; no models, gold unmarked."""
    batch = find_vendor_batch(request, vendor_batch_id)
    name = slugify(f"{batch.vendor} {batch.name}") or f"batch-{batch.pk}"
    return download(vendors.hand_off(batch), f"{name}.jsonl", "application/jsonl; charset=utf-8")


@router.post("/vendor-batches/{vendor_batch_id}/return", auth=IMPORT, response={200: VendorBatchOut, **REFUSED})
def send_return(request: HttpRequest, vendor_batch_id: int, file: File[UploadedFile]) -> Any:
    """What came back, JSONL: checked row by row and kept unseen. It may be sent again until the batch is decided."""
    batch = find_vendor_batch(request, vendor_batch_id)
    if file.size > returns.LARGEST:
        raise ValueError(f"The file has {file.size:,} bytes; at most {returns.LARGEST:,} are taken.")
    return VendorBatchOut.of(returns.take_return(batch, file.name or "return.jsonl", file.read(), request.user))


@router.post("/vendor-batches/{vendor_batch_id}/accept", auth=MANAGE, response={200: VendorBatchOut, **REFUSED})
def accept_return(request: HttpRequest, vendor_batch_id: int, body: NoteIn) -> Any:
    """All labels of the return count from now on; places that were not filled are free again."""
    batch = find_vendor_batch(request, vendor_batch_id)
    verdicts.accept(batch, request.user, body.note)
    return VendorBatchOut.of(find_vendor_batch(request, vendor_batch_id))


@router.post("/vendor-batches/{vendor_batch_id}/reject", auth=MANAGE, response={200: VendorBatchOut, **REFUSED})
def reject_return(request: HttpRequest, vendor_batch_id: int, body: NoteIn) -> Any:
    """None of the labels ever counts; they stay on record, and all places are free again."""
    batch = find_vendor_batch(request, vendor_batch_id)
    verdicts.reject(batch, request.user, body.note)
    return VendorBatchOut.of(find_vendor_batch(request, vendor_batch_id))


@router.post("/vendor-batches/{vendor_batch_id}/recall", auth=MANAGE, response={200: RecalledOut, **REFUSED})
def recall_vendor_batch(request: HttpRequest, vendor_batch_id: int) -> Any:
    """Take the places of a batch that has not come back into the queue again."""
    return {"places": vendors.recall(find_vendor_batch(request, vendor_batch_id), request.user)}


def find_vendor_batch(request: HttpRequest, vendor_batch_id: int) -> VendorBatch:
    batches = VendorBatch.objects.select_related("queue__project", "returned", "created_by", "decided_by")
    return find(request, batches, vendor_batch_id, roles=ENGINEERS)[0]
