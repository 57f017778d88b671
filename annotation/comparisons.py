"""What a ranking says: tiers of equals become pairs within their prompt, ties excluded. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import combinations

Tiers = Sequence[Sequence[int]]


def check_tiers(tiers: Tiers, unrankable: Sequence[int], offered: Collection[int]) -> None:
    """Raise ValueError unless every offered completion stands exactly once, in a tier or among the unrankable."""
    named = [completion for tier in tiers for completion in tier] + list(unrankable)
    if any(not tier for tier in tiers):
        raise ValueError("A tier is empty: leave it out.")
    if len(set(named)) != len(named):
        raise ValueError("An answer is ranked twice: name each once.")
    if set(named) - set(offered):
        raise ValueError("The ranking names an answer that was not shown.")
    if set(offered) - set(named):
        raise ValueError("Some answers are not ranked yet: give each a place, or mark it as not rankable.")


def pairs(tiers: Tiers) -> list[tuple[int, int]]:
    """Every (better, worse) that the ranking implies: one a pair of completions from different tiers."""
    return [(a, b) for upper, lower in combinations(tiers, 2) for a in upper for b in lower]


def outcome(tiers: Tiers, a: int, b: int) -> float | None:
    """1 when `a` stands above `b`, 0 when below, ½ when they are tied, None when one of them is not ranked."""
    place = {completion: i for i, tier in enumerate(tiers) for completion in tier}
    if a not in place or b not in place:
        return None
    return 0.5 if place[a] == place[b] else float(place[a] < place[b])
