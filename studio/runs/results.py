"""What a run measured: figures with their intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from studio.runs.charts import metric_label, read_latest
from studio.runs.models import Run

INTERVAL = "_ci"  # a metric "<name>_ci" is the 95 % interval [low, high] of the metric "<name>"


@dataclass(frozen=True)
class Figure:
    name: str
    label: str
    value: float | str | None  # None: only the interval was reported
    low: float | None = None
    high: float | None = None


def read_figures(run: Run) -> list[Figure]:
    """The result of a run, or while it has none, the newest value of each metric."""
    return figures(run.result or read_latest(run.directory / "metrics.jsonl"))


def figures(metrics: dict[str, Any]) -> list[Figure]:
    names = dict.fromkeys(name.removesuffix(INTERVAL) for name in metrics)
    made = [_figure(name, metrics.get(name), metrics.get(name + INTERVAL)) for name in names]
    return [figure for figure in made if figure.value is not None or figure.low is not None]


def _figure(name: str, value: Any, interval: Any) -> Figure:
    """Nested results (reports by model, say) are no figures: they have pages of their own."""
    low = high = None
    if isinstance(interval, list | tuple) and len(interval) == 2 and all(isinstance(x, int | float) for x in interval):
        low, high = interval
    if isinstance(value, bool):
        value = "yes" if value else "no"
    return Figure(name, metric_label(name), value if isinstance(value, int | float | str) else None, low, high)


def side_by_side(runs: list[Run]) -> list[tuple[str, list[Figure | None]]]:
    """Each figure in every run, by label."""
    by_run = [{figure.name: figure for figure in read_figures(run)} for run in runs]
    labels = {name: figure.label for found in by_run for name, figure in found.items()}
    return [(label, [found.get(name) for found in by_run]) for name, label in labels.items()]
