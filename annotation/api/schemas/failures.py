"""Failure classes and their examples."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from ninja import Field, Schema

from annotation.api.schemas.shared import Body, Id, Page, Text
from annotation.failures import SUGGESTED
from annotation.models import FailureClass, FailureExample, FailureMerge, FailureStatus
from annotation.submit import LONGEST


class FailureClassOut(Schema):
    id: int
    name: str
    description: str
    severity: int
    examples: int

    @classmethod
    def of(cls, found: FailureClass, examples: int) -> FailureClassOut:
        return cls(
            id=found.pk, name=found.name, description=found.description, severity=found.severity, examples=examples
        )


class FailureClassPage(Page):
    items: list[FailureClassOut]


class FailureClassIn(Body):
    name: Text
    description: Text = Field("", max_length=LONGEST)
    severity: int = 2


class FailureExampleIn(Body):
    claim: Id | None = Field(None, description="Your claim, where the answer is known by its letter …")
    answer: Text | None = None
    completion: Id | None = Field(
        None, description="… or the completion's id, for SMEs and engineers outside blind work."
    )
    correction: Text = Field(..., max_length=LONGEST)
    reasoning: Text = Field("", max_length=LONGEST)


class FailureExampleOut(Schema):
    id: int
    failure_class: int


class FailureClassPatch(Body):
    """Fields that are left out stay."""

    name: Text = Field("", min_length=1, max_length=120)
    description: Text = Field("", max_length=LONGEST)
    severity: int = Field(2, ge=1, le=3, description="1 minor, 2 major, 3 critical")
    owner: Text | None = Field(None, description="The username of who keeps an eye on it; null: nobody.")
    suggested_prompts: list[Text] = Field([], max_length=SUGGESTED, description="Texts that tend to provoke it.")


class FailureStatusIn(Body):
    model: Id
    state: Literal["open", "fixed", "regressed"]
    note: Text = Field("", max_length=300)


class FailureStatusOut(Schema):
    model: int
    model_name: str
    state: str
    note: str
    by: str
    at: datetime

    @classmethod
    def of(cls, status: FailureStatus) -> FailureStatusOut:
        return cls(
            model=status.model_id, model_name=status.model.name, state=status.state, note=status.note,
            by=status.created_by.username, at=status.created_at,
        )  # fmt: skip


class MergeIn(Body):
    into: Id = Field(..., description="The class that takes over the examples.")
    reason: Text = Field("", max_length=300)


class MergeOut(Schema):
    id: int
    source: int
    target: int
    examples: int = Field(..., description="How many moved.")
    reason: str
    merged_at: datetime
    undone_at: datetime | None

    @classmethod
    def of(cls, merge: FailureMerge) -> MergeOut:
        same = ("reason", "merged_at", "undone_at")
        return cls(
            id=merge.pk, source=merge.source_id, target=merge.target_id, examples=len(merge.examples),
            **{name: getattr(merge, name) for name in same},
        )  # fmt: skip


class UndoneMergeOut(Schema):
    examples: int = Field(..., description="How many came back.")


class FailureClassDetail(FailureClassOut):
    owner: str | None
    suggested_prompts: list[str]
    merged_into: int | None
    statuses: list[FailureStatusOut] = Field(..., description="How models fare now, the newest model first.")
    merges: list[MergeOut] = Field(..., description="Of other classes into this one, and of this one into another.")

    @classmethod
    def of(cls, found: FailureClass, statuses: list[FailureStatus], merges: list[FailureMerge]) -> FailureClassDetail:
        return cls(
            id=found.pk,
            name=found.name,
            description=found.description,
            severity=found.severity,
            examples=found.examples.filter(withdrawn_at=None).count(),
            owner=found.owner.username if found.owner else None,
            suggested_prompts=found.suggested_prompts,
            merged_into=found.merged_into_id,
            statuses=[FailureStatusOut.of(status) for status in statuses],
            merges=[MergeOut.of(merge) for merge in merges],
        )


class FiledExampleOut(Schema):
    """An example without the model that wrote the answer, which people may still have to judge."""

    id: int
    prompt: int
    completion: int
    text: str
    correction: str
    reasoning: str
    author: str
    created_at: datetime
    withdrawn: bool

    @classmethod
    def of(cls, example: FailureExample) -> FiledExampleOut:
        same: dict[str, Any] = {n: getattr(example, n) for n in ("correction", "reasoning", "created_at")}
        return cls(
            id=example.pk, prompt=example.prompt_id, completion=example.completion_id, text=example.completion.text,
            author=example.author.username, withdrawn=example.withdrawn_at is not None, **same,
        )  # fmt: skip


class MadeLabelOut(Schema):
    label: int = Field(..., description="Id of the demonstration or comparison.")


class ExamplePage(Page):
    items: list[FiledExampleOut]
