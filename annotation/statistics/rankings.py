"""Rankings of the same answers by several people, as arrays that agreement is counted on.

An *item* is a set of answers that people ranked; its `cluster` (the prompt) is what a bootstrap resamples. Shapes:
R rankings, P pairs of rankings of one item, C clusters, V values.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

NEIGHBOURS = 10  # an item judged by more than 21 people: each ranking is compared with 20 others, not with all
CHUNK = 4_000_000  # cells of a temporary array
MISSING = 2  # a sign that is not known: one of the two answers was not rankable

# Columns of `Rankings.pair_counts`: a ranking's verdict on two answers beside the other's, whichever is named first.
SAME, OPPOSITE, FIRST_ONLY, SECOND_ONLY, BOTH_TIE = range(5)


class Ranking(NamedTuple):
    """One person's order of an item's answers; answers in no tier could not be ranked."""

    item: Hashable
    cluster: Hashable
    rater: Hashable
    tiers: Sequence[Sequence[int]]  # best first
    unrankable: Sequence[int] = ()

    @property
    def answers(self) -> tuple[int, ...]:
        return tuple(sorted([answer for tier in self.tiers for answer in tier] + list(self.unrankable)))


@dataclass(frozen=True)
class Rankings:
    """The arrays. Items that one person alone ranked are not in them."""

    source_R: np.ndarray  # index of each ranking in what `tabulate` was given
    rater_R: np.ndarray  # codes of `raters`
    item_R: np.ndarray
    cluster_R: np.ndarray
    raters: list[Hashable]
    items: list[Hashable]
    clusters: int
    left_P: np.ndarray  # indices of rankings; left's rater and right's differ
    right_P: np.ndarray
    pair_counts: np.ndarray  # (P, 5): pairs of answers, see SAME …
    verdicts: np.ndarray  # (n, 3): ranking, unit (a pair of answers), sign: 1 the first is better, -1, 0 a tie
    ranks: np.ndarray  # (n, 3): ranking, unit (an answer), code of its rank
    rank_values: np.ndarray  # doubled mid-ranks, ascending: 2 is the first place, 3 a tie for first and second, …

    def __len__(self) -> int:
        return len(self.source_R)


def mid_ranks(tiers: Sequence[Sequence[int]]) -> dict[int, int]:
    """Twice the mean place of each answer: [[7], [8, 9]] is {7: 2, 8: 5, 9: 5}."""
    found, above = {}, 0
    for tier in tiers:
        for answer in tier:
            found[answer] = 2 * above + len(tier) + 1
        above += len(tier)
    return found


def tabulate(rankings: Sequence[Ranking]) -> Rankings:
    """Arrays of those rankings whose item at least two different raters ranked; of a rater's several the last counts.

    Rankings of one item must be of the same answers.
    """
    newest = {(r.item, r.rater): i for i, r in enumerate(rankings)}
    members: dict[Hashable, list[int]] = {}
    for (item, _), index in newest.items():
        members.setdefault(item, []).append(index)
    members = {item: sorted(indices) for item, indices in members.items() if len(indices) > 1}

    source: list[int] = []
    item_codes: list[int] = []
    blocks: dict[int, list[int]] = {}  # rankings (by place in `source`) by the number of answers
    for code, indices in enumerate(members.values()):
        size = len(rankings[indices[0]].answers)
        blocks.setdefault(size, []).extend(range(len(source), len(source) + len(indices)))
        source += indices
        item_codes += [code] * len(indices)
    raters, rater_codes = _encode([rankings[i].rater for i in source])
    clusters, cluster_codes = _encode([rankings[i].cluster for i in source])
    item_R = np.array(item_codes, dtype=np.int64)
    left_P, right_P = _pairs_of(item_R)
    verdicts, ranks, counts = _judge(rankings, source, blocks, item_R, left_P, right_P)
    values, codes = np.unique(ranks[:, 2], return_inverse=True)
    ranks[:, 2] = codes
    return Rankings(
        source_R=np.array(source, dtype=np.int64), rater_R=rater_codes, item_R=item_R, cluster_R=cluster_codes,
        raters=raters, items=list(members), clusters=len(clusters), left_P=left_P, right_P=right_P,
        pair_counts=counts, verdicts=verdicts, ranks=ranks, rank_values=values,
    )  # fmt: skip


def _encode(values: Sequence[Hashable]) -> tuple[list[Any], np.ndarray]:
    index = {value: i for i, value in enumerate(dict.fromkeys(values))}
    return list(index), np.array([index[v] for v in values], dtype=np.int64)


def _pairs_of(item_R: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every pair of rankings of one item (they stand side by side); a ring of neighbours where they are many."""
    starts = np.flatnonzero(np.r_[True, item_R[1:] != item_R[:-1]]) if len(item_R) else np.zeros(0, dtype=np.int64)
    sizes = np.diff(np.r_[starts, len(item_R)])
    left, right = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
    for size in np.unique(sizes):
        first = starts[sizes == size][:, None]
        if size <= 2 * NEIGHBOURS + 1:
            a, b = np.array(list(combinations(range(size), 2))).T
        else:
            a = np.repeat(np.arange(size), NEIGHBOURS)
            b = (a + np.tile(np.arange(1, NEIGHBOURS + 1), size)) % size
        left.append((first + a).ravel())
        right.append((first + b).ravel())
    return np.concatenate(left), np.concatenate(right)


