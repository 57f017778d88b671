"""Label Studio's labelling configurations, task data and annotation results, and what they mean here. Pure.

Answers are called by the letters of the order in which the task shows them, a, b, c …: no model's name and no id of
ours leaves the studio. Shapes are those that the interface of Label Studio 1.23 saves, which its own validator does not
always accept:

* a pairwise result names its own control as what it is about (`to_name` = `from_name`), and knows no tie: "Tie" is
  one of the choices beside it;
* choices carry the alias ("-2"), not the words; a control that was not touched is absent;
* an item still under "_" has not been ranked; a ranker without buckets sends the shown order when nobody touched it;
* a skip is `was_cancelled` with an empty result, and not the business of this module.
"""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from xml.etree import ElementTree as ET

Result = list[dict[str, Any]]

TASK_KEY = "studio_task"  # of a task's data: our id, which comes back intact
PAIR = ("a", "b")
TIE = "0"
STRENGTHS = {
    "-3": "A is much better", "-2": "A is better", "-1": "A is slightly better", TIE: "Tie",
    "1": "B is slightly better", "2": "B is better", "3": "B is much better",
}  # fmt: skip
RATINGS = range(1, 8)
UNRANKABLE = "unrankable"  # the bucket of answers that cannot be ranked
AS_WRITTEN = "white-space: pre-wrap"  # else it runs the lines of code together
UNRANKED = "_"  # where items wait before they are dragged into a bucket


@dataclass(frozen=True)
class Asked:
    """What a configuration asks for besides the answer itself: "off", "optional" or "required"."""

    ties: bool = True
    unrankable: bool = True
    strength: str = "optional"
    ratings: str = "off"
    rationale: str = "optional"
    reasoning: str = "optional"


@dataclass(frozen=True)
class Ranking:
    """A ranking by letters, best tier first; strength is 1 to 3, and None where it was not said or there is a tie."""

    tiers: list[list[str]]
    unrankable: list[str] = field(default_factory=list)
    strength: int | None = None
    ratings: dict[str, int] = field(default_factory=dict)
    rationale: str = ""
    unchanged: bool | None = None  # of a ranker without buckets: the order is the one that was shown


@dataclass(frozen=True)
class Written:
    """A demonstration."""

    text: str
    reasoning: str = ""


# Labelling configurations


def pairwise_config(asked: Asked = Asked(), *, dialogue: bool = False) -> str:
    """Two answers side by side, how much better one is, and why."""
    view = _view(dialogue)
    ET.SubElement(view, "Pairwise", name="preference", toName="answer_a,answer_b")
    ET.SubElement(view, "Header", value="Click the better answer, or say how much better it is", size="5")
    beside = ET.SubElement(view, "View", style="display: grid; grid-template-columns: 1fr 1fr; gap: 1rem")
    for letter in PAIR:
        side = ET.SubElement(beside, "View", style=AS_WRITTEN)
        ET.SubElement(side, "Header", value=f"Answer {letter.upper()}", size="6")
        ET.SubElement(side, "Text", name=f"answer_{letter}", value=f"$answer_{letter}")
    shown = {
        alias: words for alias, words in STRENGTHS.items()
        if (alias != TIE or asked.ties) and (alias == TIE or asked.strength != "off")
    }  # fmt: skip
    if shown:
        choices = ET.SubElement(view, "Choices", name="strength", toName="prompt", choice="single-radio")
        if asked.strength == "required":
            choices.set("required", "true")
        for alias, words in shown.items():
            ET.SubElement(choices, "Choice", value=words, alias=alias)
    _add_ratings(view, 2, asked.ratings)
    _add_text(view, "rationale", "Why?", asked.rationale)
    return _written(view)


def ranking_config(answers: int, asked: Asked = Asked(), *, dialogue: bool = False) -> str:
    """Up to `answers` answers, dragged into as many places; answers in one place are tied."""
    view = _view(dialogue)
    ET.SubElement(view, "Header", value="Drag each answer to its place; several in one place are tied", size="5")
    answers_view = ET.SubElement(view, "View", style=AS_WRITTEN)
    ET.SubElement(answers_view, "List", name="answers", value="$items", title="Answers")
    ranker = ET.SubElement(answers_view, "Ranker", name="tiers", toName="answers")
    for place in range(1, answers + 1):
        ET.SubElement(ranker, "Bucket", name=f"r{place}", title=_ordinal(place))
    if asked.unrankable:
        ET.SubElement(ranker, "Bucket", name=UNRANKABLE, title="Not rankable")
    _add_ratings(view, answers, asked.ratings)
    _add_text(view, "rationale", "Why?", asked.rationale)
    return _written(view)


