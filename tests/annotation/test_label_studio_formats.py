"""Label Studio's formats: what its interface saves is read as meant, and what we write is read back the same."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotation.label_studio.formats import (
    Asked,
    Ranking,
    Written,
    demonstration_config,
    demonstration_result,
    flat,
    pairwise_config,
    parse_demonstration,
    parse_ranking,
    ranking_config,
    ranking_result,
    task_data,
)

QUESTION = [{"role": "user", "content": "Why?"}]
TALK = [
    {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}, {"role": "user", "content": "Why?"}
]  # fmt: skip


def pairwise(side: str, to_name: str = "preference") -> dict:
    return {"from_name": "preference", "to_name": to_name, "type": "pairwise", "value": {"selected": side}}


def strength(*aliases: str) -> dict:
    return {"from_name": "strength", "to_name": "prompt", "type": "choices", "value": {"choices": list(aliases)}}


def ranker(name: str = "tiers", **buckets: list[str]) -> dict:
    return {"from_name": name, "to_name": "answers", "type": "ranker", "value": {"ranker": buckets}}


def text(name: str, *texts: str) -> dict:
    return {"from_name": name, "to_name": "prompt", "type": "textarea", "value": {"text": list(texts)}}


def rating(letter: str, stars: object) -> dict:
    return {"from_name": f"rating_{letter}", "to_name": "prompt", "type": "rating", "value": {"rating": stars}}


class TestConfigurations:
    def test_pairwise(self):
        view = ET.fromstring(pairwise_config())
        assert [(e.tag, e.get("name"), e.get("toName"), e.get("value")) for e in view.iter() if e.get("name")] == [
            ("Text", "prompt", None, "$prompt"),
            ("Pairwise", "preference", "answer_a,answer_b", None),
            ("Text", "answer_a", None, "$answer_a"),
            ("Text", "answer_b", None, "$answer_b"),
            ("Choices", "strength", "prompt", None),
            ("TextArea", "rationale", "prompt", None),
        ]
        assert [c.get("alias") for c in view.iter("Choice")] == ["-3", "-2", "-1", "0", "1", "2", "3"]

    def test_ranking(self):
        view = ET.fromstring(ranking_config(3))
        assert [(b.get("name"), b.get("title")) for b in view.find(".//Ranker")] == [
            ("r1", "1st"), ("r2", "2nd"), ("r3", "3rd"), ("unrankable", "Not rankable")
        ]  # fmt: skip
        assert view.find(".//List").attrib == {"name": "answers", "value": "$items", "title": "Answers"}

    def test_ordinals(self):
        titles = [b.get("title") for b in ET.fromstring(ranking_config(24)).find(".//Ranker")]
        assert titles[9:13] == ["10th", "11th", "12th", "13th"] and titles[19:23] == ["20th", "21st", "22nd", "23rd"]

    def test_demonstration(self):
        view = ET.fromstring(demonstration_config(dialogue=True))
        assert view.find(".//Paragraphs").get("value") == "$conversation"
        assert [(a.get("name"), a.get("required")) for a in view.iter("TextArea")] == [
            ("reasoning", None), ("answer", "true")
        ]  # fmt: skip

    def test_what_the_project_asks_for(self):
        asked = Asked(
            ties=False, unrankable=False, strength="off", ratings="required", rationale="required", reasoning="off"
        )
        pair = ET.fromstring(pairwise_config(asked))
        assert pair.find(".//Choices") is None and pair.find("TextArea").get("required") == "true"
        assert [(r.get("name"), r.get("required")) for r in pair.iter("Rating")] == [
            ("rating_a", "true"), ("rating_b", "true")
        ]  # fmt: skip
        assert len(ET.fromstring(ranking_config(3, asked)).find(".//Ranker")) == 3
        assert [a.get("name") for a in ET.fromstring(demonstration_config(asked)).iter("TextArea")] == ["answer"]
        only_tie = ET.fromstring(pairwise_config(Asked(strength="off")))
        assert [c.get("alias") for c in only_tie.find("Choices")] == ["0"]


class TestTaskData:
    def test_two_answers(self):
        assert task_data("7", QUESTION, ["x", "y"]) == {
            "studio_task": "7", "prompt": "Why?", "conversation": QUESTION, "answer_a": "x", "answer_b": "y",
            "items": [{"id": "a", "title": "Answer A", "body": "x"}, {"id": "b", "title": "Answer B", "body": "y"}],
        }  # fmt: skip

    def test_three_and_none(self):
        assert [item["id"] for item in task_data("7", QUESTION, ["x", "y", "z"])["items"]] == ["a", "b", "c"]
        assert set(task_data("7", TALK)) == {"studio_task", "prompt", "conversation"}

    def test_flat(self):
        assert flat(QUESTION) == "Why?"
        assert flat(TALK) == "User: Hi\n\nAssistant: Hello\n\nUser: Why?"


class TestPairwise:
    @pytest.mark.parametrize("to_name", ["preference", "answer_a,answer_b"])
    def test_sides(self, to_name):
        assert parse_ranking([pairwise("left", to_name)], "ab") == Ranking([["a"], ["b"]])
        assert parse_ranking([pairwise("right", to_name)], "ab") == Ranking([["b"], ["a"]])

    def test_strength_is_the_alias(self):
        assert parse_ranking([pairwise("left"), strength("-1")], "ab") == Ranking([["a"], ["b"]], strength=1)
        assert parse_ranking([strength("3")], "ab") == Ranking([["b"], ["a"]], strength=3)

    def test_a_tie_is_a_choice(self):
        assert parse_ranking([strength("0"), text("rationale", "Both run. ")], "ab") == Ranking(
            [["a", "b"]], rationale="Both run."
        )

    @pytest.mark.parametrize(
        ("result", "sentence"),
        [
            ([], "Neither answer is chosen"),
            ([pairwise("left"), strength("2")], "selects the left answer, but says 'B is better'"),
            ([pairwise("right"), strength("0")], "selects the right answer, but says 'Tie'"),
            ([pairwise("up")], "neither left nor right"),
            ([strength("A is better")], "one of -3"),
            ([strength("1", "2")], "one of -3"),
            ([pairwise("left"), pairwise("left")], "answers 'preference' twice"),
            ([pairwise("left", "prompt")], "not a pairwise about 'preference'"),
            ([pairwise("left"), text("answer", "x")], "which this kind of task does not ask"),
            ([{"from_name": "bbox", "to_name": "prompt", "type": "x", "value": {}}], "did not ask for"),
            ([{"from_name": "preference"}], "has no value"),
            ({"preference": "left"}, "not a list"),
            (None, "not a list"),
            ([pairwise("left"), rating("c", 3)], "an answer 'c', which the task has not"),
            ([pairwise("left"), rating("a", 8)], "from 1 to 7"),
            ([pairwise("left"), rating("a", True)], "from 1 to 7"),
        ],
    )
    def test_refused(self, result, sentence):
        with pytest.raises(ValueError, match=sentence):
            parse_ranking(result, "ab")

    def test_no_pair_for_three(self):
        with pytest.raises(ValueError, match="Nothing is ranked"):
            parse_ranking([], "abc")


class TestRanker:
    def test_buckets(self):
        result = [ranker(_=[], r1=["c"], r2=[], r3=["b", "a"], unrankable=["d"]), rating("c", 6)]
        assert parse_ranking(result, "abcd") == Ranking([["c"], ["a", "b"]], ["d"], ratings={"c": 6})

    def test_ten_places_in_order(self):
        buckets = {f"r{i}": [letter] for i, letter in enumerate("abcdefghij", 1)}
        assert parse_ranking([ranker(**buckets)], "abcdefghij").tiers == [[letter] for letter in "abcdefghij"]

    def test_without_buckets(self):
        assert parse_ranking([ranker("rank", rank=["b", "a"])], "ab") == Ranking([["b"], ["a"]], unchanged=False)
        with pytest.raises(ValueError, match="also sent when nobody touched it"):
            parse_ranking([ranker("rank", rank=["a", "b"])], "ab")
        confirmed = parse_ranking([ranker("rank", rank=["a", "b"])], "ab", trust_untouched=True)
        assert confirmed == Ranking([["a"], ["b"]], unchanged=True)

    @pytest.mark.parametrize(
        ("result", "sentence"),
        [
            ([ranker(_=["b"], r1=["a"])], "Still to be ranked: answer B"),
            ([ranker(r1=["a"])], "does not rank answer B"),
            ([ranker(r1=["a", "b", "z"])], "an answer 'z', which the task has not"),
            ([ranker(r1=["a", "b"], r2=["a"])], "an answer twice"),
            ([ranker(unrankable=["a", "b"])], "No answer is ranked"),
            ([ranker(first=["a", "b"])], "a place 'first'"),
            ([ranker(r1="ab")], "not a set of lists"),
            ([ranker(r1=[1, 2])], "not a set of lists"),
            ([ranker(r1=["a", "b"]), ranker("rank", rank=["a", "b"])], "two rankings"),
        ],
    )
    def test_refused(self, result, sentence):
        with pytest.raises(ValueError, match=sentence):
            parse_ranking(result, "ab")


class TestDemonstration:
    def test_text_and_reasoning(self):
        assert parse_demonstration([text("answer", "Hi there"), text("reasoning", "Short.")]) == Written(
            "Hi there", "Short."
        )

    def test_a_text_that_is_no_list(self):
        entry = {"from_name": "answer", "to_name": "prompt", "type": "textarea", "value": {"text": "Hi"}}
        assert parse_demonstration([entry]) == Written("Hi")

    @pytest.mark.parametrize(
        ("result", "sentence"),
        [
            ([], "The answer is empty"),
            ([text("answer", " ")], "The answer is empty"),
            ([text("reasoning", "Well.")], "The answer is empty"),
            ([text("answer", "Hi"), pairwise("left")], "does not ask"),
            (
                [{"from_name": "answer", "to_name": "prompt", "type": "textarea", "value": {"text": [1]}}],
                "list of texts",
            ),
        ],
    )
    def test_refused(self, result, sentence):
        with pytest.raises(ValueError, match=sentence):
            parse_demonstration(result)


# Round trips

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40).map(str.strip)


@st.composite
def rankings(draw: st.DrawFn, most: int = 9) -> tuple[Ranking, str]:
    """A ranking of 2 to `most` answers, with ties, answers set aside, ratings and a reason."""
    letters = "abcdefghi"[: draw(st.integers(2, most))]
    places = [draw(st.integers(0, len(letters))) for _ in letters]  # 0: not rankable
    if not any(places):
        places[0] = 1
    tiers = [
        [letter for letter, own in zip(letters, places, strict=True) if own == place]
        for place in sorted(set(places) - {0})
    ]
    aside = [letter for letter, own in zip(letters, places, strict=True) if own == 0]
    ratings = draw(st.dictionaries(st.sampled_from(letters), st.integers(1, 7)))
    return Ranking(tiers, aside, ratings=ratings, rationale=draw(texts)), letters


@given(rankings())
def test_a_ranking_comes_back(given_):
    ranking, letters = given_
    assert parse_ranking(ranking_result(ranking, letters, pairwise=False), letters) == ranking


@given(st.sampled_from([[["a"], ["b"]], [["b"], ["a"]], [["a", "b"]]]), st.sampled_from([None, 1, 2, 3]), texts)
def test_a_pair_comes_back(tiers, degree, why):
    ranking = Ranking(tiers, strength=degree if len(tiers) == 2 else None, rationale=why)
    assert parse_ranking(ranking_result(ranking, "ab", pairwise=True), "ab") == ranking


@given(texts.filter(bool), texts)
def test_a_demonstration_comes_back(answer, reasoning):
    assert parse_demonstration(demonstration_result(Written(answer, reasoning))) == Written(answer, reasoning)


def test_a_pair_has_no_place_for_what_cannot_be_ranked():
    with pytest.raises(ValueError, match="ranks two answers"):
        ranking_result(Ranking([["a"]], ["b"]), "ab", pairwise=True)


junk = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["from_name", "to_name", "type", "value", "ranker", "choices", "selected", "text", "r1", "_"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)
names = st.sampled_from(["preference", "strength", "tiers", "rank", "rationale", "rating_a", "answer"])
kinds = st.sampled_from(["pairwise", "choices", "ranker", "textarea", "rating"])
targets = st.sampled_from(["prompt", "answers", "preference"])
entries = st.fixed_dictionaries({"from_name": names, "to_name": targets, "type": kinds, "value": junk})


def outcome(read: Callable[..., object], *given: object) -> object:
    """What is read, or the refusal."""
    try:
        return read(*given)
    except ValueError as refusal:
        return refusal


@given(st.lists(entries, max_size=3) | junk)
def test_nonsense_is_refused(result):
    """The server stores whatever it is sent: nothing but a ValueError may come of it."""
    assert isinstance(outcome(parse_ranking, result, "ab"), (Ranking, ValueError))
    assert isinstance(outcome(parse_demonstration, result), (Written, ValueError))


def test_it_is_pure():
    code = (
        "import sys, annotation.label_studio.formats; sys.exit(any(m.split('.')[0] == 'django' for m in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