def _judge(
    rankings: Sequence[Ranking],
    source: list[int],
    blocks: dict[int, list[int]],
    item_R: np.ndarray,
    left_P: np.ndarray,
    right_P: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`verdicts`, `ranks` and `pair_counts`, one number of answers (K) after the other."""
    verdicts, ranks = [np.zeros((0, 3), dtype=np.int64)], [np.zeros((0, 3), dtype=np.int64)]
    counts = np.zeros((len(left_P), 5), dtype=np.int64)
    place_in_block = np.zeros(len(source), dtype=np.int64)
    units_before = {"verdicts": 0, "ranks": 0}
    for size, members in blocks.items():
        rows = np.array(members)
        rank_RK = np.array([_rank_row(rankings[source[i]]) for i in members], dtype=np.float64).reshape(-1, size)
        place_in_block[rows] = np.arange(len(rows))
        _, local_item = np.unique(item_R[rows], return_inverse=True)
        first, second = (np.array(side, dtype=np.int64) for side in zip(*combinations(range(size), 2), strict=True))
        difference = rank_RK[:, second] - rank_RK[:, first]
        sign = np.where(np.isnan(difference), MISSING, np.sign(difference)).astype(np.int8)
        verdicts.append(_long(rows, local_item, sign, sign != MISSING, units_before["verdicts"]))
        ranks.append(_long(rows, local_item, rank_RK, ~np.isnan(rank_RK), units_before["ranks"]))
        units_before["verdicts"] += (local_item.max() + 1) * len(first)
        units_before["ranks"] += (local_item.max() + 1) * size
        of_block = np.flatnonzero(np.isin(left_P, rows))
        for part in np.array_split(of_block, max(1, len(of_block) * len(first) // CHUNK)):
            counts[part] = _count(sign[place_in_block[left_P[part]]], sign[place_in_block[right_P[part]]])
    return np.concatenate(verdicts), np.concatenate(ranks), counts


def _rank_row(ranking: Ranking) -> list[float]:
    ranks = mid_ranks(ranking.tiers)
    return [ranks.get(answer, np.nan) for answer in ranking.answers]


def _long(rows: np.ndarray, item: np.ndarray, values: np.ndarray, known: np.ndarray, offset: int) -> np.ndarray:
    """(ranking, unit, value) of each known cell; the unit is the item's column, counted on from `offset`."""
    at, column = np.nonzero(known)
    return np.column_stack([rows[at], offset + item[at] * values.shape[1] + column, values[at, column]]).astype(
        np.int64
    )


def _count(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """(P, 5) from the signs (P, pairs of answers) of both."""
    both = (left != MISSING) & (right != MISSING)
    decided_left, decided_right = both & (left != 0), both & (right != 0)
    decided = decided_left & decided_right
    same = decided & (left == right)
    columns = (
        same, decided & ~same, decided_left & ~decided_right, decided_right & ~decided_left,
        both & ~decided_left & ~decided_right,
    )  # fmt: skip
    return np.column_stack([c.sum(axis=1) for c in columns])
