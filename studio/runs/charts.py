"""The metrics of a run as chart data: read as they grow, thinned to what a screen can show.

A metrics file only ever grows, except when a resumed run is cut back to its checkpoint (a new file replaces it). So
what was parsed is kept in memory, and only what was appended since is read again.
"""

from __future__ import annotations

import json
import os
from bisect import bisect_left
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

MAX_POINTS = 1000  # a series: more than the pixels of a small chart
KEPT_FILES = 64  # parsed metrics files kept in memory by each web process
FINGERPRINT_BYTES = 96  # of what stands before the place read up to; lines carry their time, so it is unique

# Charts in the order shown: title, unit, metric names. What stands in none gets a chart of its own at the end.
CHARTS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("Loss", "", ("loss", "val_loss")),
    ("Perplexity", "", ("perplexity",)),
    ("Reward", "", ("reward",)),
    ("KL to the reference", "nats", ("kl",)),
    ("Reward margin", "", ("margin",)),
    ("Accuracy", "", ("accuracy", "val_accuracy")),
    ("Token accuracy", "", ("token_accuracy",)),
    ("Entropy", "nats", ("entropy",)),
    ("Response length", "tokens", ("length",)),
    ("Share of responses that finish", "", ("finished_rate",)),
    ("Policy and value loss", "", ("policy_loss", "value_loss")),
    ("Ratio of new to old policy", "", ("policy_ratio", "first_ratio")),
    ("Share of clipped updates", "", ("clip_fraction",)),
    ("Learning rate", "", ("learning_rate",)),
    ("Gradient norm", "", ("grad_norm",)),
    ("Speed", "tokens/s", ("tokens_per_second",)),
)
COUNTERS = ("tokens", "episodes")  # they only tell the progress once more
LABELS = {
    "loss": "Training loss",
    "val_loss": "Validation loss",
    "kl": "KL",
    "tokens_per_second": "Tokens per second",
    "grad_norm": "Gradient norm",
    "first_ratio": "Ratio before the first update",
    "finished_rate": "Finished",
    "margin": "Reward margin",
    "length": "Response length",
}


@dataclass
class Points:
    """One metric over the run; `rows` tells which row of the file each point came from."""

    rows: list[int] = field(default_factory=list)
    steps: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)


class MetricsFile:
    """What one metrics.jsonl says, kept up to date by `read`."""

    def __init__(self, path: Path):
        self.path = path
        self.lock = Lock()
        self._forget(inode=-1)

    def _forget(self, inode: int) -> None:
        self.inode = inode
        self.offset = 0  # bytes read: up to the end of the last complete line
        self.before = b""  # the last bytes before `offset`
        self.times: list[Any] = []  # of every row
        self.series: dict[str, Points] = {}

    def read(self) -> None:
        """Take in what was appended since; start anew when the file was replaced."""
        if not self.path.exists():
            self._forget(inode=-1)
            return
        with open(self.path, "rb") as file:
            inode = os.fstat(file.fileno()).st_ino
            file.seek(self.offset - len(self.before))
            if inode != self.inode or file.read(len(self.before)) != self.before:
                self._forget(inode)
                file.seek(0)
            appended = file.read()
        complete = appended[: appended.rfind(b"\n") + 1]
        for row in _parse_lines(complete):
            self._add(row)
        self.offset += len(complete)
        self.before = (self.before + complete[-FINGERPRINT_BYTES:])[-FINGERPRINT_BYTES:]

    def _add(self, row: dict[str, Any]) -> None:
        step = row.pop("step", None)
        number = len(self.times)
        self.times.append(row.pop("time", None))
        if type(step) not in (int, float):
            return
        for name, value in row.items():
            if type(value) not in (int, float):  # null: it was not finite
                continue
            points = self.series.get(name)
            if points is None:
                points = self.series[name] = Points()
            points.rows.append(number)
            points.steps.append(step)
            points.values.append(value)

    def latest(self) -> dict[str, float]:
        """The newest value of every metric, in the charts' order."""
        return {name: self.series[name].values[-1] for _, _, names in _grouped(self.series) for name in names}

    def drawn(self, before_row: int | None = None) -> list[tuple[str, str, list[str]]]:
        """The charts worth drawing, from the rows before that one: a single point is a figure, not a curve."""
        return [
            (title, unit, names)
            for title, unit, names in _grouped(self.series)
            if names[0] not in COUNTERS and any(self._points(name, before_row) > 1 for name in names)
        ]

    def _points(self, name: str, before_row: int | None) -> int:
        rows = self.series[name].rows
        return len(rows) if before_row is None else bisect_left(rows, before_row)

    def charts(self, cursor: str = "", max_points: int = MAX_POINTS) -> dict[str, Any]:
        """What a page draws: charts of series of (steps, values), at most `max_points` points each.

        `cursor` is that of an earlier answer: then only newer points come, to be appended, unless the run has been
        cut back meanwhile, in which case `reset` is true and everything comes again.
        """
        start = self._rows_known(cursor)
        known = {title for title, _, _ in self.drawn(start)}
        charts = []
        for title, unit, names in self.drawn():
            lines = [self._line(name, start if title in known else 0, max_points) for name in names]
            charts.append({"title": title, "unit": unit, "series": lines})
        count = len(self.times)
        return {"cursor": f"{count}:{self.times[-1]!r}" if count else "", "reset": start == 0, "charts": charts}

    def _rows_known(self, cursor: str) -> int:
        """How many rows the reader with this cursor has; 0 when they are not (or no longer) the file's first ones."""
        count, _, time = cursor.partition(":")
        if not count.isdecimal() or not 0 < int(count) <= len(self.times):
            return 0
        return int(count) if repr(self.times[int(count) - 1]) == time else 0

    def _line(self, name: str, start: int, max_points: int) -> dict[str, Any]:
        points = self.series[name]
        first = bisect_left(points.rows, start)
        steps, values = downsample(points.steps[first:], points.values[first:], max_points)
        return {"name": name, "label": metric_label(name), "steps": steps, "values": values}


