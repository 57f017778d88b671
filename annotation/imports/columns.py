"""Rows in TRL's columns, of a JSONL, CSV, Parquet or Arrow file: prompts, demonstrations, preferences, rankings. Pure.

Dataset types: https://huggingface.co/docs/trl/dataset_formats. Beside them, the studio's own ranking of K answers:
`prompt`, `answers` (texts), `tiers` ([[0], [2, 1]]: places of answers, best tier first).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from annotation.imports import hh_rlhf
from annotation.imports.items import Answer, Item, about_prompt, make_comparison, make_demonstration, make_prompt
from annotation.imports.items import optional_text as text_of

CONVERSATIONS = ("prompt", "messages", "completion", "chosen", "rejected")
# What a column may stand for; the preview offers these.
ROLES = (
    *CONVERSATIONS, "system", "answers", "tiers", "strength", "ratings", "flags", "rationale", "reasoning", "annotator",
    "seconds", "cluster", "tags", "reference", "split", "unrankable", "label", "text",
)  # fmt: skip
DOES_NOT_TRAIN = {
    "withdrawn_at": "it was withdrawn",
    "surplus": "it is surplus",
    "gold": "it answers a gold item",
    "review": "it belongs to a blind review",
}
# Other names that data sets give these columns.
SYNONYMS = {
    "prompt": ("question", "instruction", "query", "input_text"),
    "messages": ("conversations", "conversation"),
    "completion": ("answer", "response", "output"),
    "chosen": ("preferred", "answer_chosen", "chosen_response", "response_chosen"),
    "rejected": ("dispreferred", "answer_rejected", "rejected_response", "response_rejected"),
    "system": ("system_prompt",),
    "rationale": ("justification",),
    "annotator": ("worker", "annotator_id", "worker_id"),
    "cluster": ("category", "topic"),
}


def guess_columns(names: list[str]) -> dict[str, str]:
    """role -> column, for the columns whose names say what they are."""
    lower = {name.lower(): name for name in names}
    found = {}
    for role in ROLES:
        for name in (role, *SYNONYMS.get(role, ())):
            if name in lower and lower[name] not in found.values():
                found[role] = lower[name]
                break
    return found


def parse(value: Any, columns: Mapping[str, str]) -> Iterator[Item]:
    """The one item of a row; `columns` maps roles to the row's own column names. Raises ValueError with the reason."""
    if not isinstance(value, dict):
        raise ValueError("it is no object ({…}) with columns")
    _refuse_what_does_not_train(value)
    row = {role: value[name] for role, name in columns.items() if value.get(name) not in (None, "")}
    for name in CONVERSATIONS:
        row[name] = _decoded(row.get(name))
    yield _item(row)


def _refuse_what_does_not_train(value: Mapping[str, Any]) -> None:
    """Rows of a studio's export of all labels, which has them too."""
    if "comparison_id" in value or "demonstration_id" in value:
        for name, what in DOES_NOT_TRAIN.items():
            if value.get(name):
                raise ValueError(f"where it comes from, {what}, which does not train: leave it out")


def _decoded(value: Any) -> Any:
    """Messages that a table keeps as JSON text, as messages."""
    if isinstance(value, str) and value.startswith("[{") and '"role"' in value:
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _item(row: dict[str, Any]) -> Item:
    _refuse_other_types(row)
    more = about_prompt(row) | _about_label(row)
    if row["chosen"] is not None or row["rejected"] is not None:
        return _preference(row, more)
    if "answers" in row or "tiers" in row:
        return _ranking(row, more)
    if row["completion"] is not None:
        return make_demonstration(_prompt(row), answer_text(row["completion"], "completion"), **more)
    if row["messages"] is not None:
        return _conversation(row, more)
    if row["prompt"] is None:
        raise ValueError("it has none of the columns 'prompt', 'messages', 'chosen' and 'answers'")
    more.pop("annotator", None)
    return make_prompt(_prompt(row), **more)


def _refuse_other_types(row: Mapping[str, Any]) -> None:
    if isinstance(row["completion"], list) and row["completion"] and isinstance(row["completion"][0], str):
        raise ValueError(
            "it judges the steps of an answer ('completions' with 'labels'), which is for process reward models: "
            "the studio compares whole answers"
        )
    if row["completion"] is not None and "label" in row:
        raise ValueError(
            "it judges one answer alone ('label'): give the liked and the disliked answer of a prompt as 'chosen' and "
            "'rejected' of one row, or leave 'label' out to take the answers as demonstrations"
        )
    if "text" in row and row["prompt"] is None and row["messages"] is None and row["chosen"] is None:
        raise ValueError(
            "it is plain text ('text'), which is for training: upload it as a dataset under Artifacts, or say in the "
            "preview which column is the prompt"
        )


def _about_label(row: Mapping[str, Any]) -> dict[str, Any]:
    said: dict[str, Any] = {}
    for name in ("rationale", "reasoning"):
        if text := text_of(row, name):
            said[name] = text
    if "annotator" in row:
        said["annotator"] = text_of({"annotator": str(row["annotator"])}, "annotator", 80)
    if "seconds" in row:
        said["seconds"] = _number("seconds", row["seconds"], 0, 1e7)
    return said


