"""How far a run is, for pages and the shell."""

from __future__ import annotations

import json
from dataclasses import dataclass

from studio.runs.models import Run


@dataclass(frozen=True)
class Progress:
    done: float
    total: float
    unit: str
    note: str
    rate: float | None  # units a second, of the attempt that is under way

    @property
    def fraction(self) -> float:
        return min(1.0, self.done / self.total) if self.total else 0.0

    @property
    def eta_seconds(self) -> float | None:
        return (self.total - self.done) / self.rate if self.rate and self.total else None

    @property
    def text(self) -> str:
        note = f" · {self.note}" if self.note else ""
        return f"{self.fraction:.0%} ({self.done:,.0f} of {self.total:,.0f} {self.unit}){note}"


def read_progress(run: Run) -> Progress | None:
    """None before the recipe has said anything."""
    try:
        row = json.loads((run.directory / "progress.json").read_text(encoding="utf8"))
    except (FileNotFoundError, ValueError):
        return None
    return Progress(row["done"], row["total"], row["unit"], row.get("note", ""), row.get("rate"))
