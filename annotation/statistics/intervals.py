"""Estimates with 95 % intervals: Wilson for proportions, bootstrap over clusters for means, paired bootstrap, win rate.

Pure: numpy and the standard library. Judgements of one prompt are not independent of one another, so the unit that is
resampled is the cluster (the prompt, the document), never the single judgement.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

RESAMPLES = 2000


class Interval(NamedTuple):
    """An estimate with its interval. `low` and `high` are None where the data cannot say (a single cluster)."""

    value: float
    low: float | None
    high: float | None
    n: int  # single observations
    clusters: int  # independent units among them


def wilson(successes: float, n: int, confidence: float = 0.95) -> Interval:
    """Wilson score interval of a proportion (Wilson 1927): holds its level also near 0 and 1 and for small n.

    `successes` may be fractional (a tie counts one half), which makes the interval conservative.
    """
    if n < 1:
        raise ValueError("A proportion needs at least one observation.")
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n} are not a proportion.")
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    p = successes / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return Interval(p, low, high, n, n)


def bootstrap_mean(
    values: Sequence[float],
    clusters: Sequence[Hashable] | None = None,
    *,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Percentile bootstrap interval of the mean, whole clusters resampled with replacement.

    The mean is over observations, so a cluster weighs by its size. `clusters` names each value's cluster; without it
    each value is its own.
    """
    sums, counts = _sums_by_cluster(values, clusters)
    value = float(sums.sum() / counts.sum())
    n, k = int(counts.sum()), len(sums)
    if k < 2:
        return Interval(value, None, None, n, k)
    means = _resampled_ratios(sums, counts, resamples, seed)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(value, float(low), float(high), n, k)


def bootstrap_ratio(
    numerators: Sequence[float],
    denominators: Sequence[float],
    *,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Percentile bootstrap interval of Σnumerators / Σdenominators, pairs (a document's loss and tokens) resampled."""
    if len(numerators) != len(denominators) or not len(numerators):
        raise ValueError("A ratio needs as many numerators as denominators, at least one of each.")
    above, below = np.asarray(numerators, dtype=float), np.asarray(denominators, dtype=float)
    value, k = float(above.sum() / below.sum()), len(above)
    if k < 2:
        return Interval(value, None, None, k, k)
    ratios = _resampled_ratios(above, below, resamples, seed)
    low, high = np.quantile(ratios, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(value, float(low), float(high), k, k)


def paired_bootstrap(
    first: Sequence[float],
    second: Sequence[float],
    clusters: Sequence[Hashable] | None = None,
    **settings: float | int,
) -> Interval:
    """Interval of mean(second − first) over the same items in the same order: what the items share cancels out.

    The difference is significant at 1 − confidence when the interval leaves out 0. Settings as in `bootstrap_mean`.
    """
    if len(first) != len(second):
        raise ValueError(f"Paired values must match one to one, but there are {len(first)} and {len(second)}.")
    differences = [b - a for a, b in zip(first, second, strict=True)]
    return bootstrap_mean(differences, clusters, **settings)  # type: ignore[arg-type]


def win_rate(outcomes: Sequence[float], prompts: Sequence[Hashable], **settings: float | int) -> Interval:
    """Share of comparisons won, a tie counting one half, with a bootstrap over prompts.

    `outcomes` are 1 (won), ½ (tie) or 0 (lost), one a comparison; `prompts` names each one's prompt. Where every
    prompt gave the same rate the bootstrap would have no width and claim certainty; then the interval is Wilson's
    with the prompts as observations.
    """
    wrong = sorted(set(outcomes) - {0, 0.5, 1})
    if wrong:
        raise ValueError(f"An outcome is 1 (won), 0.5 (tie) or 0 (lost), not {wrong[0]}.")
    sums, counts = _sums_by_cluster(outcomes, prompts)
    rates = sums / counts
    if np.ptp(rates) == 0:
        k = len(rates)
        _, low, high, _, _ = wilson(float(rates[0]) * k, k, float(settings.get("confidence", 0.95)))
        return Interval(float(rates[0]), low, high, int(counts.sum()), k)
    return bootstrap_mean(outcomes, prompts, **settings)  # type: ignore[arg-type]


def _sums_by_cluster(values: Sequence[float], clusters: Sequence[Hashable] | None) -> tuple[np.ndarray, np.ndarray]:
    """Sum and number of values of each cluster, clusters in order of first appearance."""
    if not len(values):
        raise ValueError("An interval needs at least one value.")
    array = np.asarray(values, dtype=float)
    if clusters is None:
        return array, np.ones(len(array))
    if len(clusters) != len(array):
        raise ValueError(
            f"Each value needs its cluster, but there are {len(array)} values and {len(clusters)} clusters."
        )
    index = {name: i for i, name in enumerate(dict.fromkeys(clusters))}
    which = np.array([index[name] for name in clusters])
    return np.bincount(which, weights=array), np.bincount(which).astype(float)


def _resampled_ratios(sums: np.ndarray, counts: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Σsums/Σcounts of `resamples` draws of whole clusters; in slices, so that memory stays below about 64 MB."""
    generator = np.random.default_rng(seed)
    k = len(sums)
    slice_size = max(1, 4_000_000 // k)
    ratios = []
    for start in range(0, resamples, slice_size):
        drawn = generator.integers(0, k, size=(min(slice_size, resamples - start), k))
        ratios.append(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1))
    return np.concatenate(ratios)
