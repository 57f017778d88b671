"""Probes: an SME looks for examples of one failure class in one model."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from ninja import Field, Schema

from annotation.api.schemas.shared import Body, Id, Page, Text
from annotation.probe import MOST_WANTED
from annotation.submit import LONGEST


class ProbeIn(Body):
    failure_class: Id
    model: Id
    wanted: int = Field(3, ge=1, le=MOST_WANTED, description="How many examples.")
    instructions: Text = Field("", max_length=LONGEST)
    assignee: Text | None = Field(None, description="A username; left out, the first who takes it.")


class ProbeOut(Schema):
    id: int
    failure_class: int
    model: int
    model_name: str
    wanted: int
    found: int
    instructions: str
    assignee: str | None
    status: str = Field(..., description="open, done or withdrawn")
    conclusion: str
    created_at: datetime
    finished_at: datetime | None

    @classmethod
    def of(cls, probe: Any) -> ProbeOut:
        """Of one of `probe.with_found`."""
        same = ("wanted", "found", "instructions", "status", "conclusion", "created_at", "finished_at")
        return cls(
            id=probe.pk,
            failure_class=probe.failure_class_id,
            model=probe.model_id,
            model_name=probe.model.name,
            assignee=probe.assignee.username if probe.assignee else None,
            **{name: getattr(probe, name) for name in same},
        )


class ProbePage(Page):
    items: list[ProbeOut]


class ConcludeIn(Body):
    conclusion: Text = Field(..., min_length=1, max_length=LONGEST, description="What was found, and what was tried.")
    state: Literal["", "open", "fixed", "regressed"] = Field(
        "", description="How the model fares on the class from now on."
    )
