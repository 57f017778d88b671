"""The columns of a JSONL file as Arrow types and as Hugging Face features. Pure.

A type is what all rows of the file have: messages, text, whole number, number, yes or no, list of whole numbers. What
is mixed or nested otherwise is kept as JSON text.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

MESSAGE = pa.struct([("role", pa.string()), ("content", pa.string())])
TYPES: dict[str, tuple[pa.DataType, Any]] = {  # kind: Arrow type, Hugging Face feature (in the form all versions read)
    "messages": (pa.list_(MESSAGE), [{name: {"dtype": "string", "_type": "Value"} for name in ("role", "content")}]),
    "text": (pa.string(), {"dtype": "string", "_type": "Value"}),
    "integer": (pa.int64(), {"dtype": "int64", "_type": "Value"}),
    "number": (pa.float64(), {"dtype": "float64", "_type": "Value"}),
    "boolean": (pa.bool_(), {"dtype": "bool", "_type": "Value"}),
    "integers": (pa.list_(pa.int64()), [{"dtype": "int64", "_type": "Value"}]),
    "json": (pa.string(), {"dtype": "string", "_type": "Value"}),
}
LARGEST = 2**63


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    if path.is_file():
        with open(path, encoding="utf8") as file:
            for line in file:
                if line.strip():
                    yield json.loads(line)


def kinds_of(paths: Iterable[Path]) -> dict[str, str]:
    """Each column's kind over all rows of these files, in the order in which the columns first appear."""
    found: dict[str, set[str]] = {}
    for path in paths:
        for row in read_rows(path):
            for name, value in row.items():
                found.setdefault(name, set()).update(_kind(value))
    return {name: _common(kinds) for name, kinds in found.items()}


def _kind(value: Any) -> set[str]:
    if value is None:
        return set()
    if isinstance(value, bool):
        return {"boolean"}
    if isinstance(value, int):
        return {"integer"} if -LARGEST <= value < LARGEST else {"json"}
    if isinstance(value, float):
        return {"number"}
    if isinstance(value, str):
        return {"text"}
    if isinstance(value, list) and not value:
        return {"empty"}
    if isinstance(value, list) and all(_is_message(v) for v in value):
        return {"messages"}
    if isinstance(value, list) and all(type(v) is int and -LARGEST <= v < LARGEST for v in value):
        return {"integers"}
    return {"json"}


def _is_message(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == {"role", "content"} and all(
        isinstance(part, str) for part in value.values()
    )  # fmt: skip


def _common(kinds: set[str]) -> str:
    if kinds == {"integer", "number"}:
        return "number"
    lists = kinds - {"empty"}
    if "empty" in kinds and lists <= {"messages", "integers"} and len(lists) < 2:
        return next(iter(lists), "json")
    return next(iter(kinds)) if len(kinds) == 1 else "text" if not kinds else "json"


def schema_of(kinds: dict[str, str]) -> pa.Schema:
    """The Arrow schema, with the features in its metadata, from which `datasets` makes its own types."""
    info = json.dumps({"info": {"features": features_of(kinds)}})
    return pa.schema([(name, TYPES[kind][0]) for name, kind in kinds.items()], metadata={"huggingface": info})


def features_of(kinds: dict[str, str]) -> dict[str, Any]:
    return {name: TYPES[kind][1] for name, kind in kinds.items()}


def typed(rows: Iterable[dict[str, Any]], kinds: dict[str, str]) -> Iterator[dict[str, Any]]:
    """Rows with what is of mixed kind as JSON text."""
    as_text = [name for name, kind in kinds.items() if kind == "json"]
    for row in rows:
        yield {**row, **{name: json.dumps(row[name], ensure_ascii=False) for name in as_text if name in row}}
