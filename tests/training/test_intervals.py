import numpy as np
import pytest

from training.intervals import cluster_bootstrap_mean


def test_one_value_a_cluster_is_the_ordinary_bootstrap():
    """100 answers, 80 right: mean 0.8, standard error √(0.8·0.2/100) = 0.04, so 0.8 ± 1.96·0.04 = [0.72, 0.88]."""
    low, high = cluster_bootstrap_mean([1.0] * 80 + [0.0] * 20, range(100), resamples=20000)
    assert (low, high) == (pytest.approx(0.72, abs=0.011), pytest.approx(0.88, abs=0.011))


def test_alike_answers_of_one_prompt_do_not_narrow_the_interval():
    """25 prompts, 20 of them right four times: 100 values, but as uncertain as 25: √(0.8·0.2/25) = 0.08, so [0.64,
    0.96].
    """
    values = [1.0] * 80 + [0.0] * 20
    low, high = cluster_bootstrap_mean(values, [i // 4 for i in range(100)], resamples=20000)
    assert (low, high) == (pytest.approx(0.64, abs=0.021), pytest.approx(0.96, abs=0.021))


def test_clusters_of_unequal_size_weigh_by_their_values():
    """Two clusters, sums 3 of 3 and 0 of 1: resamples are (a, a) → 1, (a, b) → 3/4, (b, b) → 0; nothing else can
    come.
    """
    values, clusters = [1.0, 1.0, 1.0, 0.0], ["a", "a", "a", "b"]
    assert cluster_bootstrap_mean(values, clusters) == (0.0, 1.0)
    draws = np.random.default_rng(0).integers(2, size=(2000, 2)).sum(axis=1)
    ends = np.quantile([{0: 1.0, 1: 0.75, 2: 0.0}[d] for d in draws], [0.3, 0.7])
    assert cluster_bootstrap_mean(values, clusters, level=0.4) == pytest.approx(tuple(ends))


def test_no_values_are_refused():
    with pytest.raises(ValueError, match="at least one value"):
        cluster_bootstrap_mean([], [])
