"""Comparisons and demonstrations as they were given."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ninja import Field, Schema

from annotation.api.schemas.shared import Page
from annotation.models import Comparison, Demonstration
from studio.runs.models import Artifact


class RankedOut(Schema):
    id: int
    text: str
    model: int | None = Field(..., description="The artifact that wrote it, where that is told.")


class LabelBase(Schema):
    id: int
    prompt: int
    annotator: str
    created_at: datetime
    guideline_version: int | None
    revision: int
    surplus: bool
    withdrawn: bool
    seconds: float | None


class ComparisonOut(LabelBase):
    tiers: list[list[int]] = Field(..., description="Ids of completions, best tier first.")
    unrankable: list[int]
    shown_order: list[int]
    strength: int | None
    ratings: dict[str, int]
    flags: dict[str, list[str]]
    rationale: str
    completions: list[RankedOut]

    @classmethod
    def of(cls, label: Comparison, *, tells_models: bool) -> ComparisonOut:
        return cls(
            **_label_base(label),
            tiers=label.tiers,
            unrankable=label.unrankable,
            shown_order=label.shown_order,
            strength=label.strength,
            ratings=label.ratings,
            flags=label.flags,
            rationale=label.rationale,
            completions=[
                RankedOut(id=c.pk, text=c.text, model=c.model_id if tells_models else None)
                for c in label.completions.all()
            ],
        )


class DemonstrationOut(LabelBase):
    text: str
    reasoning: str

    @classmethod
    def of(cls, label: Demonstration) -> DemonstrationOut:
        return cls(**_label_base(label), text=label.completion.text, reasoning=label.reasoning)


class ComparisonPage(Page):
    items: list[ComparisonOut]


class DemonstrationPage(Page):
    items: list[DemonstrationOut]


def _label_base(label: Demonstration | Comparison) -> dict[str, Any]:
    return {
        "id": label.pk,
        "prompt": label.prompt_id,
        "annotator": label.annotator.username,
        "created_at": label.created_at,
        "guideline_version": label.guideline.version if label.guideline else None,
        "revision": label.revision,
        "surplus": label.surplus,
        "withdrawn": label.is_withdrawn,
        "seconds": label.seconds,
    }


class RevisionOut(Schema):
    number: int
    content: dict[str, Any]
    by: str
    at: datetime


class ArtifactOut(Schema):
    id: int
    kind: str
    name: str

    @classmethod
    def of(cls, artifact: Artifact) -> ArtifactOut:
        return cls(id=artifact.pk, kind=artifact.kind, name=artifact.name)


class UsesOut(Schema):
    datasets: list[ArtifactOut]
    models: list[ArtifactOut] = Field(..., description="Reward models and scorers too.")
