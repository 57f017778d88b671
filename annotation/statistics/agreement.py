"""How far people agree on rankings: raw share, Krippendorff's alpha, Cohen's kappa, Kendall's tau-b, with intervals.

Pure. A verdict on two answers is *first better*, *second better* or *a tie*. Which of two answers is called the first
is arbitrary, so nominal alpha and kappa look at each pair from both sides; swapping the names changes nothing, and a
project in which one model's answers nearly always win is not taken for one whose people agree by chance.

Intervals are 95 % percentile bootstrap intervals: whole clusters (prompts, with everything that was judged on them) are
drawn with replacement. Where no draw differs (nobody disagrees, a single prompt) there is none.

- Krippendorff 2011, Computing Krippendorff's alpha-reliability; Hayes & Krippendorff 2007 for the bootstrap's purpose
- Cohen 1960, A coefficient of agreement for nominal scales
- Kendall 1945, The treatment of ties in ranking problems (tau-b)
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from annotation.statistics.intervals import Interval, wilson
from annotation.statistics.rankings import (
    BOTH_TIE,
    FIRST_ONLY,
    OPPOSITE,
    SAME,
    SECOND_ONLY,
    Ranking,
    Rankings,
    tabulate,
)

RESAMPLES = 400
CELLS = 4_000_000  # the `krippendorff` library's temporary arrays have units × values² of them
DRAWN = 8_000_000  # weights held at a time: 64 MB
VERDICTS = 3  # first better, a tie, second better

__all__ = ["Agreement", "Ranking", "alpha_of_coincidences", "measure", "measure_raters", "tabulate", "tau_b"]


@dataclass(frozen=True)
class Agreement:
    """Agreement among some rankings. A figure is None where it cannot be said; `n` is what each is counted on."""

    judgements: int  # rankings of items that somebody else ranked too
    items: int
    prompts: int
    people: int
    percent: Interval | None  # n: verdicts on two answers, compared between two people
    nominal: Interval | None  # Krippendorff's alpha; n: verdicts
    ordinal: Interval | None  # … on ranks; n: ranked answers
    kappa: Interval | None  # Cohen's, of one person against another (or the others)
    tau: Interval | None  # mean of Kendall's tau-b; n: pairs of rankings

    def as_dict(self) -> dict[str, Any]:
        figures = {
            "percent_agreement": self.percent,
            "krippendorff_alpha_nominal": self.nominal,
            "krippendorff_alpha_ordinal": self.ordinal,
            "cohen_kappa": self.kappa,
            "kendall_tau_b": self.tau,
        }
        return {
            "judgements": self.judgements,
            "items": self.items,
            "prompts": self.prompts,
            "annotators": self.people,
            **{name: _interval_dict(figure) for name, figure in figures.items()},
        }


def _interval_dict(figure: Interval | None) -> dict[str, Any] | None:
    if figure is None:
        return None
    return {"value": figure.value, "low": figure.low, "high": figure.high, "n": figure.n, "prompts": figure.clusters}


def measure(
    table: Rankings, members: np.ndarray | None = None, *, resamples: int = RESAMPLES, seed: int = 0
) -> Agreement:
    """Agreement among all rankings of `table`, or among those where the boolean array `members` (R) is true."""
    if members is None:
        members = np.ones(len(table), dtype=bool)
    pairs = np.flatnonzero(members[table.left_P] & members[table.right_P])
    clusters = _Clusters(table, np.flatnonzero(members))
    nominal = _coincidences_of_verdicts(table, members, clusters)
    ordinal = _coincidences_of_ranks(table, members, clusters)
    sums = _sums_of_pairs(table, pairs, clusters)
    draws = clusters.draws(resamples, seed) if len(pairs) else None
    shared = np.unique(np.concatenate([table.left_P[pairs], table.right_P[pairs]]))
    return Agreement(
        **_counts(table, shared),
        percent=_percent(sums, draws),
        nominal=nominal.interval(draws),
        ordinal=ordinal.interval(draws),
        kappa=None,
        tau=_mean_tau(sums, draws),
    )


def measure_raters(
    table: Rankings, pairs: np.ndarray, of: np.ndarray | None = None, *, resamples: int = RESAMPLES, seed: int = 0
) -> Agreement:
    """Agreement between two sides: `pairs` are indices of pairs of rankings (P), the left side against the right.

    `of` (as long as `pairs`) is true where the sides are to be swapped: the right ranking is that of whom it is about.
    Kappa is the two sides' (the others taken as one); alpha is not defined for it.
    """
    rankings = np.unique(np.concatenate([table.left_P[pairs], table.right_P[pairs]]))
    clusters = _Clusters(table, rankings)
    sums = _sums_of_pairs(table, pairs, clusters, of)
    draws = clusters.draws(resamples, seed) if len(pairs) else None
    return Agreement(
        **_counts(table, rankings), percent=_percent(sums, draws), nominal=None, ordinal=None,
        kappa=_kappa(sums, draws), tau=_mean_tau(sums, draws),
    )  # fmt: skip


def _counts(table: Rankings, rankings: np.ndarray) -> dict[str, int]:
    return {
        "judgements": len(rankings),
        "items": len(np.unique(table.item_R[rankings])),
        "prompts": len(np.unique(table.cluster_R[rankings])),
        "people": len(np.unique(table.rater_R[rankings])),
    }


# Resampling


class _Clusters:
    """The prompts of some rankings, numbered from 0, and draws of them with replacement."""

    def __init__(self, table: Rankings, rankings: np.ndarray) -> None:
        self.codes, _ = np.unique(table.cluster_R[rankings], return_inverse=True)
        self.cluster_R = table.cluster_R

    def __len__(self) -> int:
        return len(self.codes)

    def of(self, rankings: np.ndarray) -> np.ndarray:
        return np.searchsorted(self.codes, self.cluster_R[rankings])

    def draws(self, resamples: int, seed: int) -> list[np.ndarray]:
        """How often each cluster is in each draw: arrays (some resamples, C), `resamples` rows in all."""
        size = len(self)
        if size < 2:
            return []
        generator = np.random.default_rng(seed)
        rows = max(1, DRAWN // size)
        found = []
        for start in range(0, resamples, rows):
            some = min(rows, resamples - start)
            drawn = [np.bincount(generator.integers(0, size, size), minlength=size) for _ in range(some)]
            found.append(np.array(drawn, dtype=np.float64))
        return found


def _range(draws: list[np.ndarray] | None, statistic: Any, sums: Any) -> tuple[float | None, float | None]:
    """2.5 and 97.5 % quantiles of `statistic` of the resampled sums; None where the draws do not differ."""
    if not draws:
        return None, None
    values = np.concatenate([statistic(_drawn(weights, sums)) for weights in draws])
    values = values[np.isfinite(values)]
    if len(values) < 2 or np.ptp(values) < 1e-12:
        return None, None
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def _drawn(weights: np.ndarray, sums: Any) -> np.ndarray:
    return (sums.T @ weights.T).T if sparse.issparse(sums) else weights @ sums


# What is counted on pairs of rankings


def _sums_of_pairs(
    table: Rankings, pairs: np.ndarray, clusters: _Clusters, swapped: np.ndarray | None = None
) -> np.ndarray:
    """(C, 7): the five counts, Σ tau-b and how many taus there are, of each cluster."""
    counts = table.pair_counts[pairs].astype(np.float64)
    if swapped is not None:
        counts[swapped] = counts[swapped][:, [SAME, OPPOSITE, SECOND_ONLY, FIRST_ONLY, BOTH_TIE]]
    tau = tau_b(counts)
    columns = np.column_stack([counts, np.nan_to_num(tau), np.isfinite(tau)])
    which = clusters.of(table.left_P[pairs])
    return np.column_stack([np.bincount(which, weights=c, minlength=len(clusters)) for c in columns.T])


def tau_b(counts: np.ndarray) -> np.ndarray:
    """Kendall's tau-b of each pair of rankings (P, 5): (concordant - discordant) / √(untied left · untied right).

    nan where one of the two ties everything.
    """
    decided = counts[..., SAME] + counts[..., OPPOSITE]
    left, right = decided + counts[..., FIRST_ONLY], decided + counts[..., SECOND_ONLY]
    with np.errstate(invalid="ignore", divide="ignore"):
        return (counts[..., SAME] - counts[..., OPPOSITE]) / np.sqrt(left * right)


def _percent(sums: np.ndarray, draws: list[np.ndarray] | None) -> Interval | None:
    def share(s: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            return (s[:, SAME] + s[:, BOTH_TIE]) / s[:, :5].sum(axis=1)

    total = sums.sum(axis=0, keepdims=True)
    n = int(total[0, :5].sum())
    if not n:
        return None
    value = float(share(total)[0])
    prompts = int((sums[:, :5].sum(axis=1) > 0).sum())
    low, high = _range(draws, share, sums)
    if low is None and prompts > 1:  # all prompts alike: the bootstrap would claim certainty
        _, low, high, _, _ = wilson(value * prompts, prompts)
    return Interval(value, low, high, n, prompts)


def _mean_tau(sums: np.ndarray, draws: list[np.ndarray] | None) -> Interval | None:
    def mean(s: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            return s[:, 5] / s[:, 6]

    total = sums.sum(axis=0, keepdims=True)
    if not total[0, 6]:
        return None
    return Interval(float(mean(total)[0]), *_range(draws, mean, sums), int(total[0, 6]), int((sums[:, 6] > 0).sum()))


def _kappa(sums: np.ndarray, draws: list[np.ndarray] | None) -> Interval | None:
    """Cohen's kappa of the two sides, each pair of answers seen from both of its sides."""
    total = sums.sum(axis=0)
    if not total[:5].sum():
        return None
    value = _kappa_of_library(total)
    if not np.isfinite(value):
        return None
    prompts = int((sums[:, :5].sum(axis=1) > 0).sum())
    return Interval(value, *_range(draws, kappa_of_counts, sums), int(total[:5].sum()), prompts)


