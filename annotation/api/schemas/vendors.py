"""Work for people outside: batches that a vendor fills."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ninja import Field, Schema

from annotation.api.schemas.shared import Body, Id, Page, Text
from annotation.models import VendorBatch
from annotation.vendors import LARGEST_GOLD_RATE, MOST_PLACES


class VendorBatchIn(Body):
    queue: Id
    vendor: Text = Field(..., min_length=1, max_length=80, description="Scale, Surge, Labelbox, an agency …")
    name: Text = Field(..., min_length=1, max_length=120, description="Once a vendor.")
    places: int = Field(..., ge=1, le=MOST_PLACES, description="How many free places of the queue, the first in line.")
    per_task: int = Field(1, ge=1, le=100, description="How many places of one task at most.")
    gold_rate: float = Field(0.1, ge=0, le=LARGEST_GOLD_RATE, description="Share of gold items in the file, unmarked.")


class VendorBatchOut(Schema):
    id: int
    queue: int
    vendor: str
    name: str
    status: str = Field(..., description="out, returned, accepted, rejected or recalled")
    created_by: str
    created_at: datetime
    handed: dict[str, Any] = Field(..., description="Places and gold items in the file.")
    arrival: dict[str, Any] | None = Field(
        ..., description="What was found on arrival: rows taken and refused, gold and agreement, in all and by worker."
    )
    decided_by: str | None
    decided_at: datetime | None
    decision_note: str

    @classmethod
    def of(cls, batch: VendorBatch) -> VendorBatchOut:
        return cls(
            id=batch.pk,
            queue=batch.queue_id,
            vendor=batch.vendor,
            name=batch.name,
            status=batch.status,
            created_by=batch.created_by.username,
            created_at=batch.created_at,
            handed=batch.report.get("handed", {}),
            arrival=batch.report.get("arrival"),
            decided_by=batch.decided_by.username if batch.decided_by else None,
            decided_at=batch.decided_at,
            decision_note=batch.decision_note,
        )


class VendorBatchPage(Page):
    items: list[VendorBatchOut]


class NoteIn(Body):
    note: Text = Field("", max_length=300, description="Why; a rejection needs one.")


class RecalledOut(Schema):
    places: int = Field(..., description="How many are in the queue again.")
