"""Intervals against hand arithmetic and independent implementations (scipy)."""

import numpy as np
import pytest
from scipy.stats import binomtest, bootstrap

from annotation.statistics.intervals import bootstrap_mean, bootstrap_ratio, paired_bootstrap, wilson, win_rate


def test_wilson_known_value():
    # n = 10, p = 0.8, z = 1.95996: z² = 3.84146
    # centre = (0.8 + 3.84146/20) / (1 + 0.384146) = 0.992073 / 1.384146 = 0.716740
    # half = 1.95996·√(0.8·0.2/10 + 3.84146/400) / 1.384146 = 1.95996·√0.0256036 / 1.384146 = 0.226577
    value, low, high, n, _ = wilson(8, 10)
    assert (value, n) == (0.8, 10)
    assert low == pytest.approx(0.490163, abs=1e-5)
    assert high == pytest.approx(0.943317, abs=1e-5)


@pytest.mark.parametrize(("successes", "n"), [(0, 5), (1, 7), (50, 100), (999, 1000), (3, 3)])
def test_wilson_agrees_with_scipy(successes, n):
    expected = binomtest(successes, n).proportion_ci(0.95, method="wilson")
    _, low, high, _, _ = wilson(successes, n)
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_refuses_what_is_no_proportion():
    with pytest.raises(ValueError, match="at least one"):
        wilson(0, 0)
    with pytest.raises(ValueError, match="not a proportion"):
        wilson(3, 2)


def test_bootstrap_mean_agrees_with_scipy_percentile_bootstrap():
    values = np.random.default_rng(1).normal(2.0, 3.0, size=200)
    ours = bootstrap_mean(values, resamples=20_000, seed=3)
    theirs = bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", rng=5).confidence_interval
    assert ours.value == pytest.approx(values.mean())
    # Both ends are Monte Carlo estimates with a standard error of about 0.006 at 20,000 resamples.
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.03)


def test_clusters_are_the_unit_of_resampling():
    # 40 prompts judged 25 times each, always the same within a prompt: 1,000 judgements carry only 40 observations.
    # se over prompts = √(0.5·0.5/40) = 0.0791, so the half-width is about 1.96·0.0791 = 0.155; naive: 0.031.
    prompts = [p for p in range(40) for _ in range(25)]
    values = [float(p % 2) for p in prompts]
    clustered, naive = bootstrap_mean(values, prompts), bootstrap_mean(values)
    assert (clustered.n, clustered.clusters) == (1000, 40)
    assert (clustered.high - clustered.low) / 2 == pytest.approx(0.155, abs=0.015)
    assert (naive.high - naive.low) / 2 == pytest.approx(0.031, abs=0.004)


def test_mean_weighs_clusters_by_size():
    # (1 + 1 + 1 + 0) / 4 = 0.75, not the mean of cluster means (1 + 0) / 2
    assert bootstrap_mean([1, 1, 1, 0], ["a", "a", "a", "b"]).value == 0.75


def test_one_cluster_has_no_interval():
    assert bootstrap_mean([1, 0, 1, 1], ["a"] * 4)[:3] == (0.75, None, None)


def test_paired_bootstrap_removes_what_the_items_share():
    rng = np.random.default_rng(0)
    difficulty = rng.normal(0, 10, size=400)
    first, second = difficulty + rng.normal(0, 1, 400), difficulty + 0.5 + rng.normal(0, 1, 400)
    # sd of a difference = √2, so the half-width is 1.96·√2/√400 = 0.139 although each model's scores spread by 10
    paired = paired_bootstrap(first, second)
    assert (paired.high - paired.low) / 2 == pytest.approx(0.139, abs=0.015)
    assert paired.low > 0 and paired.low < 0.5 < paired.high
    with pytest.raises(ValueError, match="one to one"):
        paired_bootstrap([1, 2], [1])


def test_win_rate_counts_ties_one_half():
    # 2 wins + 2 ties + 1 loss of 5: (2 + 1) / 5 = 0.6
    result = win_rate([1, 1, 0.5, 0.5, 0], ["p", "q", "r", "s", "t"])
    assert result.value == 0.6
    assert result.low <= 0.6 <= result.high
    with pytest.raises(ValueError, match="not 0.3"):
        win_rate([1, 0.3], ["p", "q"])


def test_win_rate_of_an_undefeated_model_is_not_certain():
    # 12 prompts, all won: Wilson's lower end is n/(n + z²) = 12/15.841 = 0.7575
    result = win_rate([1.0] * 24, [i // 2 for i in range(24)])
    assert (result.value, result.high, result.n, result.clusters) == (1.0, 1.0, 24, 12)
    assert result.low == pytest.approx(0.7575, abs=1e-4)


def test_interval_covers_at_its_level():
    # 300 samples of 60 clusters of 3 with a shared cluster effect; 95 % ± 2·√(.95·.05/300) = ± 2.5 points, and the
    # percentile bootstrap is known to fall a little short at 60 clusters.
    rng = np.random.default_rng(7)
    covered = 0
    for trial in range(300):
        effect = np.repeat(rng.normal(size=60), 3)
        result = bootstrap_mean(effect + rng.normal(size=180), list(np.repeat(range(60), 3)), resamples=400, seed=trial)
        covered += result.low <= 0 <= result.high
    assert 0.90 <= covered / 300 <= 0.98


def test_bootstrap_ratio_weighs_by_the_denominator():
    # (10 + 30) / (5 + 10) = 2.6667; resamples can only give 2 (first twice), 3 (second twice) or 2.6667
    result = bootstrap_ratio([10, 30], [5, 10])
    assert result.value == pytest.approx(40 / 15)
    assert (result.low, result.high) == (2.0, 3.0)
    with pytest.raises(ValueError, match="as many"):
        bootstrap_ratio([1], [])