def _kappa_of_library(counts: np.ndarray) -> float:
    from sklearn.metrics import cohen_kappa_score  # a second's import, needed for tables of people only

    one, other = np.indices((VERDICTS, VERDICTS))
    with warnings.catch_warnings():  # both sides always gave the same single verdict: undefined, and told as that
        warnings.simplefilter("ignore")
        return float(
            cohen_kappa_score(one.ravel(), other.ravel(), labels=[0, 1, 2], sample_weight=_confusion(counts).ravel())
        )


def _confusion(counts: np.ndarray) -> np.ndarray:
    """(3, 3), left by right: better, tie, worse. Each pair of answers is in it from both sides."""
    same, opposite, left, right, ties = counts[:5]
    return np.array([[same, left, opposite], [right, 2 * ties, right], [opposite, left, same]])


def kappa_of_counts(s: np.ndarray) -> np.ndarray:
    """The same for many (…, 5+) counts at once, as resampling needs it: (observed - chance) / (1 - chance)."""
    n = s[:, :5].sum(axis=1)
    decided = s[:, SAME] + s[:, OPPOSITE]
    with np.errstate(invalid="ignore", divide="ignore"):
        left, right = (decided + s[:, FIRST_ONLY]) / n, (decided + s[:, SECOND_ONLY]) / n
        chance = left * right / 2 + (1 - left) * (1 - right)
        return ((s[:, SAME] + s[:, BOTH_TIE]) / n - chance) / (1 - chance)


