"""One checked row of a file, whatever its format: a prompt, with a demonstration or a ranking of answers. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from annotation.conversations import check_messages, has_nul, message_key, root_key

LONGEST = 1_000_000  # characters of one text
MOST_ANSWERS = 26  # of one ranking: answers are called a, b, c …
SPLITS = ("train", "test")
PROMPT, DEMONSTRATION, COMPARISON = "prompt", "demonstration", "comparison"
KINDS = (PROMPT, DEMONSTRATION, COMPARISON)

_encode_json = json.JSONEncoder(ensure_ascii=False).encode


@dataclass(slots=True)
class Answer:
    text: str
    model: str = ""  # its name, where the file says that a model wrote it


@dataclass(slots=True)
class Item:
    """`tiers`, `ratings` and `flags` speak of answers by their place in `answers`, which is the file's order."""

    kind: str
    messages: list[dict[str, str]]
    key: str
    root: str
    answers: list[Answer] = field(default_factory=list)
    tiers: list[list[int]] = field(default_factory=list)
    unrankable: list[int] = field(default_factory=list)
    strength: int | None = None
    ratings: dict[int, int] = field(default_factory=dict)
    flags: dict[int, list[str]] = field(default_factory=dict)
    rationale: str = ""
    reasoning: str = ""
    annotator: str = ""  # who judged or wrote it, by the file's own name for them
    seconds: float | None = None
    cluster: str = ""
    tags: list[str] = field(default_factory=list)
    reference: dict[str, Any] = field(default_factory=dict)
    split: str = ""
    row_key: str = ""


def make_prompt(messages: Any, **more: Any) -> Item:
    return _finish(PROMPT, messages, **more)


def make_demonstration(messages: Any, answer: str, **more: Any) -> Item:
    return _finish(DEMONSTRATION, messages, answers=[Answer(check_text("the answer", answer))], **more)


def make_comparison(messages: Any, answers: Sequence[Answer], tiers: list[list[int]], **more: Any) -> Item:
    """Raises ValueError with the reason when the answers are not 2 to 26 different texts, or one has no place."""
    if not 2 <= len(answers) <= MOST_ANSWERS:
        raise ValueError(f"a comparison needs 2 to {MOST_ANSWERS} answers, and this one has {len(answers)}")
    for answer in answers:
        check_text("an answer", answer.text)
    if len({answer.text for answer in answers}) != len(answers):
        raise ValueError("two of the answers are the same text, so there is nothing to choose between them")
    places = sorted(place for tier in tiers for place in tier) + sorted(more.get("unrankable", ()))
    if sorted(places) != list(range(len(answers))) or not all(tiers):
        raise ValueError("the ranking must give each answer one place")
    return _finish(COMPARISON, messages, answers=list(answers), tiers=tiers, **more)


def _finish(kind: str, messages: Any, **more: Any) -> Item:
    messages = check_messages(messages)
    if messages[-1]["role"] != "user":
        raise ValueError("the last message before the answer must be the user's")
    item = Item(kind, messages, message_key(messages), root_key(messages), **more)
    if item.answers:
        item.row_key = _row_key(item)
    return item


def _row_key(item: Item) -> str:
    """sha256 of what is said about the prompt: the same row again, in whatever file, has the same key."""
    said = [
        item.kind, [a.text for a in item.answers], item.tiers, item.unrankable, item.strength, item.ratings, item.flags,
        item.rationale, item.reasoning, item.annotator,
    ]  # fmt: skip
    return hashlib.sha256(_encode_json(said).encode()).hexdigest()


def check_text(what: str, text: Any) -> str:
    """The text, which is one, not empty and storable. Raises ValueError with the reason."""
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"{what} is empty or no text")
    if len(text) > LONGEST:
        raise ValueError(f"{what} has {len(text):,} characters; at most {LONGEST:,} fit")
    check_characters(what, text)
    return text


def check_characters(what: str, text: str) -> None:
    if "\0" in text:
        raise ValueError(f"{what} contains a NUL character, which no text has")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"{what} holds half of a surrogate pair, which is no text") from error


def storable(text: str) -> str:
    """The text with a mark for each character that no database holds: a reason may quote what it refuses."""
    return text.encode("utf8", "replace").decode().replace("\0", "\ufffd")


def optional_text(row: Mapping[str, Any], name: str, longest: int = LONGEST) -> str:
    value = row.get(name)
    if value is None or value == "":
        return ""
    if not isinstance(value, str) or len(value) > longest:
        raise ValueError(f"'{name}' must be a text of at most {longest:,} characters")
    check_characters(f"'{name}'", value)
    return value.strip()


def about_prompt(row: Mapping[str, Any]) -> dict[str, Any]:
    """What a row says of its prompt beside the messages: `cluster`, `tags`, `reference`, `split`."""
    said: dict[str, Any] = {}
    if cluster := optional_text(row, "cluster", 80):
        said["cluster"] = cluster
    if tags := row.get("tags"):
        tags = [tag.strip() for tag in tags.split(",")] if isinstance(tags, str) else tags
        if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
            raise ValueError("'tags' must be a list of texts")
        said["tags"] = tags
    if reference := row.get("reference"):
        if not isinstance(reference, dict):
            raise ValueError('\'reference\' must be an object, for example {"terms": ["append"]}')
        try:
            json.dumps(reference, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueError("'reference' holds a value that JSON has not") from error
        said["reference"] = reference
    if split := row.get("split"):
        if split not in SPLITS:
            raise ValueError(f"'split' must be 'train' or 'test', not '{split}'")
        said["split"] = split
    if ("tags" in said or "reference" in said) and has_nul([tags, reference]):
        raise ValueError("contains a NUL character, which no text has")
    return said
