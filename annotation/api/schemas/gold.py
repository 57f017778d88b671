"""Gold items: tasks whose right order is known."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ninja import Field, Schema

from annotation.api.schemas.shared import Body, Id, IntervalOut, Page, Text
from annotation.gold_items import Candidate, rate
from annotation.models import GoldResult
from annotation.submit import LONGEST


class GoldOut(Schema):
    id: int
    task: int
    queue: int
    prompt: int
    tiers: list[list[int]] = Field(..., description="The right order: ids of completions, best tier first.")
    explanation: str
    is_attention: bool
    created_by: str
    created_at: datetime
    retired_at: datetime | None
    met: int = Field(..., description="How many people have met it.")
    accuracy: IntervalOut | None = Field(..., description="Mean share of its pairs that they ordered right.")

    @classmethod
    def of(cls, item: Any) -> GoldOut:
        """Of an item of `gold_items.with_results`."""
        return cls(**cls.facts(item))

    @staticmethod
    def facts(item: Any) -> dict[str, Any]:
        return {
            "id": item.pk,
            "task": item.task_id,
            "queue": item.task.queue_id,
            "prompt": item.task.prompt_id,
            "tiers": item.tiers,
            "explanation": item.explanation,
            "is_attention": item.is_attention,
            "created_by": item.created_by.username,
            "created_at": item.created_at,
            "retired_at": item.retired_at,
            "met": item.met,
            "accuracy": IntervalOut.of(rate(item)),
        }


class GoldPage(Page):
    items: list[GoldOut]


class GoldResultOut(Schema):
    annotator: str
    accuracy: float
    is_calibration: bool = Field(..., description="It was met in a trial round.")
    at: datetime

    @classmethod
    def of(cls, result: GoldResult) -> GoldResultOut:
        return cls(
            annotator=result.annotator.username,
            accuracy=result.accuracy,
            is_calibration=result.is_calibration,
            at=result.created_at,
        )


class GoldItemOut(GoldOut):
    results: list[GoldResultOut] = Field(..., description="The newest 1,000.")


class GoldIn(Body):
    task: Id = Field(..., description="A task whose prompt and answers the item takes; what was judged on it stays.")
    tiers: list[list[Id]] = Field(..., max_length=26, description="Ids of its completions, best tier first.")
    explanation: Text = Field("", max_length=LONGEST, description="Shown with the feedback. Markdown.")
    is_attention: bool = Field(False, description="Anybody who reads gets it right.")
    queue: Id | None = Field(None, description="Where people meet it; left out, in the task's own queue.")


class CandidateOut(Schema):
    task: int
    queue: int
    prompt: int
    tiers: list[list[int]]
    judges: int
    why: str

    @classmethod
    def of(cls, found: Candidate) -> CandidateOut:
        task = found.task
        return cls(
            task=task.pk, queue=task.queue_id, prompt=task.prompt_id, tiers=found.tiers, judges=found.judges,
            why=found.why,
        )  # fmt: skip
