"""Queues that are worked on in Label Studio."""

from __future__ import annotations

from typing import Any

from ninja import Field, Schema

from annotation.label_studio import links
from annotation.models import LabelStudioLink


class LinkOut(Schema):
    id: int
    queue: int
    title: str
    is_active: bool = Field(..., description="While it is, the queue's free places are offered to nobody here.")
    address: str | None = Field(..., description="The project there; null before the first push.")
    at_work: str = Field(..., description="push or pull, while one is under way; else empty.")
    done: int
    total: int | None
    counts: dict[str, int] = Field(..., description="tasks sent, places away, annotations taken, refused and skipped")
    last_report: dict[str, Any] = Field(..., description="Counts and complaints of the last push or pull.")

    @classmethod
    def of(cls, link: LabelStudioLink, counts: dict[str, int]) -> LinkOut:
        return cls(
            id=link.pk,
            queue=link.queue_id,
            title=link.title,
            is_active=link.is_active,
            address=f"{link.server}/projects/{link.remote_project}/data" if link.remote_project else None,
            at_work=link.act if links.is_busy(link) else "",
            done=link.done,
            total=link.total,
            counts=counts,
            last_report=link.last_report,
        )


class LabelStudioOut(Schema):
    server: str
    not_configured: str = Field(..., description="What is missing, in a sentence; empty when there is a server.")
    links: list[LinkOut]


class UnlinkedOut(Schema):
    places: int = Field(..., description="How many are in the queue again.")