def demonstration_config(asked: Asked = Asked(), *, dialogue: bool = False) -> str:
    """A prompt to answer as well as one can, with the reasoning behind the answer."""
    view = _view(dialogue)
    _add_text(view, "reasoning", "Think aloud", asked.reasoning)
    _add_text(view, "answer", "Your answer", "required")
    return _written(view)


def _view(dialogue: bool) -> ET.Element:
    """`<Chat>` does not render in the community edition, so conversations are `<Paragraphs>`."""
    view = ET.Element("View")
    shown = ET.SubElement(view, "View", style=AS_WRITTEN)
    if dialogue:
        ET.SubElement(
            shown, "Paragraphs", name="prompt", value="$conversation", layout="dialogue", nameKey="role",
            textKey="content",
        )  # fmt: skip
    else:
        ET.SubElement(shown, "Text", name="prompt", value="$prompt")
    return view


def _add_text(view: ET.Element, name: str, heading: str, shown: str) -> None:
    if shown == "off":
        return
    ET.SubElement(view, "Header", value=heading, size="6")
    area = ET.SubElement(view, "TextArea", name=name, toName="prompt", maxSubmissions="1", editable="true", rows="4")
    if shown == "required":
        area.set("required", "true")


def _add_ratings(view: ET.Element, answers: int, shown: str) -> None:
    if shown == "off":
        return
    for letter in string.ascii_lowercase[:answers]:
        ET.SubElement(view, "Header", value=f"Answer {letter.upper()}, overall, 1 to 7", size="6")
        rating = ET.SubElement(
            view, "Rating", name=f"rating_{letter}", toName="prompt", maxRating=str(RATINGS[-1])
        )  # fmt: skip
        if shown == "required" and letter in PAIR:  # a task may have fewer answers than places, but never one
            rating.set("required", "true")


def _written(view: ET.Element) -> str:
    ET.indent(view)
    return ET.tostring(view, encoding="unicode")


def _ordinal(place: int) -> str:
    return f"{place}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(place if place < 20 else place % 10, 'th') }"


# Task data


def task_data(key: str, messages: Sequence[Mapping[str, str]], answers: Sequence[str] = ()) -> dict[str, Any]:
    """The data of a task: the prompt as text and as conversation, and the answers' texts in the order to be shown."""
    data: dict[str, Any] = {
        TASK_KEY: key,
        "prompt": flat(messages),
        "conversation": [{"role": m["role"], "content": m["content"]} for m in messages],
    }
    letters = string.ascii_lowercase[: len(answers)]
    if len(answers) == 2:
        data |= {f"answer_{letter}": text for letter, text in zip(letters, answers, strict=True)}
    if answers:
        data["items"] = [
            {"id": letter, "title": f"Answer {letter.upper()}", "body": text}
            for letter, text in zip(letters, answers, strict=True)
        ]
    return data


def flat(messages: Sequence[Mapping[str, str]]) -> str:
    """A conversation as one text; a lone question stays as it is."""
    if len(messages) == 1:
        return messages[0]["content"]
    return "\n\n".join(f"{m['role'].capitalize()}: {m['content']}" for m in messages)


# Results


def parse_ranking(result: Any, letters: Sequence[str], *, trust_untouched: bool = False) -> Ranking:
    """What an annotation of a pairwise or ranking task says about the answers called `letters`.

    Raises ValueError with a sentence about what is wrong or still to be done. A ranker without buckets that gives the
    shown order is refused unless `trust_untouched`, for nobody can tell whether it was touched.
    """
    controls = _controls(result)
    ratings = {}
    for name in [name for name in controls if name.startswith("rating_")]:
        letter = name.removeprefix("rating_")
        if letter not in letters:
            raise ValueError(f"It rates an answer '{letter}', which the task has not.")
        ratings[letter] = _rating(controls.pop(name))
    rationale = _text(controls.pop("rationale", None))
    ranker = [controls.pop(name) for name in ("tiers", "rank") if name in controls]
    if len(ranker) > 1:
        raise ValueError("It has two rankings.")
    if ranker:
        made = _parse_ranker(ranker[0], list(letters), trust_untouched)
    else:
        made = _parse_pairwise(controls.pop("preference", None), controls.pop("strength", None), letters)
    _refuse_others(controls)
    return Ranking(made.tiers, made.unrankable, made.strength, ratings, rationale, made.unchanged)


