"""Area under the ROC curve with an interval that stays honest near 1 and for small samples."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np


def auroc(truth: Sequence[int], scores: Sequence[float]) -> float:
    """P(a positive scores above a negative), ties one half: the Mann–Whitney statistic over its maximum."""
    from scipy.stats import rankdata

    positive = np.asarray(truth) == 1
    m, n = int(positive.sum()), int((~positive).sum())
    if not m or not n:
        raise ValueError("AUROC needs at least one example with the label and one without it.")
    rank_sum = rankdata(scores)[positive].sum()
    return float((rank_sum - m * (m + 1) / 2) / (m * n))


def auroc_interval(value: float, positives: int, negatives: int, confidence: float = 0.95) -> tuple[float, float]:
    """Newcombe's method 5 (Statistics in Medicine 25, 2006, 559–573): the θ with |θ̂ − θ| = z·√V(θ), where

    V(θ) = θ(1−θ)/(mn) · [1 + k(1−θ)/(2−θ) + kθ/(1+θ)], k = (m+n)/2 − 1, is Hanley and McNeil's variance with the two
    sample sizes evened out. Unlike θ̂ ± z·SE it stays within [0, 1] and has width when θ̂ = 1.
    """
    from scipy.optimize import brentq

    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    k = (positives + negatives) / 2 - 1

    def excess(theta: float) -> float:
        bracket = 1 + k * (1 - theta) / (2 - theta) + k * theta / (1 + theta)
        return (value - theta) ** 2 - z * z * theta * (1 - theta) / (positives * negatives) * bracket

    low = 0.0 if value == 0 else brentq(excess, 0.0, value - 1e-12)
    high = 1.0 if value == 1 else brentq(excess, value + 1e-12, 1.0)
    return float(low), float(high)
