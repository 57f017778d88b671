"""Projects and prompts."""

from __future__ import annotations

from typing import Any

from ninja import Field, Schema

from annotation.api.schemas.shared import Body, Message, Text


class ProjectOut(Schema):
    slug: str
    name: str
    description: str
    role: str
    guideline_version: int | None


class PromptOut(Schema):
    id: int
    messages: list[Message]
    cluster: str
    tags: list[str]
    reference: dict[str, Any] | None = Field(..., description="What a good answer holds; not told to annotators.")
    split: str | None = Field(..., description="train or test; not told to annotators.")


class PromptPage(Schema):
    count: int
    items: list[PromptOut]


class PromptsIn(Body):
    prompts: list[dict[Text, Any]] = Field(
        ..., max_length=10_000, description="messages (or prompt), cluster, tags, reference, split"
    )
    source: Text = Field("", max_length=200)
    test_fraction: float = Field(0.2, ge=0, le=1)


class PromptsImported(Schema):
    created: int
    known: int
    ids: list[int]