def parse_demonstration(result: Any) -> Written:
    """What an annotation of a demonstration task says. Raises ValueError when there is no answer in it."""
    controls = _controls(result)
    text, reasoning = _text(controls.pop("answer", None)), _text(controls.pop("reasoning", None))
    _refuse_others(controls)
    if not text:
        raise ValueError("The answer is empty.")
    return Written(text, reasoning)


SHAPES: dict[str, tuple[str, tuple[str, ...]]] = {  # control: its type, and what its result may say it is about
    "preference": ("pairwise", ("preference", "answer_a,answer_b", "answer_a", "answer_b")),
    "strength": ("choices", ("prompt",)),
    "tiers": ("ranker", ("answers",)),
    "rank": ("ranker", ("answers",)),
    "rationale": ("textarea", ("prompt",)),
    "reasoning": ("textarea", ("prompt",)),
    "answer": ("textarea", ("prompt",)),
    "rating": ("rating", ("prompt",)),
}


def _controls(result: Any) -> dict[str, Any]:
    """The value of each control by its name, where type and target are those of our configurations."""
    if not isinstance(result, list):
        raise ValueError("Its result is not a list.")
    found: dict[str, Any] = {}
    for entry in result:
        if not isinstance(entry, dict) or not isinstance(entry.get("value"), dict):
            raise ValueError("A part of its result has no value.")
        name, kind, about = entry.get("from_name"), entry.get("type"), entry.get("to_name")
        expected = SHAPES.get("rating" if str(name).startswith("rating_") else str(name))
        if expected is None:
            raise ValueError(f"It has a control '{name}' that the studio did not ask for.")
        if kind != expected[0] or about not in expected[1]:
            raise ValueError(f"Its '{name}' is a {kind} about '{about}', not a {expected[0]} about '{expected[1][0]}'.")
        if name in found:
            raise ValueError(f"It answers '{name}' twice.")
        found[name] = entry["value"]
    return found


def _refuse_others(controls: Mapping[str, Any]) -> None:
    if controls:
        raise ValueError(f"It answers '{min(controls)}', which this kind of task does not ask.")


def _parse_pairwise(preference: Any, strength: Any, letters: Sequence[str]) -> Ranking:
    if len(letters) != 2:
        raise ValueError("Nothing is ranked yet.")
    a, b = letters
    side = None if preference is None else preference.get("selected")
    if preference is not None and side not in ("left", "right"):
        raise ValueError(f"It selects '{side}', which is neither left nor right.")
    degree = None if strength is None else _choice(strength)
    if side is None and degree is None:
        raise ValueError("Neither answer is chosen, and it does not say that they are tied.")
    by_degree = None if degree is None else "tie" if degree == 0 else "left" if degree < 0 else "right"
    if side and by_degree and side != by_degree:
        raise ValueError(f"It selects the {side} answer, but says '{STRENGTHS[str(degree)]}'.")
    winner = side or by_degree
    if winner == "tie":
        return Ranking([[a, b]])
    return Ranking([[a], [b]] if winner == "left" else [[b], [a]], strength=abs(degree) if degree else None)


def _choice(value: Mapping[str, Any]) -> int:
    chosen = value.get("choices")
    if not isinstance(chosen, list) or len(chosen) != 1 or str(chosen[0]) not in STRENGTHS:
        raise ValueError(f"Its strength is {chosen!r}; one of {', '.join(STRENGTHS)} is expected.")
    return int(chosen[0])