# Krippendorff's alpha


@dataclass(frozen=True)
class _Coincidences:
    counts: np.ndarray  # (units, V): how many gave each value; units with two values or more
    level: str
    by_cluster: sparse.csr_matrix  # (C, V·V)
    n: int  # judgements behind it

    def interval(self, draws: list[np.ndarray] | None) -> Interval | None:
        size = self.counts.shape[1]
        if not len(self.counts) or (self.counts.sum(axis=0) > 0).sum() < 2:
            return None  # nobody could have differed: everybody always gave the same value
        if self.counts.size * size <= CELLS:
            import krippendorff

            value = float(krippendorff.alpha(value_counts=self.counts, level_of_measurement=self.level))
        else:
            value = float(self._alphas(np.asarray(self.by_cluster.sum(axis=0)))[0])
        prompts = int((self.by_cluster.getnnz(axis=1) > 0).sum())
        return Interval(value, *_range(draws, self._alphas, self.by_cluster), self.n, prompts)

    def _alphas(self, cells: np.ndarray) -> np.ndarray:
        size = self.counts.shape[1]
        return alpha_of_coincidences(cells.reshape(-1, size, size), self.level)


def alpha_of_coincidences(o: np.ndarray, level: str) -> np.ndarray:
    """Krippendorff's alpha of each coincidence matrix (…, V, V), values ascending; `level` nominal or ordinal.

    1 - D_observed / D_expected; nan where only one value occurs. Resampling takes thousands of them, which the
    `krippendorff` library (it gives the estimate itself) would compute one by one.
    """
    n_v = o.sum(axis=-1)
    n = n_v.sum(axis=-1)[..., None, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        expected = (n_v[..., :, None] * n_v[..., None, :] - np.eye(o.shape[-1]) * n_v[..., None, :]) / (n - 1)
        distance = 1 - np.eye(o.shape[-1]) if level == "nominal" else _ordinal_distance(n_v)
        return 1 - (o * distance).sum(axis=(-1, -2)) / (expected * distance).sum(axis=(-1, -2))


def _ordinal_distance(n_v: np.ndarray) -> np.ndarray:
    """(Σ of n from one value to the other, both included, less half of both)²: differences of cumulative mid-counts."""
    middle = np.cumsum(n_v, axis=-1) - n_v / 2
    return (middle[..., :, None] - middle[..., None, :]) ** 2


def _coincidences_of_verdicts(table: Rankings, members: np.ndarray, clusters: _Clusters) -> _Coincidences:
    verdicts = table.verdicts[members[table.verdicts[:, 0]]]
    counts, unit_clusters = _unit_counts(verdicts[:, 1], verdicts[:, 2] + 1, VERDICTS, verdicts[:, 0], clusters)
    both_sides = np.concatenate([counts, counts[:, ::-1]])
    return _coincidences(both_sides, np.tile(unit_clusters, 2), len(clusters), "nominal", int(counts.sum()))


def _coincidences_of_ranks(table: Rankings, members: np.ndarray, clusters: _Clusters) -> _Coincidences:
    ranks = table.ranks[members[table.ranks[:, 0]]]
    counts, unit_clusters = _unit_counts(ranks[:, 1], ranks[:, 2], len(table.rank_values), ranks[:, 0], clusters)
    return _coincidences(counts, unit_clusters, len(clusters), "ordinal", int(counts.sum()))


def _unit_counts(
    units: np.ndarray, values: np.ndarray, size: int, rankings: np.ndarray, clusters: _Clusters
) -> tuple[np.ndarray, np.ndarray]:
    """(units, V) of the units with two values or more, and the cluster of each."""
    codes, first, which = np.unique(units, return_index=True, return_inverse=True)
    counts = np.bincount(which * size + values, minlength=len(codes) * size).reshape(len(codes), size)
    paired = counts.sum(axis=1) > 1
    return counts[paired], clusters.of(rankings[first[paired]])


def _coincidences(counts: np.ndarray, unit_clusters: np.ndarray, clusters: int, level: str, n: int) -> _Coincidences:
    """Each unit of m values adds n_c·n_k / (m - 1) to cell (c, k), n_c·(n_c - 1) / (m - 1) to cell (c, c)."""
    size = counts.shape[1]
    total = sparse.csr_matrix((clusters, size * size))
    rows = max(1, CELLS // max(1, size * size))
    for start in range(0, len(counts), rows):
        n_UV = counts[start : start + rows].astype(np.float64)
        cells = n_UV[:, :, None] * n_UV[:, None, :] - n_UV[:, :, None] * np.eye(size)
        cells /= (n_UV.sum(axis=1) - 1)[:, None, None]
        some = sparse.csr_matrix(cells.reshape(len(n_UV), -1))
        place = unit_clusters[start : start + rows]
        gather = sparse.csr_matrix((np.ones(len(place)), (place, np.arange(len(place)))), (clusters, len(place)))
        total = total + gather @ some
    return _Coincidences(counts, level, total, n)