_files: OrderedDict[Path, MetricsFile] = OrderedDict()
_files_lock = Lock()


def _metrics_file(path: Path) -> MetricsFile:
    with _files_lock:
        file = _files.pop(path, None) or MetricsFile(path)
        _files[path] = file
        while len(_files) > KEPT_FILES:
            _files.popitem(last=False)
        return file


def read_charts(path: Path, cursor: str = "", max_points: int = MAX_POINTS) -> dict[str, Any]:
    """The charts of a metrics file; see `MetricsFile.charts`."""
    file = _metrics_file(path)
    with file.lock:
        file.read()
        return file.charts(cursor, max_points)


def read_latest(path: Path) -> dict[str, float]:
    """The newest value of every metric in a metrics file."""
    file = _metrics_file(path)
    with file.lock:
        file.read()
        return file.latest()


def read_titles(path: Path) -> list[str]:
    """The titles of the charts that a metrics file fills, in their order."""
    file = _metrics_file(path)
    with file.lock:
        file.read()
        return [title for title, _, _ in file.drawn()]


def _parse_lines(complete: bytes) -> list[dict[str, Any]]:
    lines = [line for line in complete.split(b"\n") if line]
    try:  # one call for all lines is much faster than one a line
        rows = json.loads(b"[" + b",".join(lines) + b"]")
    except ValueError:  # a torn line that a resumed writer closed with a newline
        rows = [_parse_line(line) for line in lines]
    return [row for row in rows if isinstance(row, dict)]


def _parse_line(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None


def metric_label(name: str) -> str:
    return LABELS.get(name) or name.replace("_", " ").replace("/", ": ").capitalize()


def _grouped(series: dict[str, Any]) -> list[tuple[str, str, list[str]]]:
    charts = [(title, unit, [n for n in names if n in series]) for title, unit, names in CHARTS]
    drawn = {name for _, _, names in charts for name in names}
    rest = [(metric_label(name), "", [name]) for name in series if name not in drawn]
    return [chart for chart in charts + rest if chart[2]]


def downsample(steps: list[float], values: list[float], max_points: int) -> tuple[list[float], list[float]]:
    """At most `max_points` of the points: the first, the last, and each bucket's lowest and highest between them.

    So a spike of one step stays visible however long the run is, which a mean or every n-th point would hide.
    """
    assert max_points >= 4
    n = len(steps)
    if n <= max_points:
        return steps, values
    buckets = (max_points - 2) // 2
    kept = [0]
    for bucket in range(buckets):
        first = 1 + bucket * (n - 2) // buckets
        end = 1 + (bucket + 1) * (n - 2) // buckets
        span = values[first:end]
        kept.extend(sorted({first + span.index(min(span)), first + span.index(max(span))}))
    kept.append(n - 1)
    return [steps[i] for i in kept], [values[i] for i in kept]
