"""What labels do to a reward model."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ninja import Field, Schema

from annotation.api.schemas.shared import Body, Id


class RewardModelOut(Schema):
    id: int
    name: str
    has_scores: bool
    created_at: datetime


class DisputedOut(Schema):
    comparison: int
    prompt: int
    cluster: str
    margin: float = Field(..., description="By how much the model prefers the answer that people rejected.")
    probability: float = Field(..., description="What the model gives that answer: the sigmoid of the margin.")
    task: int | None = Field(..., description="The task that asks other people, where it was sent to them.")


class EffectsOut(Schema):
    """Accuracies over the pairs of held-out comparisons, with 95 % intervals; whole prompts are resampled."""

    overall: dict[str, Any] | None
    by_annotator: list[dict[str, Any]]
    by_slice: list[dict[str, Any]]
    by_agreement: list[dict[str, Any]]
    by_guideline: list[dict[str, Any]]
    by_time: list[dict[str, Any]]
    held_out: int = Field(..., description="Comparisons.")
    unscored: int = Field(..., description="Of them, those without a pair of which both scores are known.")
    missing_scores: int = Field(..., description="Ranked answers that the model has not scored.")
    trained_prompts: int
    lineage_known: bool
    disputed: int = Field(..., description="Comparisons that the model orders differently …")
    strongest: list[DisputedOut] = Field(..., description="… and the first of them.")


class ScoringOut(Schema):
    run: int


class AskPeopleIn(Body):
    comparisons: list[Id] = Field(
        [], max_length=500, description="Left empty: the most strongly disputed that were not sent to people before."
    )
    count: int = Field(20, ge=1, le=500, description="How many, where none are named.")
    overlap: int = Field(1, ge=1, le=9, description="How many people rank each.")
