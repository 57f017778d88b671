"""Labels that newer guidelines made stale."""

from __future__ import annotations

from ninja import Field, Schema

from annotation.api.schemas.shared import Body, Id, Text
from annotation.staleness import Stale


class StaleOut(Schema):
    key: str = Field(..., description="Names the group when its labels are asked for again.")
    kind: str = Field(..., description="comparison or demonstration")
    version: int | None = Field(..., description="Null: made before there were guidelines.")
    queue: int | None
    labels: int
    asked: int = Field(..., description="How many of them were asked for again because of the version in force.")

    @classmethod
    def of(cls, group: Stale) -> StaleOut:
        return cls(
            key=group.key, kind=group.kind, version=group.version, queue=group.queue, labels=group.labels,
            asked=group.asked,
        )  # fmt: skip


class StaleGroupsOut(Schema):
    guideline_version: int | None = Field(
        ..., description="The newest version that is not minor: labels of older ones are stale."
    )
    groups: list[StaleOut]


class AskStaleIn(Body):
    groups: list[Text] = Field(..., min_length=1, max_length=1000, description="Their keys.")
    queue: Id | None = Field(None, description="Left out: each into the queue it came from.")
    same_people: bool = Field(False, description="Of those who made them; else of anybody.")


class AskedStaleOut(Schema):
    labels: int = Field(..., description="At most 2,000 in one request: ask again for the rest.")
    tasks: int
