"""How a person judges, whatever they judge: do they lean to the longer answer or to the first one, tie, hurry?

Pure. Rates are shares of pairs of answers in rankings. The answers of one ranking are judged in one go, so its pairs
are no independent observations: intervals are Wilson's with the rankings as their number, which errs on the wide side.

- length: Singhal et al. 2023, A Long Way to Go (length correlates with preference in RLHF data)
- position: Wang et al. 2023, Large Language Models are not Fair Evaluators; the same is known of people
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from annotation.comparisons import Tiers, outcome
from annotation.statistics.intervals import Interval, wilson

BINS = (5, 10, 20, 40, 80, 160, 320, 640)  # seconds; the last bin is open


@dataclass(frozen=True)
class Judged:
    """What is looked at of one ranking."""

    tiers: Tiers
    shown: Sequence[int]  # completion ids as they stood on the screen
    seconds: float | None
    unchanged: bool | None  # the shown order was handed in as it was; None: not recorded


@dataclass(frozen=True)
class Habits:
    """Rates with 95 % intervals; None where there is nothing to count."""

    rankings: int
    longer: Interval | None  # pairs won by the longer answer, of those with a winner and two lengths
    first: Interval | None  # pairs won by the one shown first, of those with a winner
    ties: Interval | None  # pairs that are ties
    unchanged: Interval | None  # rankings handed in in the order shown
    hasty: Interval | None  # rankings made in less than `hasty_below` seconds
    quartiles: tuple[float, float, float] | None  # seconds: a quarter, half, three quarters are faster


def habits(judged: Sequence[Judged], lengths: Mapping[int, int], hasty_below: float) -> Habits:
    """`lengths` gives each completion's length in characters; `hasty_below` is in seconds.

    >>> one = Judged([[1], [2]], [2, 1], 30.0, False)
    >>> found = habits([one], {1: 400, 2: 20}, 5)
    >>> found.longer.value, found.first.value, found.ties.value
    (1.0, 0.0, 0.0)
    """
    longer, first, ties = _Share(), _Share(), _Share()
    for ranking in judged:
        won_longer, won_first, tied, decided, unequal, pairs = 0, 0, 0, 0, 0, 0
        for earlier, later in combinations(ranking.shown, 2):
            order = outcome(ranking.tiers, earlier, later)
            if order is None:
                continue
            pairs += 1
            if order == 0.5:
                tied += 1
                continue
            decided += 1
            won_first += order == 1
            winner, loser = (earlier, later) if order == 1 else (later, earlier)
            if winner in lengths and loser in lengths and lengths[winner] != lengths[loser]:
                unequal += 1
                won_longer += lengths[winner] > lengths[loser]
        longer.add(won_longer, unequal)
        first.add(won_first, decided)
        ties.add(tied, pairs)
    timed = [ranking.seconds for ranking in judged if ranking.seconds is not None]
    known = [ranking.unchanged for ranking in judged if ranking.unchanged is not None]
    return Habits(
        rankings=len(judged),
        longer=longer.interval(),
        first=first.interval(),
        ties=ties.interval(),
        unchanged=wilson(sum(known), len(known)) if known else None,
        hasty=wilson(sum(seconds < hasty_below for seconds in timed), len(timed)) if timed else None,
        quartiles=tuple(float(q) for q in np.quantile(timed, [0.25, 0.5, 0.75])) if timed else None,  # type: ignore[arg-type]
    )


class _Share:
    """A share of pairs, and how many rankings the pairs came from."""

    def __init__(self) -> None:
        self.hits = self.pairs = self.rankings = 0

    def add(self, hits: int, pairs: int) -> None:
        self.hits += hits
        self.pairs += pairs
        self.rankings += pairs > 0

    def interval(self) -> Interval | None:
        """The share of the pairs, as wide as if each ranking were one observation; `n` counts the pairs."""
        if not self.pairs:
            return None
        value = self.hits / self.pairs
        _, low, high, _, _ = wilson(min(value * self.rankings, self.rankings), self.rankings)
        return Interval(value, low, high, self.pairs, self.rankings)


def differs(one: Interval | None, other: Interval | None) -> bool:
    """Whether two intervals have nothing in common: a difference that chance hardly makes."""
    if one is None or other is None or None in (one.low, one.high, other.low, other.high):
        return False
    return one.low > other.high or one.high < other.low  # type: ignore[operator]


def histogram(seconds: Sequence[float]) -> list[tuple[str, int]]:
    """How many fall below 5, 10, 20, … seconds: (label, count) from fast to slow."""
    edges = [0, *BINS, np.inf]
    counts, _ = np.histogram(list(seconds), bins=edges)
    labels = [f"under {BINS[0]} s", *(f"{a}–{b} s" for a, b in zip(BINS, BINS[1:], strict=False)), f"over {BINS[-1]} s"]
    return [(label, int(n)) for label, n in zip(labels, counts, strict=True)]
