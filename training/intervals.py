"""Bootstrap intervals for means of clustered observations. Pure, numpy only inside."""

from __future__ import annotations

from collections.abc import Hashable, Sequence


def cluster_bootstrap_mean(
    values: Sequence[float], clusters: Sequence[Hashable], resamples: int = 2000, seed: int = 0, level: float = 0.95
) -> tuple[float, float]:
    """Percentile interval of the mean of `values`, resampling whole clusters with replacement (Efron & Tibshirani
    1993, ch. 8).

    Answers to one prompt are alike, so the prompt is the unit that is drawn: the mean of a resample is the sum over the
    drawn clusters divided by the number of their values. With one value a cluster it is the ordinary bootstrap.
    """
    import numpy as np

    if len(values) != len(clusters) or not len(values):
        raise ValueError("An interval needs at least one value, and one cluster for each.")
    index = {cluster: i for i, cluster in enumerate(dict.fromkeys(clusters))}
    sums = np.zeros(len(index))
    counts = np.zeros(len(index))
    for value, cluster in zip(values, clusters, strict=True):
        sums[index[cluster]] += value
        counts[index[cluster]] += 1
    draws = np.random.default_rng(seed).integers(len(index), size=(resamples, len(index)))
    means = sums[draws].sum(axis=1) / counts[draws].sum(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
