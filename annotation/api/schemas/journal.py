"""The journal: who did what to which label."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, Literal

from ninja import Field, Schema

from annotation.api.schemas.shared import Id, Page, Text
from annotation.journal import FIRST_DAY, LAST_DAY


class JournalFilter(Schema):
    person: Text = Field("", description="The username of who did it, or of whom it is about.")
    act: Text = ""
    subject: Literal["", "comparison", "demonstration", "failure_example", "failure_class", "task"] = ""
    subject_id: Id | None = Field(None, description="With `subject`: of this one only.")
    since: date | None = Field(None, ge=FIRST_DAY, le=LAST_DAY)
    until: date | None = Field(None, ge=FIRST_DAY, le=LAST_DAY)


class JournalEntryOut(Schema):
    id: int
    at: datetime
    actor: str = Field(..., description="Empty: the studio itself.")
    act: str
    subject: str
    subject_id: int | None
    person: str = Field(..., description="Whom it is about, where it is about somebody.")
    detail: dict[str, Any]


class JournalPage(Page):
    items: list[JournalEntryOut]
