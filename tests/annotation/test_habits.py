"""Habits of judges: each expected rate is counted by hand."""

from __future__ import annotations

import pytest

from annotation.statistics.habits import Judged, differs, habits, histogram
from annotation.statistics.intervals import Interval, wilson

LENGTHS = {1: 100, 2: 200, 3: 300, 4: 300}


def test_pairs_are_counted_by_hand():
    found = habits(
        [
            Judged([[1], [2]], [1, 2], 4.0, True),  # first won; the shorter won
            Judged([[2], [1], [3]], [1, 2, 3], 12.0, False),  # 1<2 later and longer; 1>3 and 2>3 first and shorter
            Judged([[3, 4]], [4, 3], 20.0, None),  # a tie
            Judged([[3], [4]], [4, 3], None, False),  # later won; equal lengths say nothing
        ],
        LENGTHS,
        hasty_below=5,
    )
    assert found.rankings == 4
    assert found.first.value == 3 / 5 and found.first.n == 5  # pairs 1–2; 1–2, 1–3, 2–3; 4–3
    assert found.longer.value == 1 / 4 and found.longer.n == 4
    assert found.ties.value == 1 / 6
    assert found.unchanged.value == 1 / 3  # of three that are known
    assert found.hasty.value == 1 / 3  # 4 s, of 4, 12 and 20 s
    assert found.quartiles == (8.0, 12.0, 16.0)


def test_the_interval_counts_rankings_not_pairs():
    many_pairs = habits([Judged([[1], [2], [3]], [1, 2, 3], None, None)] * 4, LENGTHS, 5)
    assert (many_pairs.first.n, many_pairs.first.clusters) == (12, 4)
    assert many_pairs.first[:3] == wilson(4, 4)[:3]


def test_an_answer_set_aside_makes_no_pair():
    found = habits([Judged([[1]], [1, 2], 3.0, None)], LENGTHS, 5)
    assert found.first is found.longer is found.ties is None


def test_nothing_judged():
    found = habits([], {}, 5)
    assert found.rankings == 0 and found.quartiles is found.unchanged is found.hasty is None


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [((0.5, 0.4, 0.6), (0.7, 0.61, 0.8), True), ((0.5, 0.4, 0.6), (0.6, 0.55, 0.7), False)],
)
def test_difference(one, other, expected):
    assert differs(Interval(*one, 9, 9), Interval(*other, 9, 9)) is expected
    assert differs(Interval(*one, 9, 9), None) is False


def test_histogram():
    assert histogram([1, 5, 9, 700]) == [
        ("under 5 s", 1), ("5–10 s", 2), ("10–20 s", 0), ("20–40 s", 0), ("40–80 s", 0), ("80–160 s", 0),
        ("160–320 s", 0), ("320–640 s", 0), ("over 640 s", 1),
    ]  # fmt: skip
