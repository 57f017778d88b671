"""AUROC against hand arithmetic, scikit-learn, and its interval's coverage."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from training.scorers.auroc import auroc, auroc_interval


def test_known_value_with_a_tie():
    # positives 0.9, 0.5; negatives 0.5, 0.1: pairs won 0.9>0.5, 0.9>0.1, 0.5>0.1, one tie: (3 + ½) / 4 = 0.875
    assert auroc([1, 1, 0, 0], [0.9, 0.5, 0.5, 0.1]) == 0.875


def test_agrees_with_scikit_learn():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, 500)
    scores = np.round(truth + rng.normal(0, 1, 500), 1)  # rounding makes ties
    assert auroc(truth, scores) == pytest.approx(roc_auc_score(truth, scores), abs=1e-12)


def test_one_class_alone_has_none():
    with pytest.raises(ValueError, match="at least one example with"):
        auroc([1, 1], [0.1, 0.2])


def test_interval_solves_its_equation():
    # at either end (θ̂ − θ)² = z²·V(θ); written out for θ̂ = 0.8, m = 20, n = 30, so k = 24
    low, high = auroc_interval(0.8, 20, 30)
    for theta in (low, high):
        variance = theta * (1 - theta) / 600 * (1 + 24 * (1 - theta) / (2 - theta) + 24 * theta / (1 + theta))
        assert (0.8 - theta) ** 2 == pytest.approx(1.959964**2 * variance, rel=1e-5)
    assert low < 0.8 < high


def test_a_perfect_score_is_not_certain():
    low, high = auroc_interval(1.0, 10, 10)
    assert high == 1.0 and 0.7 < low < 0.95


def test_interval_covers_at_its_level():
    # scores N(1, 1) against N(0, 1): AUROC = Φ(1/√2) = 0.76025; 400 samples, 95 % ± 2·√(.95·.05/400) = ± 2.2 points
    rng = np.random.default_rng(3)
    covered = 0
    for _ in range(400):
        scores = np.concatenate([rng.normal(1, 1, 25), rng.normal(0, 1, 35)])
        low, high = auroc_interval(auroc([1] * 25 + [0] * 35, scores), 25, 35)
        covered += low <= 0.76025 <= high
    assert 0.925 <= covered / 400 <= 0.98
