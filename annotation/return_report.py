"""How good a vendor's return is: accuracy on gold and agreement with our own people, by worker. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from annotation.statistics.intervals import Interval, bootstrap_mean, wilson


@dataclass(frozen=True)
class Judged:
    """One judgement of the return."""

    worker: str
    task: int
    gold: float | None = None  # share of the gold's pairs that it has right; None: no gold item
    agreement: float | None = None  # mean share of the pairs of others' judgements of the task that it orders alike
    seconds: float | None = None
    unchanged: bool = False  # its order is the one in the file
    tied: bool = False  # everything in one tier


def report_on(judged: Sequence[Judged]) -> dict[str, Any]:
    """Figures of all and of each worker, the one with most judgements first; intervals are 95 %."""
    by_worker: dict[str, list[Judged]] = {}
    for each in judged:
        by_worker.setdefault(each.worker, []).append(each)
    rows = [{"worker": worker, **_figures(theirs)} for worker, theirs in by_worker.items()]
    return _figures(judged) | {"workers": sorted(rows, key=lambda row: (-row["judgements"], row["worker"]))}


def _figures(judged: Sequence[Judged]) -> dict[str, Any]:
    seconds = [each.seconds for each in judged if each.seconds is not None]
    return {
        "judgements": len(judged),
        "gold": _mean([(each.gold, each.task) for each in judged]),
        "agreement": _mean([(each.agreement, each.task) for each in judged]),
        "seconds": median(seconds) if seconds else None,
        "unchanged": sum(each.unchanged for each in judged) / len(judged) if judged else None,
        "tied": sum(each.tied for each in judged) / len(judged) if judged else None,
    }


def _mean(values: Sequence[tuple[float | None, int]]) -> dict[str, Any] | None:
    """Their mean with its interval: whole tasks are resampled; Wilson's where all values are the same."""
    known = [(value, task) for value, task in values if value is not None]
    if not known:
        return None
    numbers, tasks = [value for value, _ in known], [task for _, task in known]
    if len(set(numbers)) == 1 or len(set(tasks)) == 1:
        found: Interval = wilson(sum(numbers), len(numbers))
    else:
        found = bootstrap_mean(numbers, tasks)
    return {"value": found.value, "low": found.low, "high": found.high, "n": len(numbers)}
