"""What a project asks of its judges."""

from __future__ import annotations

from typing import Literal

from ninja import Field, Schema

from annotation.api.schemas.shared import Body
from annotation.submit import LONGEST

Shown = Literal["off", "optional", "required"]


class InstrumentOut(Schema):
    ties: bool = Field(True, description="Equal places are allowed.")
    unrankable: bool = Field(True, description="An answer may be marked as not rankable.")
    strength: Shown = Field("optional", description="How much better, where a ranking has two places.")
    ratings: Shown = Field("optional", description="Quality of each answer, 1 to 7.")
    flags: Literal["off", "optional"] = "optional"
    rationale: Shown = "optional"
    rationale_min: int = Field(0, ge=0, le=LONGEST, description="Characters, whenever one is written.")
    reasoning: Shown = Field("optional", description="Beside a demonstration, step by step.")
    answer_min: int = Field(1, ge=0, le=LONGEST, description="Characters of a demonstration, at least.")
    answer_max: int = Field(LONGEST, ge=1, le=LONGEST, description="Characters of a demonstration, at most.")
    start_from_draft: bool = Field(False, description="Demonstrations may start from a model's answer.")
    near_duplicate: float = Field(
        0.9, gt=0, le=1, description="The pages ask about a demonstration this similar to another."
    )


class InstrumentPatch(InstrumentOut, Body):
    """Settings that are left out stay."""
