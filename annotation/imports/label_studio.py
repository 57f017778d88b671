"""Label Studio's JSON export of projects with the studio's labelling configurations. Pure.

A task a record: `data` with `conversation` or `prompt`, the answers as `items` or `answer_a` and `answer_b`, and its
`annotations`. Skipped annotations are left out; a task without others is a prompt.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from annotation.imports.items import Answer, Item, make_comparison, make_demonstration, make_prompt
from annotation.label_studio.formats import parse_demonstration, parse_ranking


def is_task(value: Any) -> bool:
    return (
        isinstance(value, dict) and isinstance(value.get("data"), dict) and isinstance(value.get("annotations"), list)
    )


def parse(value: Any, columns: Mapping[str, str]) -> Iterator[Item]:
    """An item an annotation. Raises ValueError with the reason."""
    if not is_task(value):
        raise ValueError("it is no task of a JSON export (not JSON_MIN): it needs 'data' and 'annotations'")
    data = value["data"]
    prompt = data.get("conversation") or data.get("prompt")
    answers = _answers(data)
    done = [a for a in value["annotations"] if isinstance(a, dict) and not a.get("was_cancelled")]
    if not done:
        yield make_prompt(prompt)
    for annotation in done:
        try:
            yield _item(prompt, answers, annotation)
        except ValueError as error:
            raise ValueError(f"annotation {annotation.get('id', '?')}: {str(error).rstrip('.')}") from error


def _answers(data: Mapping[str, Any]) -> dict[str, str]:
    """The answers' texts by the names that results call them."""
    items = data.get("items")
    if isinstance(items, list) and items:
        if not all(isinstance(item, dict) and isinstance(item.get("body"), str) for item in items):
            raise ValueError("each of its 'items' needs an 'id' and a 'body', the answer's text")
        return {str(item.get("id")): item["body"] for item in items}
    pair = {"a": data.get("answer_a"), "b": data.get("answer_b")}
    return pair if all(isinstance(text, str) for text in pair.values()) else {}  # type: ignore[return-value]


def _item(prompt: Any, answers: Mapping[str, str], annotation: Mapping[str, Any]) -> Item:
    about: dict[str, Any] = {"annotator": _who(annotation.get("completed_by"))}
    seconds = annotation.get("lead_time")
    if isinstance(seconds, (int, float)) and 0 <= seconds <= 1e7:
        about["seconds"] = float(seconds)
    if not answers:
        written = parse_demonstration(annotation.get("result"))
        return make_demonstration(prompt, written.text, reasoning=written.reasoning, **about)
    letters = list(answers)
    place = {letter: number for number, letter in enumerate(letters)}
    ranking = parse_ranking(annotation.get("result"), letters)
    return make_comparison(
        prompt, [Answer(text) for text in answers.values()], [[place[x] for x in tier] for tier in ranking.tiers],
        unrankable=[place[x] for x in ranking.unrankable], strength=ranking.strength, rationale=ranking.rationale,
        ratings={place[letter]: rating for letter, rating in ranking.ratings.items()}, **about,
    )  # fmt: skip


def _who(completed_by: Any) -> str:
    """An export names its people by id, or with their e-mail."""
    if isinstance(completed_by, dict):
        completed_by = completed_by.get("email") or completed_by.get("id")
    return str(completed_by)[:80] if completed_by not in (None, "") else ""
