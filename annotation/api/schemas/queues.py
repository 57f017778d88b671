"""Queues and the tasks in them, as leads see them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Literal

from ninja import Field, Schema

from annotation.api.schemas.shared import Body, Id, Page, Text
from annotation.models import Queue, Task
from annotation.progress import Progress


class QueueSettings(Schema):
    note: Text = Field("", max_length=300, description="A line for those who work in it.")
    lease_minutes: int = Field(60, ge=1, le=10_080)
    order: Literal["random", "oldest", "uncertain", "disputed", "diverse"] = "random"
    reward_model: Id | None = Field(None, description="Whose scores the order goes by.")
    skill: Text = Field("", max_length=40, description="Only for members who have it.")
    people: list[Text] = Field([], max_length=1000, description="Usernames: only for these. None: for everybody.")
    gold_rate: float = Field(0, ge=0, le=0.5, description="Share of a person's tasks whose right order is known.")
    gold_feedback: bool = False
    gold_window: int = Field(10, ge=1, le=1000)
    calibration_items: int = Field(0, ge=0, le=1000)
    calibration_pass: float = Field(0.7, ge=0, le=1)
    warn_below: float | None = Field(None, ge=0, le=1)
    pause_below: float | None = Field(None, ge=0, le=1)
    exclude_below: float | None = Field(None, ge=0, le=1)
    min_seconds: float = Field(2, ge=0, le=3600)


class QueueState(QueueSettings):
    id: int
    kind: str
    name: str
    is_open: bool
    places: dict[str, int] = Field(..., description="By status, each counted to 1,001.")

    @classmethod
    def of(cls, queue: Queue, places: Progress) -> QueueState:
        plain = [name for name in QueueSettings.model_fields if name not in ("reward_model", "people")]
        return cls(
            id=queue.pk,
            kind=queue.kind,
            name=queue.name,
            is_open=queue.is_open,
            reward_model=queue.reward_model_id,
            people=list(queue.people.values_list("username", flat=True)),
            places=asdict(places),
            **{name: getattr(queue, name) for name in plain},
        )


class TaskOut(Schema):
    id: int
    prompt: int
    status: str
    overlap: int
    priority: int
    skill: str
    assignee: str | None

    @classmethod
    def of(cls, task: Task) -> TaskOut:
        return cls(
            id=task.pk,
            prompt=task.prompt_id,
            status=task.status,
            overlap=task.overlap,
            priority=task.priority,
            skill=task.skill,
            assignee=task.assignee.username if task.assignee else None,
        )


class TaskPage(Page):
    items: list[TaskOut]


class QueueIn(QueueSettings, Body):
    kind: Literal["demonstrate", "rank"]
    name: Text = Field(..., min_length=1, max_length=120)


class QueuePatch(QueueSettings, Body):
    name: Text = Field("", min_length=1, max_length=120)
    is_open: bool = True


class WorkIn(Body):
    prompt: Id
    completions: list[Id] = Field([], max_length=26, description="To rank; none for a demonstration.")


class TasksIn(Body):
    work: list[WorkIn] = Field(..., min_length=1, max_length=5000)
    overlap: int = Field(1, ge=1, le=100, description="How many people do each.")
    priority: int = Field(0, ge=-1000, le=1000)
    skill: Text = Field("", max_length=40)
    assignee: Text | None = Field(None, description="A username: one place of each task is kept for them.")


class TaskPatch(Body):
    priority: int | None = Field(None, ge=-1000, le=1000)
    assignee: Text | None = Field(None, description="A username; an empty one opens the place to all again.")
    status: Literal["open", "withdrawn"] | None = Field(None, description="open puts back what was set aside.")
    reason: Text = Field("", max_length=200)


class LeadReleaseIn(Body):
    person: Text = Field(..., description="The username of who holds it.")
    reason: Text = Field("", max_length=200)
