"""Reports as people read them: the numbers of report.json, models side by side under each metric."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from studio.models import Project
from studio.runs.models import Artifact
from studio.web.templatetags.studio import number

TYPES = {"evaluation": "Evaluation", "bias": "Bias", "toxicity": "Toxicity"}
MAX_BYTES = 20_000_000


class ReportError(ValueError):
    """report.json is missing or not in the report format; the message says which."""


@dataclass(frozen=True)
class Estimate:
    """One model's number on one metric."""

    model: str
    value: float
    low: float | None
    high: float | None
    stderr: float | None
    n: int
    note: str

    @property
    def in_words(self) -> str:
        """What the bar shows, for who hears the page."""
        if self.low is None:
            return number(self.value)
        return f"{number(self.value)}, 95 % interval {number(self.low)} to {number(self.high)}"


class Bar(NamedTuple):
    """An estimate and its interval on the scale of the drawing."""

    value: float
    low: float | None
    high: float | None


@dataclass
class Metric:
    """One metric of one task: every model's estimate, on one scale."""

    label: str
    better: str  # in words
    unit: str
    ideal: float | None
    scorer: str
    estimates: list[Estimate] = field(default_factory=list)

    @property
    def is_logarithmic(self) -> bool:
        """Perplexities of a random and a trained model lie powers of ten apart: their bars show the logarithm."""
        return "perplexity" in self.label

    @property
    def bars(self) -> list[tuple[Estimate, Bar]]:
        """Each estimate with where it lies on the metric's scale."""

        def at(x: float | None) -> float | None:
            return x if x is None or not self.is_logarithmic else math.log10(max(x, 1e-9))

        return [(e, Bar(at(e.value), at(e.low), at(e.high))) for e in self.estimates]

    @property
    def scale(self) -> tuple[float, float]:
        """Where the interval bars begin and end: 0 to 1 for shares, 0 to 100 for percent, else around the numbers."""
        if self.unit == "%":
            return 0.0, 100.0
        ends = [x for _, bar in self.bars for x in (*bar, self.ideal) if x is not None]
        low, high = min(ends), max(ends)
        is_share = self.better != "lower is better" or self.scorer
        if is_share and low >= 0 and high <= 1:
            return 0.0, 1.0
        margin = (high - low) * 0.08 or abs(high) * 0.08 or 1.0
        return low - margin, high + margin

    @property
    def minimum(self) -> float:
        return self.scale[0]

    @property
    def maximum(self) -> float:
        return self.scale[1]


@dataclass
class Section:
    """A task with its metrics. "CrowS-Pairs: age" is the metric "age" of the task "CrowS-Pairs"."""

    title: str
    metrics: list[Metric] = field(default_factory=list)


@dataclass
class Report:
    """A report artifact, read."""

    artifact: Artifact
    kind: str
    title: str
    models: list[dict[str, Any]]  # {"id", "name"}
    sections: list[Section]
    scorer: dict[str, Any]
    settings: list[tuple[str, Any]]

    @property
    def kind_label(self) -> str:
        return TYPES.get(self.kind, self.kind)


def project_reports(project: Project, kind: str = "") -> Any:
    """The project's report artifacts, newest first, of one type or all."""
    found = Artifact.objects.filter(project=project, kind=Artifact.Kind.REPORT).select_related(
        "produced_by", "created_by"
    )
    return found.filter(metadata__type=kind) if kind else found


def read_report(artifact: Artifact, models: Iterable[str] = ()) -> Report:
    """Read an artifact's report.json, with the rows of `models` only (all of them when none is named).

    Raises ReportError when the file is not there or not a report.
    """
    document = _load(artifact)
    try:
        known = [{"id": m["id"], "name": str(m["name"])} for m in document["models"]]
        shown = set(models) or {m["name"] for m in known}
        sections = _sections(row for row in document["rows"] if row["model"] in shown)
        return Report(
            artifact=artifact,
            kind=str(document["type"]),
            title=str(document["title"]),
            models=known,
            sections=sections,
            scorer=document.get("scorer") or {},
            settings=_settings(document),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ReportError(f"report.json is not in the report format ({type(error).__name__}: {error}).") from error


def _load(artifact: Artifact) -> dict[str, Any]:
    path = artifact.directory / "report.json"
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ReportError("report.json is too large to show; download it instead.")
        return json.loads(path.read_text(encoding="utf8"))
    except FileNotFoundError as error:
        raise ReportError("The artifact has no report.json.") from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ReportError(f"report.json is not valid JSON: {error}") from error


def _sections(rows: Iterable[dict[str, Any]]) -> list[Section]:
    """Tasks and metrics in order of first appearance."""
    sections: dict[str, Section] = {}
    metrics: dict[tuple[str, str], Metric] = {}
    for row in rows:
        task, _, part = row["task"].partition(": ")
        section = sections.setdefault(task, Section(task))
        key = (row["task"], row["metric"])
        if key not in metrics:
            metrics[key] = _metric(row, part)
            section.metrics.append(metrics[key])
        metrics[key].estimates.append(_estimate(row))
    return list(sections.values())


def _metric(row: dict[str, Any], part: str) -> Metric:
    name = row["metric"].replace("_", " ")
    ideal = row.get("ideal")
    better = {True: "higher is better", False: "lower is better"}.get(row.get("higher_is_better"), "")
    return Metric(f"{name}: {part}" if part else name, better, row.get("unit", ""), ideal, row.get("scorer") or "")


def _estimate(row: dict[str, Any]) -> Estimate:
    numbers = {name: None if row[name] is None else float(row[name]) for name in ("value", "low", "high", "stderr")}
    if numbers["value"] is None or not all(math.isfinite(x) for x in numbers.values() if x is not None):
        raise ValueError(f"{row['task']} {row['metric']} of {row['model']} has no finite value")
    return Estimate(model=row["model"], n=int(row["n"]), note=row.get("note", ""), **numbers)


def _settings(document: dict[str, Any]) -> list[tuple[str, Any]]:
    """How the numbers were made: few-shot examples, limits, sampling, files."""
    given = {**document.get("settings", {}), **document.get("sampling", {})}
    given |= {name: document[name] for name in ("pairs_file", "prompts_file") if name in document}
    return [(name.replace("_", " ").capitalize(), "all" if value is None else value) for name, value in given.items()]
