"""The report artifact: rows of (model, task, metric, value, interval), the same for evaluation, bias and toxicity."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.runs.directory import write_json


@dataclass
class Row:
    """One number of a report. Intervals are 95 %; `low` and `high` are None where the data cannot say."""

    model: str  # a name of the report's "models"
    task: str
    metric: str
    value: float
    low: float | None
    high: float | None
    stderr: float | None
    n: int  # documents, pairs or prompts
    higher_is_better: bool | None  # None where neither end is good: see `ideal`
    ideal: float | None = None
    scorer: str | None = None  # the classifier that a number rests on, described in the report's "scorer"
    unit: str = ""
    note: str = ""

    def as_json(self) -> dict[str, Any]:
        """As written: optional fields only where they say something."""
        optional = ("ideal", "scorer", "unit", "note")
        return {k: v for k, v in dataclasses.asdict(self).items() if k not in optional or v not in (None, "")}


def distinct_names(infos: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """`{"id", "name"}` of each model, names made distinct by the artifact's id (or position) where two are alike."""
    counts = Counter(info["name"] for info in infos)
    return [
        {
            "id": info["id"],
            "name": info["name"] if counts[info["name"]] == 1 else f"{info['name']} #{info['id'] or position}",
        }
        for position, info in enumerate(infos, start=1)
    ]


def write_report(
    output: Path,
    kind: str,
    title: str,
    models: list[dict[str, Any]],
    rows: Iterable[Row | dict[str, Any]],
    samples: Iterable[dict[str, Any]],
    **more: Any,
) -> dict[str, Any]:
    """Write report.json and samples.jsonl into `output`; returns the artifact's metadata."""
    written = [row.as_json() if isinstance(row, Row) else row for row in rows]
    write_json(output / "report.json", {"type": kind, "title": title, "models": models, "rows": written, **more})
    with open(output / "samples.jsonl", "w", encoding="utf8") as file:
        for sample in samples:
            file.write(json.dumps(sample, ensure_ascii=False, default=str) + "\n")
    return {"name": title, "type": kind, "models": [m["name"] for m in models], "rows": len(written)}
