"""The formats that files come in: how each is recognised, and its rows as checked items. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from annotation.imports import alpaca, columns, hh_rlhf, label_studio, open_assistant
from annotation.imports.containers import Record, read_records
from annotation.imports.items import Item, storable

SAMPLE = 200  # records that the preview reads
Columns = Mapping[str, str]


@dataclass(frozen=True)
class Format:
    name: str
    title: str
    makes: str
    example: str
    recognises: Callable[[Any], bool]
    parse: Callable[[Any, Columns], Iterator[Item]]


def _is_hh(value: Any) -> bool:
    return isinstance(value, dict) and "prompt" not in value and hh_rlhf.is_transcript(value.get("chosen"))


FORMATS = {
    made.name: made
    for made in (  # the first that recognises a row has it
        Format(
            "hh_rlhf", "Anthropic HH-RLHF", "Comparisons of two answers; what both transcripts share is the prompt.",
            r'{"chosen": "\n\nHuman: … \n\nAssistant: …", "rejected": "\n\nHuman: … \n\nAssistant: …"}',
            _is_hh, hh_rlhf.parse,
        ),
        Format(
            "open_assistant", "Open-Assistant trees", "A comparison of each turn's ranked replies; ranks become tiers.",
            '{"message_tree_id": "…", "prompt": {"text": "…", "role": "prompter", "replies": [{"rank": 0, …}, …]}}',
            open_assistant.is_tree, open_assistant.parse,
        ),
        Format(
            "alpaca", "Self-instruct and Alpaca", "Demonstrations: instruction and input are the prompt.",
            '{"instruction": "…", "input": "…", "output": "…"}',
            alpaca.is_instruction, alpaca.parse,
        ),
        Format(
            "label_studio", "Label Studio", "Comparisons and demonstrations, of the JSON export.",
            '[{"data": {"prompt": "…", "items": […]}, "annotations": [{"result": […]}]}]',
            label_studio.is_task, label_studio.parse,
        ),
        Format(
            "columns", "Rows in TRL's columns", "Prompts, demonstrations or comparisons, by the columns of a row.",
            '{"prompt": "…", "chosen": "…", "rejected": "…"}',
            lambda value: isinstance(value, dict), columns.parse,
        ),
    )
}  # fmt: skip


@dataclass(slots=True)
class Parsed:
    """What one record became: items, or the problem that keeps it out."""

    number: int
    items: list[Item] = field(default_factory=list)
    problem: str = ""
    split: str = ""
    ends: bool = False  # nothing behind it can be read


def parse_records(records: Iterator[Record], name: str, mapping: Columns) -> Iterator[Parsed]:
    parse = FORMATS[name].parse
    for record in records:
        if record.problem:
            yield Parsed(record.number, problem=record.problem, ends=record.ends)
            continue
        try:
            yield Parsed(record.number, list(parse(record.value, mapping)), split=record.split)
        except ValueError as error:
            yield Parsed(record.number, problem=storable(str(error)))
        except (TypeError, AttributeError, KeyError, OverflowError, RecursionError):
            yield Parsed(record.number, problem="a value in it is of a kind that does not belong there")


@dataclass
class Sample:
    """The beginning of a file: its records, the format they seem to be in, and their columns."""

    records: list[Record]
    format: str
    columns: list[str]
    whole: bool  # whether there is nothing more


def sample(path: Path, size: int = SAMPLE) -> Sample:
    """Raises ValueError with a sentence when the file cannot be read at all, or holds nothing."""
    found = list(islice(read_records(path), size + 1))
    values = [record.value for record in found if not record.problem]
    if not found:
        raise ValueError(f"{path.name} is empty: there are no rows in it.")
    if not values:
        raise ValueError(f"{path.name}, {found[0].number}: {found[0].problem}.")
    guesses = [next((f.name for f in FORMATS.values() if f.recognises(value)), "") for value in values[:20]]
    guess = max(set(guesses), key=guesses.count) or "columns"
    names = dict.fromkeys(name for value in values if isinstance(value, dict) for name in value)
    return Sample(found[:size], guess, [str(name) for name in names], len(found) <= size)
