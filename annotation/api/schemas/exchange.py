"""Imports and datasets."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from ninja import Field, Schema

from annotation.aggregation import PRIOR
from annotation.api.schemas.shared import Body, Page, Text


class ImportOut(Schema):
    id: int
    name: str
    format: str
    status: str
    sha256: str
    rows_done: int
    rows_total: int | None
    counts: dict[str, Any]
    error: str


class DatasetOut(Schema):
    id: int
    name: str
    sha256: str
    metadata: dict[str, Any]
    created_at: datetime


class ImportPage(Page):
    items: list[ImportOut]


class DatasetPage(Page):
    items: list[DatasetOut]


class ImportOptions(Schema):
    format: Text = Field("", description="Left empty, the content decides: hh_rlhf, open_assistant, alpaca, columns …")
    split: Literal["hash", "train", "test"] = Field("hash", description="For every new prompt; hash: by its question.")
    test_fraction: float = Field(0.2, ge=0, le=1, description="Share held out where the hash decides.")
    cluster: Text = Field("", max_length=80, description="For prompts whose row names none.")
    licence: Text = Field("", max_length=200)
    source: Text = Field("", max_length=200)
    skip_bad: bool = Field(False, description="Leave bad rows out and list them, instead of refusing the file.")
    confirm: bool = Field(True, description="false: only keep the file; somebody looks at its preview on the page.")


class FreezeIn(Body):
    kind: Literal["demonstrations", "comparisons", "prompts"]
    name: Text = Field("", max_length=160)
    test_fraction: float = Field(0.1, ge=0, le=0.5)
    aggregation: Literal["every", "majority", "bradley_terry", "plackett_luce"] = Field(
        "every", description="What becomes of several rankings of one prompt; for comparisons."
    )
    prior: float = Field(PRIOR, gt=0, le=1000, description="Of Bradley-Terry and Plackett-Luce.")
    margin: bool = Field(False, description="Add TRL's column margin.")
