"""Agreement over time as places on a drawing: points with their intervals, a scale, and dates below."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

from annotation.agreement import Period
from annotation.statistics.intervals import Interval

WIDTH, HEIGHT = 760, 260
LEFT, RIGHT, TOP, BOTTOM = 44, 12, 12, 34
TICKS = (1.0, 0.8, 0.5, 0.0, -0.5, -1.0)
DATES = 8  # labels below, at most
NARROW = 2  # units between raw share and alpha of one period, so that their bars do not lie on one another


@dataclass(frozen=True)
class Point:
    x: float
    y: float
    low: float | None  # y of the interval's ends
    high: float | None
    words: str


@dataclass(frozen=True)
class Series:
    key: str
    label: str
    points: list[Point]

    @property
    def line(self) -> str:
        return " ".join(f"{p.x:.1f},{p.y:.1f}" for p in self.points)


@dataclass(frozen=True)
class Chart:
    series: list[Series]
    ticks: list[tuple[float, str]]  # y and its value
    dates: list[tuple[float, str]]  # x and its date
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    bottom: int = HEIGHT - BOTTOM


def chart_of(periods: list[Period]) -> Chart | None:
    """None with fewer than two periods: one point shows no course."""
    if len(periods) < 2:
        return None
    figures = [f for p in periods for f in (p.agreement.percent, p.agreement.nominal) if f]
    lowest = min([0.0, *(f.value if f.low is None else f.low for f in figures)])
    floor = next((tick for tick in TICKS if tick <= lowest), -1.0)
    first, last = periods[0].start, periods[-1].start
    days = (last - first).days or 1

    def x(day: date) -> float:
        return LEFT + 10 + (WIDTH - LEFT - RIGHT - 20) * (day - first).days / days

    def y(value: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (1 - max(value, floor)) / (1 - floor)

    def points(name: str, shift: float) -> list[Point]:
        found = []
        for period in periods:
            figure: Interval | None = getattr(period.agreement, name)
            if figure is not None:
                ends = (None, None) if figure.low is None else (y(figure.low), y(figure.high))
                found.append(Point(x(period.start) + shift, y(figure.value), *ends, _words(period, figure)))
        return found

    step = max(1, -(-len(periods) // DATES))
    return Chart(
        series=[
            Series("percent", "Raw agreement", points("percent", -NARROW)),
            Series("nominal", "Krippendorff's alpha", points("nominal", NARROW)),
        ],
        ticks=[(y(tick), f"{tick:g}") for tick in TICKS if tick >= floor],
        dates=[(x(p.start), f"{p.start:%-d %b %y}") for p in periods[::step]],
    )


def _words(period: Period, figure: Interval) -> str:
    last = period.end - timedelta(days=1)
    when = f"{period.start:%-d %B %Y}" + (f" to {last:%-d %B %Y}" if last > period.start else "")
    between = "" if figure.low is None else f" ({figure.low:.2f} to {figure.high:.2f})"
    return f"{when}: {figure.value:.2f}{between}, n = {figure.n:,}"
