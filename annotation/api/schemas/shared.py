"""What every room of the HTTP API speaks in: texts and ids that a database can hold, pages, errors, intervals."""

from __future__ import annotations

from typing import Annotated, Any

from django.db.models import QuerySet
from ninja import Field, Schema
from pydantic import AfterValidator

from annotation.statistics.intervals import Interval


def _storable(text: str) -> str:
    if "\0" in text:
        raise ValueError("contains a NUL character, which no text has: remove it")
    return text


Text = Annotated[str, AfterValidator(_storable)]  # PostgreSQL stores no NUL
Id = Annotated[int, Field(ge=1, le=2**62)]  # larger ones fit into no database


class Message(Schema):
    role: str
    content: str


class ErrorOut(Schema):
    detail: Any


REFUSED = {401: ErrorOut, 403: ErrorOut, 404: ErrorOut, 422: ErrorOut, 429: ErrorOut}


class Body(Schema, extra="forbid"):
    """What is sent. A name that is not known is refused: misspelt, what it says would be lost."""


class PageIn(Schema):
    after: int = Field(0, ge=0, le=2**62, description="The `next` of the page before.")
    limit: int = Field(100, ge=1, le=1000)

    def cut(self, rows: QuerySet[Any]) -> tuple[list[Any], int | None]:
        """This page of the rows in the order of their ids, and what the next one follows."""
        found = list(rows.filter(pk__gt=self.after).order_by("pk")[: self.limit])
        return found, found[-1].pk if len(found) == self.limit else None


class Page(Schema):
    """The `items` of a page that `PageIn` asked for, which each page names with their type, and what follows it."""

    next: int | None = Field(..., description="Send it as `after` for the next page; null on the last.")


class ReasonIn(Body):
    reason: Text = Field(..., min_length=1, max_length=300)


class IntervalOut(Schema):
    """An estimate with its 95 % interval; no interval where the data cannot say."""

    value: float
    low: float | None
    high: float | None
    n: int

    @classmethod
    def of(cls, found: Interval | None) -> IntervalOut | None:
        return None if found is None else cls(value=found.value, low=found.low, high=found.high, n=found.n)
