"""What a project asks of its judges."""

from __future__ import annotations

import pytest

from annotation.instrument import check_demonstration, check_ranking, instrument_of
from annotation.models import Instrument


def test_a_project_without_a_row_has_the_defaults(project):
    found = instrument_of(project)
    assert found.pk is None
    assert (found.ties, found.strength, found.answer_min) == (True, "optional", 1)
    check_ranking(found, tiers=[["a", "b"]], strength=None)
    Instrument.objects.create(project=project, ties=False)
    assert instrument_of(project.pk).ties is False


@pytest.mark.parametrize(
    ("asked", "given", "sentence"),
    [
        ({"ties": False}, {"tiers": [["a", "b"]]}, "no ties"),
        ({"unrankable": False}, {"tiers": [["a"]], "unrankable": ["b"]}, "every answer"),
        ({"strength": "required"}, {"tiers": [["a"], ["b"]]}, "how much better"),
        ({"strength": "off"}, {"tiers": [["a"], ["b"]], "strength": 1}, "does not ask for the strength"),
        ({"ratings": "required"}, {"tiers": [["a"], ["b"]], "ratings": {"a": 3}}, "Rate every answer"),
        ({"ratings": "off"}, {"tiers": [["a", "b"]], "ratings": {"a": 3}}, "does not ask for ratings"),
        ({"flags": "off"}, {"tiers": [["a", "b"]], "flags": {"a": ["opinion"]}}, "does not ask for flags"),
        ({"rationale": "required"}, {"tiers": [["a", "b"]], "rationale": " "}, "why you ranked"),
        ({"rationale_min": 10}, {"tiers": [["a", "b"]], "rationale": "short"}, "has 5 characters; this project asks"),
    ],
)
def test_rankings_that_are_refused(asked, given, sentence):
    with pytest.raises(ValueError, match=sentence):
        check_ranking(Instrument(**asked), **given)


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ({"ties": False}, {"tiers": [["a"], ["b"]]}),
        ({"strength": "required"}, {"tiers": [["a", "b"]]}),  # a tie has none
        ({"strength": "required"}, {"tiers": [["a"], ["b"], ["c"]]}),
        ({"ratings": "required"}, {"tiers": [["a"]], "unrankable": ["b"], "ratings": {"a": 1}}),
        ({"flags": "off"}, {"tiers": [["a", "b"]], "flags": {"a": []}}),
        ({"rationale_min": 10}, {"tiers": [["a", "b"]]}),  # optional: none is fine, a short one is not
    ],
)
def test_rankings_that_are_taken(asked, given):
    assert check_ranking(Instrument(**asked), **given) is None


@pytest.mark.parametrize(
    ("asked", "given", "sentence"),
    [
        ({"answer_min": 4}, {"text": " abc "}, "has 3 characters; this project asks for 4"),
        ({"answer_max": 4}, {"text": "abcde"}, "takes 4 at most"),
        ({"reasoning": "required"}, {"text": "abc"}, "step by step"),
        ({"reasoning": "off"}, {"text": "abc", "reasoning": "x"}, "does not ask for reasoning"),
    ],
)
def test_demonstrations_that_are_refused(asked, given, sentence):
    with pytest.raises(ValueError, match=sentence):
        check_demonstration(Instrument(**asked), **given)
    check_demonstration(Instrument(), **given)
