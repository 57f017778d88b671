from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotation.comparisons import check_tiers, outcome, pairs


@st.composite
def rankings(draw):
    """Tiers over 1…9 completions: a random permutation, cut at random places."""
    order = draw(st.permutations(range(draw(st.integers(1, 9)))))
    cuts = sorted(draw(st.sets(st.integers(1, max(1, len(order) - 1)))))
    edges = [0, *[c for c in cuts if c < len(order)], len(order)]
    return [order[a:b] for a, b in zip(edges, edges[1:])]


def test_tiers_become_pairs():
    assert pairs([[3], [1, 2], [4]]) == [(3, 1), (3, 2), (3, 4), (1, 4), (2, 4)]
    assert pairs([[1, 2, 3]]) == []


@given(rankings())
def test_pairs_are_all_comparable_two_and_no_tie(tiers):
    place = {c: i for i, tier in enumerate(tiers) for c in tier}
    found = pairs(tiers)
    assert all(place[a] < place[b] for a, b in found)
    assert len(set(found)) == len(found)
    expected = {frozenset(two) for two in combinations(place, 2) if place[two[0]] != place[two[1]]}
    assert {frozenset(pair) for pair in found} == expected
    # K(K-1)/2 of all, less the pairs within each tier
    n = len(place)
    assert len(found) == n * (n - 1) // 2 - sum(len(t) * (len(t) - 1) // 2 for t in tiers)


@given(rankings())
def test_outcomes_of_both_sides_add_up_to_one(tiers):
    completions = [c for tier in tiers for c in tier]
    for a, b in combinations(completions, 2):
        assert outcome(tiers, a, b) + outcome(tiers, b, a) == 1
        assert (outcome(tiers, a, b) == 1) == ((a, b) in pairs(tiers))
    assert outcome(tiers, completions[0], -1) is None


@given(rankings())
def test_a_whole_ranking_is_accepted_and_a_torn_one_refused(tiers):
    offered = [c for tier in tiers for c in tier]
    check_tiers(tiers, [], offered)
    check_tiers(tiers[1:], tiers[0], offered)
    with pytest.raises(ValueError, match="not ranked yet"):
        check_tiers(tiers[1:], [], offered)
    with pytest.raises(ValueError, match="twice"):
        check_tiers([*tiers, tiers[0]], [], offered)
    with pytest.raises(ValueError, match="not shown"):
        check_tiers([*tiers, [99]], [], offered)
