"""Agreement on small examples whose arithmetic is shown, and against independent implementations."""

from __future__ import annotations

import random
from itertools import combinations

import krippendorff
import numpy as np
import pytest
from scipy.stats import kendalltau
from sklearn.metrics import cohen_kappa_score

from annotation.comparisons import outcome
from annotation.statistics.agreement import alpha_of_coincidences, kappa_of_counts, measure, measure_raters, tau_b
from annotation.statistics.rankings import NEIGHBOURS, Ranking, mid_ranks, tabulate

NAN = np.nan
# Krippendorff 2011, example C: four observers, twelve units, some missing.
OBSERVED = np.array([
    [1, 2, 3, 3, 2, 1, 4, 1, 2, NAN, NAN, NAN],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NAN, 3],
    [NAN, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NAN],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NAN],
])  # fmt: skip


def random_rankings(seed: int, items: int = 60, judges: int = 3, answers: int = 4, people: int = 6) -> list[Ranking]:
    """Orders that agree somewhat, with ties and answers that could not be ranked; two items a prompt."""
    rng = random.Random(seed)
    found = []
    for item in range(items):
        for rater in rng.sample(range(people), judges):
            order = sorted(range(item * answers, (item + 1) * answers), key=lambda a: a + rng.gauss(0, 1.5))
            unrankable = [order.pop()] if rng.random() < 0.1 and answers > 2 else []
            tiers = [[a] for a in order]
            if rng.random() < 0.3:
                tiers = [tiers[0] + tiers[1], *tiers[2:]]
            found.append(Ranking(item, item // 2, rater, tiers, unrankable))
    return found


def test_krippendorffs_own_example():
    """n = 40, n_c = 9, 13, 10, 5, 3; agreeing pairs 7 + 10 + 8 + 4 + 3 = 32.

    nominal: (39·32 - Σ n_c(n_c - 1)) / (40·39 - Σ n_c(n_c - 1)) = (1248 - 344) / (1560 - 344) = 904/1216 = 0.743.
    The paper gives 0.815 for ordinal.
    """
    third = 1 / 3
    coincidences = np.array([
        [7, 4 * third, third, third, 0],
        [4 * third, 10, 4 * third, third, 0],
        [third, 4 * third, 8, third, 0],
        [third, third, third, 4, 0],
        [0, 0, 0, 0, 3],
    ])  # fmt: skip
    assert coincidences.sum() == pytest.approx(40)
    assert alpha_of_coincidences(coincidences, "nominal") == pytest.approx(904 / 1216)
    assert alpha_of_coincidences(coincidences, "ordinal") == pytest.approx(0.815, abs=5e-4)
    for level in ("nominal", "ordinal"):
        expected = krippendorff.alpha(reliability_data=OBSERVED, level_of_measurement=level)
        assert alpha_of_coincidences(coincidences, level) == pytest.approx(expected)


def test_two_people_by_hand():
    """Four pairs of answers, two people: they agree on three, and differ on one.

    Each pair is seen from both sides: 16 values, 8 of each kind. Disagreement observed: 4 of 16 values; expected:
    2·8·8 / (16·15). alpha = 1 - (4/16) / (128/240) = 1 - 0.25/0.5333 = 0.53125.
    Kappa: observed 3/4, by chance 1/2: (0.75 - 0.5) / 0.5 = 0.5. tau: (1 + 1 + 1 - 1) / 4.
    """
    rankings = [Ranking(i, i, rater, [[2 * i], [2 * i + 1]]) for i in range(4) for rater in "AB"]
    rankings[-1] = Ranking(3, 3, "B", [[7], [6]])
    table = tabulate(rankings)
    found = measure(table)
    assert found.nominal.value == pytest.approx(0.53125)
    assert found.percent.value == 0.75 and found.percent.n == 4 and found.percent.clusters == 4
    assert found.tau.value == 0.5
    assert (found.judgements, found.items, found.prompts, found.people) == (8, 4, 4, 2)
    assert measure_raters(table, np.arange(4)).kappa.value == pytest.approx(0.5)


@pytest.mark.parametrize("answers", [2, 3, 5])
def test_alpha_as_the_library_gives_it_for_the_raw_values(answers):
    rankings = random_rankings(answers, answers=answers)
    people = sorted({r.rater for r in rankings})
    by_unit: dict = {}
    ranks: dict = {}
    for r in rankings:
        for a, b in combinations(r.answers, 2):
            for first, second in ((a, b), (b, a)):
                value = outcome(r.tiers, first, second)
                by_unit.setdefault((r.item, first, second), {})[r.rater] = NAN if value is None else value
        for answer, rank in mid_ranks(r.tiers).items():
            ranks.setdefault((r.item, answer), {})[r.rater] = rank
    found = measure(tabulate(rankings))
    for units, level, figure in ((by_unit, "nominal", found.nominal), (ranks, "ordinal", found.ordinal)):
        data = [[unit.get(person, NAN) for unit in units.values()] for person in people]
        assert figure.value == pytest.approx(krippendorff.alpha(reliability_data=data, level_of_measurement=level))
        assert figure.low < figure.value < figure.high


def test_large_tables_give_what_the_library_gives(monkeypatch):
    table = tabulate(random_rankings(5, answers=5))
    expected = measure(table)
    monkeypatch.setattr("annotation.statistics.agreement.CELLS", 0)
    found = measure(table)
    assert found.nominal.value == pytest.approx(expected.nominal.value, abs=1e-12)
    assert found.ordinal.value == pytest.approx(expected.ordinal.value, abs=1e-12)


def test_tau_as_scipy_gives_it():
    rankings = random_rankings(1, answers=5)
    table = tabulate(rankings)
    taus = tau_b(table.pair_counts.astype(float))
    for left, right, tau in zip(table.left_P, table.right_P, taus, strict=True):
        one, other = (mid_ranks(rankings[table.source_R[side]].tiers) for side in (left, right))
        both = sorted(one.keys() & other.keys())
        assert tau == pytest.approx(kendalltau([one[a] for a in both], [other[a] for a in both]).statistic, nan_ok=True)
    assert measure(table).tau.value == pytest.approx(np.nanmean(taus))


def test_kappa_as_scikit_learn_gives_it_for_the_raw_values():
    rankings = random_rankings(2, judges=2, people=2)
    table = tabulate(rankings)
    one, other = [], []
    for left, right in zip(table.left_P, table.right_P, strict=True):
        first, second = rankings[table.source_R[left]], rankings[table.source_R[right]]
        for a, b in combinations(first.answers, 2):
            for x, y in ((a, b), (b, a)):
                values = outcome(first.tiers, x, y), outcome(second.tiers, x, y)
                if None not in values:
                    one.append(str(values[0]))
                    other.append(str(values[1]))
    found = measure_raters(table, np.arange(len(table.left_P)))
    assert found.kappa.value == pytest.approx(cohen_kappa_score(one, other))
    counts = table.pair_counts.sum(axis=0, keepdims=True).astype(float)
    assert kappa_of_counts(counts)[0] == pytest.approx(found.kappa.value)  # as it is resampled
    swapped = measure_raters(table, np.arange(len(table.left_P)), np.ones(len(table.left_P), dtype=bool))
    assert swapped.kappa.value == pytest.approx(found.kappa.value) and swapped.tau == found.tau


def test_names_of_the_answers_do_not_matter():
    """The first answer is always the better one, people agree on 9 of 10: no sign of agreeing by chance."""
    rankings = [Ranking(i, i, r, [[2 * i], [2 * i + 1]]) for i in range(100) for r in "AB"]
    rankings[1::20] = [Ranking(r.item, r.cluster, r.rater, r.tiers[::-1]) for r in rankings[1::20]]
    assert measure(tabulate(rankings)).nominal.value == pytest.approx(0.8, abs=0.01)  # 1 - 0.1/0.5
    fixed = [[outcome(r.tiers, 2 * r.item, 2 * r.item + 1) for r in rankings if r.rater == who] for who in "AB"]
    assert krippendorff.alpha(fixed, level_of_measurement="nominal") < 0  # what fixed names would say


def test_perfect_and_undefined():
    alike = [Ranking(i, i, r, [[2 * i + 1], [2 * i]]) for i in range(5) for r in "ABC"]
    found = measure(tabulate(alike))
    assert found.nominal.value == found.ordinal.value == found.percent.value == found.tau.value == 1
    assert found.nominal.low is None  # no draw differs
    assert found.percent.low == pytest.approx(0.5655, abs=1e-3)  # Wilson's lower limit of 5 of 5
    ties = [Ranking(i, i, r, [[2 * i, 2 * i + 1]]) for i in range(5) for r in "AB"]
    found = measure(tabulate(ties))
    assert found.percent.value == 1 and found.nominal is None and found.ordinal is None and found.tau is None
    assert measure_raters(tabulate(ties), np.arange(5)).kappa is None
    empty = measure(tabulate([Ranking(1, 1, "A", [[1], [2]])]))
    assert empty.judgements == 0 and empty.percent is None and empty.as_dict()["krippendorff_alpha_nominal"] is None


def test_the_last_of_a_persons_rankings_counts():
    rankings = [Ranking(1, 1, "A", [[1], [2]]), Ranking(1, 1, "B", [[2], [1]]), Ranking(1, 1, "A", [[2], [1]])]
    assert measure(tabulate(rankings)).percent.value == 1


def test_interval_covers_what_drew_the_data():
    """95 % intervals of data with a known agreement cover it about 95 times of 100; the draw is over prompts."""
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(100):
        agree = np.repeat(rng.random(80) < 0.7, 2)  # two items a prompt, with one fate
        rankings = []
        for item, same in enumerate(agree):
            tiers = [[2 * item], [2 * item + 1]]
            rankings += [
                Ranking(item, item // 2, "A", tiers),
                Ranking(item, item // 2, "B", tiers[:: 1 if same else -1]),
            ]
        figure = measure(tabulate(rankings), resamples=200).percent
        covered += figure.low <= 0.7 <= figure.high
    assert 88 <= covered <= 100


def test_the_same_seed_gives_the_same_interval():
    table = tabulate(random_rankings(3))
    assert measure(table) == measure(table)
    assert measure(table, seed=1).nominal.low != measure(table).nominal.low


def test_an_item_that_many_judged_is_compared_with_neighbours():
    """30 judges: 30 · 10 pairs, each ranking in 20 of them, not the 435 there are."""
    table = tabulate([Ranking(1, 1, person, [[1], [2]]) for person in range(30)])
    assert len(table.left_P) == 30 * NEIGHBOURS
    assert set(np.bincount(np.concatenate([table.left_P, table.right_P]))) == {2 * NEIGHBOURS}
    assert len({frozenset(p) for p in zip(table.left_P, table.right_P, strict=True)}) == 300