def _parse_ranker(value: Mapping[str, Any], letters: list[str], trust_untouched: bool) -> Ranking:
    buckets = value.get("ranker")
    if not isinstance(buckets, dict) or not all(
        isinstance(items, list) and all(isinstance(item, str) for item in items) for items in buckets.values()
    ):
        raise ValueError("Its ranking is not a set of lists.")
    named = [item for items in buckets.values() for item in items]
    if unknown := sorted(set(named) - set(letters)):
        raise ValueError(f"It ranks an answer '{unknown[0]}', which the task has not.")
    if len(set(named)) != len(named):
        raise ValueError("It ranks an answer twice.")
    if waiting := buckets.get(UNRANKED):
        raise ValueError(f"Still to be ranked: {', '.join(f'answer {item.upper()}' for item in waiting)}.")
    if missing := [letter for letter in letters if letter not in named]:
        raise ValueError(f"It does not rank answer {missing[0].upper()}.")
    if set(buckets) == {"rank"}:
        unchanged = named == letters
        if unchanged and not trust_untouched:
            raise ValueError("The order is the one that was shown, which is also sent when nobody touched it.")
        return Ranking([[item] for item in named], unchanged=unchanged)
    places = sorted((name for name in buckets if name not in (UNRANKED, UNRANKABLE)), key=_place)
    tiers = [sorted(buckets[name]) for name in places if buckets[name]]
    if not tiers:
        raise ValueError("No answer is ranked.")
    return Ranking(tiers, sorted(buckets.get(UNRANKABLE, [])))


def _place(bucket: str) -> int:
    number = bucket.removeprefix("r")
    if not bucket.startswith("r") or not number.isdecimal():
        raise ValueError(f"Its ranking has a place '{bucket}' that the studio did not offer.")
    return int(number)


def _rating(value: Mapping[str, Any]) -> int:
    rating = value.get("rating")
    if isinstance(rating, bool) or rating not in RATINGS:
        raise ValueError(f"A rating is {rating!r}; a whole number from 1 to 7 is expected.")
    return int(rating)


def _text(value: Mapping[str, Any] | None) -> str:
    """Text areas send a list of submissions; ours allow one."""
    if value is None:
        return ""
    text = value.get("text")
    parts = [text] if isinstance(text, str) else text
    if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
        raise ValueError("A text is neither a text nor a list of texts.")
    return "\n".join(parts).strip()


# The way back: a label of ours as the interface would have saved it


def ranking_result(ranking: Ranking, letters: Sequence[str], *, pairwise: bool) -> Result:
    """Raises ValueError for what a pairwise configuration cannot say (an answer that is not rankable)."""
    result: Result = []
    if pairwise:
        result += _pairwise_result(ranking, letters)
    else:
        buckets: dict[str, list[str]] = {UNRANKED: []}
        buckets |= {f"r{place}": [] for place in range(1, len(letters) + 1)}
        buckets |= {f"r{place}": list(tier) for place, tier in enumerate(ranking.tiers, start=1)}
        if ranking.unrankable:
            buckets[UNRANKABLE] = list(ranking.unrankable)
        result.append(_entry("tiers", "answers", "ranker", {"ranker": buckets}))
    result += [
        _entry(f"rating_{letter}", "prompt", "rating", {"rating": rating}) for letter, rating in ranking.ratings.items()
    ]
    return result + _text_result("rationale", ranking.rationale)


def _pairwise_result(ranking: Ranking, letters: Sequence[str]) -> Result:
    if len(letters) != 2 or ranking.unrankable:
        raise ValueError("A pairwise configuration ranks two answers, both of them.")
    if len(ranking.tiers) == 1:
        return [_entry("strength", "prompt", "choices", {"choices": [TIE]})]
    left = ranking.tiers[0] == [letters[0]]
    selected = {"selected": "left" if left else "right"}
    result = [_entry("preference", "preference", "pairwise", selected)]
    if ranking.strength is not None:
        alias = str(-ranking.strength if left else ranking.strength)
        result.append(_entry("strength", "prompt", "choices", {"choices": [alias]}))
    return result


def demonstration_result(written: Written) -> Result:
    return _text_result("reasoning", written.reasoning) + _text_result("answer", written.text)


def _text_result(name: str, text: str) -> Result:
    return [_entry(name, "prompt", "textarea", {"text": [text]})] if text else []


def _entry(from_name: str, to_name: str, kind: str, value: dict[str, Any]) -> dict[str, Any]:
    return {"from_name": from_name, "to_name": to_name, "type": kind, "value": value}
