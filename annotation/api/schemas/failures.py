"""Failure classes and their examples."""

from __future__ import annotations

from ninja import Field, Schema

from annotation.api.schemas.shared import Id, Text


class FailureClassOut(Schema):
    id: int
    name: str
    description: str
    severity: int
    examples: int


class FailureClassIn(Schema):
    name: Text
    description: Text = ""
    severity: int = 2


class FailureExampleIn(Schema):
    claim: Id | None = Field(None, description="Your claim, where the answer is known by its letter …")
    answer: Text | None = None
    completion: Id | None = Field(
        None, description="… or the completion's id, for SMEs and engineers outside blind work."
    )
    correction: Text
    reasoning: Text = ""


class FailureExampleOut(Schema):
    id: int
    failure_class: int
