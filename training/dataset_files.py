"""Read dataset artifacts: one JSONL file a split, in TRL's columns, checked before anything heavy is loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from training.jsonl import read_jsonl

MESSAGE_COLUMNS = {
    "demonstrations": ("prompt", "completion"),
    "comparisons": ("prompt", "chosen", "rejected"),
    "prompts": ("prompt",),
}


def read_split(dataset: Path, dataset_type: str, split: str, required: bool = True) -> list[dict[str, Any]]:
    """The rows of `<split>.jsonl`; an empty list when an optional split is not there.

    Raises ValueError when the dataset is of another type, a required split is missing or empty, or a row lacks a
    column or has messages that are none; file and row are named.
    """
    _check_type(dataset, dataset_type)
    file = dataset / f"{split}.jsonl"
    if not file.is_file():
        if required:
            raise ValueError(f"{dataset} has no {split}.jsonl: choose a frozen dataset of type {dataset_type}.")
        return []
    rows = read_jsonl(file)
    if required and not rows:
        raise ValueError(f"{file} is empty: freeze a dataset with at least one row in its {split} split.")
    for number, row in enumerate(rows, start=1):
        for column in MESSAGE_COLUMNS[dataset_type]:
            _check_messages(row, column, f"{file}, row {number}")
    return rows


def _check_type(dataset: Path, dataset_type: str) -> None:
    description = dataset / "dataset.json"
    if not description.is_file():
        return
    try:
        found = json.loads(description.read_text(encoding="utf8")).get("type")
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{description} is not a valid dataset description: {error}") from error
    if found != dataset_type:
        raise ValueError(f"{dataset} is a dataset of type '{found}'; this recipe needs one of type '{dataset_type}'.")


def _check_messages(row: dict[str, Any], column: str, where: str) -> None:
    if column not in row:
        raise ValueError(f"{where}: column '{column}' is missing; found {', '.join(row) or 'nothing'}.")
    messages = row[column]
    whole = (
        isinstance(messages, list)
        and messages
        and all(
            isinstance(m, dict) and isinstance(m.get("role"), str) and isinstance(m.get("content"), str)
            for m in messages
        )
    )
    if not whole:
        raise ValueError(f'{where}: column \'{column}\' must be a list of messages {{"role": …, "content": …}}.')
    if column != "prompt" and (len(messages) != 1 or messages[0]["role"] != "assistant"):
        raise ValueError(f"{where}: column '{column}' must hold exactly one message, of role assistant.")