def _number(name: str, value: Any, low: float, high: float) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"'{name}' must be a number") from error
    if not low <= number <= high:  # NaN too
        raise ValueError(f"'{name}' must be between {low:g} and {high:g}")
    return number


def _prompt(row: Mapping[str, Any]) -> Any:
    prompt = row["prompt"] if row["prompt"] is not None else row["messages"]
    if "system" not in row:
        return prompt
    turns = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    if not isinstance(turns, list):
        raise ValueError("'prompt' must be a text or a list of messages")
    return [{"role": "system", "content": row["system"]}, *turns]


def _conversation(row: Mapping[str, Any], more: dict[str, Any]) -> Item:
    messages = row["messages"]
    last = messages[-1] if isinstance(messages, list) and messages else None
    if isinstance(last, dict) and last.get("role") == "assistant":
        prompt = _prompt({**row, "messages": messages[:-1]})
        return make_demonstration(prompt, answer_text([last], "messages"), **more)
    more.pop("annotator", None)
    return make_prompt(_prompt(row), **more)


def answer_text(value: Any, name: str) -> str:
    """An answer given as a text or as one message of the assistant."""
    if isinstance(value, str):
        return value
    only = value[0] if isinstance(value, list) and len(value) == 1 else None
    if isinstance(only, dict) and only.get("role") == "assistant" and isinstance(only.get("content"), str):
        return only["content"]
    raise ValueError(f"'{name}' must be the answer's text, or a list of one message of the assistant")


def _preference(row: Mapping[str, Any], more: dict[str, Any]) -> Item:
    chosen, rejected = row["chosen"], row["rejected"]
    if chosen is None or rejected is None:
        raise ValueError("a preference needs both 'chosen' and 'rejected'")
    if row["prompt"] is not None:
        prompt = _prompt(row)
        turns = prompt if isinstance(prompt, list) else [{"role": "user", "content": prompt}]
        # Some data sets repeat the prompt in front of both answers, some do not.
        texts = [
            answer_text(_without(turns, side), name) for side, name in ((chosen, "chosen"), (rejected, "rejected"))
        ]
    else:
        prompt, texts = _implicit(chosen, rejected)
    if "strength" in row:
        more["strength"] = int(_number("strength", row["strength"], 1, 3))
    return make_comparison(prompt, [Answer(text) for text in texts], [[0], [1]], **more)


def _without(prompt: list[Any], side: Any) -> Any:
    """The answer of a conversation that repeats its prompt."""
    if isinstance(side, list) and len(side) > 1 and side[:-1] == prompt:
        return side[-1:]
    return side


def _implicit(chosen: Any, rejected: Any) -> tuple[Any, list[str]]:
    """The prompt that both conversations share, and the answers that follow it."""
    if isinstance(chosen, str) and isinstance(rejected, str):
        if not hh_rlhf.is_transcript(chosen):
            raise ValueError("the prompt is missing: give 'prompt', or conversations as lists of messages")
        return hh_rlhf.split_pair(chosen, rejected)
    if not isinstance(chosen, list) or not isinstance(rejected, list):
        raise ValueError("'chosen' and 'rejected' must both be texts or both be lists of messages")
    if chosen[:-1] != rejected[:-1]:
        raise ValueError("'chosen' and 'rejected' differ before the last message: they do not answer one prompt")
    return chosen[:-1], [answer_text(chosen[-1:], "chosen"), answer_text(rejected[-1:], "rejected")]


def _ranking(row: Mapping[str, Any], more: dict[str, Any]) -> Item:
    answers, tiers = row.get("answers"), row.get("tiers")
    if not isinstance(answers, list) or not all(isinstance(answer, (str, list)) for answer in answers):
        raise ValueError("'answers' must be a list of texts")
    if not isinstance(tiers, list) or not all(isinstance(tier, list) for tier in tiers):
        raise ValueError("'tiers' must be a list of lists of places in 'answers', from 0, the best tier first")
    count = len(answers)
    more["unrankable"] = _places(row.get("unrankable") or [], count)
    more["ratings"] = {
        place: int(_number("ratings", rating, 1, 7)) for place, rating in _by_place(row, "ratings", count).items()
    }
    named = _by_place(row, "flags", count)
    if not all(isinstance(flags, list) for flags in named.values()):
        raise ValueError("'flags' must be a list with a list of names (or null) an answer")
    more["flags"] = {place: [text_of({"flags": flag}, "flags", 40) for flag in flags] for place, flags in named.items()}
    if "strength" in row:
        more["strength"] = int(_number("strength", row["strength"], 1, 3))
    ranked = [_places(tier, count) for tier in tiers]
    return make_comparison(_prompt(row), [Answer(answer_text(a, "answers")) for a in answers], ranked, **more)


def _places(value: Any, count: int) -> list[int]:
    if not isinstance(value, list) or not all(type(place) is int and 0 <= place < count for place in value):
        raise ValueError(f"places of answers are whole numbers from 0 to {count - 1}")
    return value


def _by_place(row: Mapping[str, Any], name: str, count: int) -> dict[int, Any]:
    """A list with one value (or null) an answer, as {place: value}."""
    values = row.get(name) or []
    if not isinstance(values, list) or len(values) not in (0, count):
        raise ValueError(f"'{name}' must be a list with one value an answer")
    return {place: value for place, value in enumerate(values) if value}
