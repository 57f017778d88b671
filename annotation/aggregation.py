"""Several rankings of one prompt's answers become one set of preferences: who is better than whom, and by how much.

- **every**: each ranking's pairs as they are; people who disagree give opposite pairs.
- **majority**: for each pair the side that more rankings prefer; draws say nothing.
- **bradley_terry**: scores by maximum likelihood from all pairs of the prompt, a tie half a win each way
  (Bradley & Terry 1952). Pairs that were never ranked together stay out, though they help to place the others.
- **plackett_luce**: the same from whole rankings, read from the top: each place is a choice among what is left
  (Luce 1959, Plackett 1975). Equal places choose among the same rest, as Breslow (1974) treats ties.

Both models need a prior, since an answer that never loses would get an infinite score: `choix`' regularisation `alpha`.
For two answers it is the same as 2·alpha further wins each way.

`margin` is 0 … 1: the lead in votes over all votes (majority); 2·P(better wins) - 1 (the models); a third of the
ranking's strength (every), as Llama 2 took 1/3, 2/3, 1 for slightly, clearly and much better. TRL's reward trainer
subtracts it from the difference of the rewards. Pure but for `choix`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import combinations
from math import tanh
from typing import NamedTuple

import numpy as np

from annotation.comparisons import pairs

METHODS = {
    "every": "Every ranking as it is",
    "majority": "Majority for each pair",
    "bradley_terry": "Bradley-Terry scores",
    "plackett_luce": "Plackett-Luce scores",
}
PRIOR = 0.25
STRONGEST = 3  # of `Strength`
SAME_SCORE = 1e-6

Tiers = Sequence[Sequence[int]]
Pattern = tuple[tuple[tuple[int, ...], ...], ...]  # rankings of answers that are numbered from 0


class Preference(NamedTuple):
    chosen: int
    rejected: int
    margin: float
    rankings: tuple[int, ...]  # indices of those it comes from


def preferences(
    rankings: Sequence[Tiers], strengths: Sequence[int | None], method: str = "every", prior: float = PRIOR
) -> list[Preference]:
    """What these rankings of answers to one prompt say by `method`, better answers first.

    Raises ValueError for a method that there is none, or a prior that is not above 0.
    """
    if method not in METHODS:
        raise ValueError(f"Aggregation: '{method}' is none of {', '.join(METHODS)}.")
    if not 0 < prior <= 100:
        raise ValueError("Prior: a number above 0 and up to 100; without one an answer that never loses has no score.")
    if method == "every":
        return [
            Preference(a, b, (strength or 0) / STRONGEST, (index,))
            for index, (tiers, strength) in enumerate(zip(rankings, strengths, strict=True))
            for a, b in pairs(tiers)
        ]
    answers = sorted({answer for tiers in rankings for tier in tiers for answer in tier})
    number = {answer: i for i, answer in enumerate(answers)}
    numbered = [tuple(tuple(sorted(number[a] for a in tier)) for tier in tiers) for tiers in rankings]
    found = _merge(len(answers), tuple(sorted(numbered)), method, prior)
    return [Preference(answers[a], answers[b], margin, _sources(numbered, a, b, method)) for a, b, margin in found]


def _sources(rankings: Sequence[tuple[tuple[int, ...], ...]], a: int, b: int, method: str) -> tuple[int, ...]:
    """The rankings with both answers; scores come from every ranking of two answers or more."""
    ranked = [{answer for tier in tiers for answer in tier} for tiers in rankings]
    if method == "majority":
        return tuple(i for i, names in enumerate(ranked) if {a, b} <= names)
    return tuple(i for i, names in enumerate(ranked) if len(names) > 1)


@lru_cache(maxsize=20_000)
def _merge(size: int, rankings: Pattern, method: str, prior: float) -> list[tuple[int, int, float]]:
    """(better, worse, margin) of answers 0 … size - 1. Rankings of few answers repeat, so it is worth remembering."""
    wins, together = _count_wins(size, rankings)
    if method == "majority":
        margin = (wins - wins.T) / np.maximum(together, 1)
    elif not together.any():
        return []
    else:
        scores = _bradley_terry(wins, prior) if method == "bradley_terry" else _plackett_luce(size, rankings, prior)
        difference = scores[:, None] - scores[None, :]
        margin = np.where(np.abs(difference) < SAME_SCORE, 0.0, [[tanh(d / 2) for d in row] for row in difference])
    return [
        (a, b, round(float(margin[a, b]), 6))
        for a in range(size)
        for b in range(size)
        if together[a, b] and margin[a, b] > 0
    ]


def _count_wins(size: int, rankings: Pattern) -> tuple[np.ndarray, np.ndarray]:
    """(K, K) how often the row's answer beat the column's, a tie ½; and how often both were ranked together."""
    wins = np.zeros((size, size))
    for tiers in rankings:
        for a, b in pairs(tiers):
            wins[a, b] += 1
        for tier in tiers:
            for a, b in combinations(tier, 2):
                wins[a, b] += 0.5
                wins[b, a] += 0.5
    return wins, wins + wins.T


def _bradley_terry(wins: np.ndarray, prior: float) -> np.ndarray:
    import choix

    return choix.ilsr_pairwise_dense(wins, alpha=prior)


def _plackett_luce(size: int, rankings: Pattern, prior: float) -> np.ndarray:
    import choix

    return choix.ilsr_top1(size, _choices(rankings), alpha=prior)


def _choices(rankings: Pattern) -> list[tuple[int, list[int]]]:
    """(chosen, the others it was chosen from), place by place."""
    found = []
    for tiers in rankings:
        for place, tier in enumerate(tiers):
            rest = [answer for later in tiers[place:] for answer in later]
            found += [(answer, [other for other in rest if other != answer]) for answer in tier if len(rest) > 1]
    return found
