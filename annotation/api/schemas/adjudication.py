"""Where people disagree, what is settled by somebody else, and labels that want a second look."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from ninja import Field, Schema

from annotation.api.schemas.shared import Body, Id, Text
from annotation.models import Comparison
from annotation.settling import Dispute, Slice


class JudgementOut(Schema):
    comparison: int
    annotator: str
    tiers: list[list[int]]
    unrankable: list[int]

    @classmethod
    def of(cls, comparison: Comparison) -> JudgementOut:
        return cls(
            comparison=comparison.pk,
            annotator=comparison.annotator.username,
            tiers=comparison.tiers,
            unrankable=comparison.unrankable,
        )


class DisputeOut(Schema):
    task: int
    queue: int
    prompt: int
    cluster: str
    disagreement: float = Field(..., description="Kendall's distance: 0 all the same, 1 each the reverse of the other.")
    judgements: list[JudgementOut]
    adjudication: int | None = Field(..., description="The task that settles it, open or done.")
    settled: JudgementOut | None

    @classmethod
    def of(cls, found: Dispute) -> DisputeOut:
        return cls(
            task=found.task.pk,
            queue=found.task.queue_id,
            prompt=found.task.prompt_id,
            cluster=found.task.prompt.cluster,
            disagreement=found.value,
            judgements=[JudgementOut.of(judgement) for judgement in found.judgements],
            adjudication=found.adjudication.pk if found.adjudication else None,
            settled=JudgementOut.of(found.settled) if found.settled else None,
        )


class SliceOut(Schema):
    cluster: str
    tasks: int
    disputed: int = Field(..., description="Tasks that are not unanimous.")
    mean: float

    @classmethod
    def of(cls, found: Slice) -> SliceOut:
        return cls(cluster=found.cluster, tasks=found.tasks, disputed=found.disputed, mean=found.mean)


class DisputesOut(Schema):
    items: list[DisputeOut] = Field(..., description="The most disputed first.")
    tasks: int = Field(..., description="Judged tasks that were looked through, the newest first.")
    disputed: int = Field(..., description="Of them, those that fit what was asked for.")
    slices: list[SliceOut]
    next: int | None = Field(..., description="Send it as `before` to look through older tasks; null: there are none.")


class AdjudicationsIn(Body):
    tasks: list[Id] = Field(..., min_length=1, max_length=1000)
    priority: int = Field(0, ge=-1000, le=1000)


class SecondLookOut(Schema):
    kind: str = Field(..., description="comparison or demonstration")
    label: int
    prompt: int
    annotator: str
    asked: str = Field(..., description="Why somebody should look at it again, in its maker's words.")
    created_at: datetime

    @classmethod
    def of(cls, label: Any) -> SecondLookOut:
        return cls(
            kind=label._meta.model_name,
            label=label.pk,
            prompt=label.prompt_id,
            annotator=label.annotator.username,
            asked=label.second_look,
            created_at=label.created_at,
        )


class SecondLookPage(Schema):
    items: list[SecondLookOut]
    next: int | None = Field(..., description="Send it as `offset` for the next page; null on the last.")


class LookIn(Body):
    act: Literal["done", "settle", "withdraw"] = Field(
        ..., description="done: it stands; settle: a ranking goes to adjudication; withdraw: its maker was right."
    )
    note: Text = Field("", max_length=300, description="For the journal; `withdraw` needs one.")
