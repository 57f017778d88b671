"""What an artifact's page shows of its content: the first rows of data, the facts of a model."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from studio.runs.models import Artifact
from studio.web.templatetags.studio import number

ROWS = 8
MAX_LINE_BYTES = 200_000  # a longer row is not shown
MAX_JSON_BYTES = 5_000_000
MODEL_FACTS = {
    "architectures": "Architecture",
    "num_hidden_layers": "Layers",
    "hidden_size": "Hidden size",
    "intermediate_size": "Feed-forward size",
    "num_attention_heads": "Attention heads",
    "num_key_value_heads": "Key and value heads",
    "vocab_size": "Vocabulary",
    "max_position_embeddings": "Context length",
    "tie_word_embeddings": "Embeddings tied",
    "torch_dtype": "Number format",
    "dtype": "Number format",
}
REPORT_COLUMNS = ("model", "task", "metric", "value", "low", "high", "stderr", "n", "scorer")
TOKENIZER_FACTS = {
    "tokenizer_class": "Class",
    "model_max_length": "Longest input",
    "eos_token": "End of text",
    "pad_token": "Padding",
}


@dataclass
class Part:
    """The first rows of one file, in the shape that `layout` names."""

    file: str
    layout: str  # text, conversations, comparisons, labelled, completions, report
    rows: list[dict[str, Any]]
    columns: list[str] = field(default_factory=list)  # of the layouts that are tables

    @property
    def title(self) -> str:
        if self.layout == "report":
            return "Results"
        part = {"train": "training", "test": "test", "heldout": "held-out"}.get(Path(self.file).stem, "")
        return f"First rows of the {part} part" if part else "First rows"

    @property
    def table(self) -> list[list[Cell]]:
        return [[_cell(row.get(column)) for column in self.columns] for row in self.rows]


@dataclass(frozen=True)
class Cell:
    text: str
    is_number: bool


def _cell(value: Any) -> Cell:
    if isinstance(value, bool):
        return Cell("yes" if value else "no", False)
    if isinstance(value, int | float):
        return Cell(number(value), True)
    if isinstance(value, dict):
        value = value.get("name", "")
    text = "" if value is None else str(value)
    return Cell(text if len(text) <= 300 else f"{text[:300]}…", False)


@dataclass
class Preview:
    parts: list[Part] = field(default_factory=list)
    facts: list[tuple[str, str]] = field(default_factory=list)
    card: str = ""  # README.md, Markdown


def preview(artifact: Artifact) -> Preview:
    root = artifact.directory
    result = Preview(card=_card(root))
    if artifact.kind == Artifact.Kind.DATASET:
        result.parts = _dataset(root, artifact.dataset_type)
    elif artifact.kind == Artifact.Kind.CORPUS:
        result.parts = _parts(root, ("train.jsonl", "heldout.jsonl"), "text")
    elif artifact.kind == Artifact.Kind.COMPLETIONS:
        result.parts = _parts(root, ("completions.jsonl",), "completions")
    elif artifact.kind == Artifact.Kind.REPORT:
        result.parts = _report(root)
    elif artifact.kind == Artifact.Kind.TOKENIZER:
        result.facts = _facts(_read_json(root / "tokenizer_config.json"), TOKENIZER_FACTS)
    else:
        encoder = root / "encoder" if artifact.kind == Artifact.Kind.SCORER else root
        result.facts = _facts(_read_json(encoder / "config.json"), MODEL_FACTS)
    return result


def first_rows(path: Path, count: int = ROWS) -> list[dict[str, Any]]:
    """The first rows of a JSONL file, however long it is; lines that are no object are left out."""
    if not path.is_file():
        return []
    rows = []
    with open(path, "rb") as file:
        for line in islice(iter(lambda: file.readline(MAX_LINE_BYTES), b""), count):
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if isinstance(row, dict):
                rows.append(row)
    return rows


def _parts(root: Path, files: tuple[str, ...], layout: str) -> list[Part]:
    parts = [Part(name, layout, [_as_messages(row) for row in first_rows(root / name)]) for name in files]
    return [part for part in parts if part.rows]


def _dataset(root: Path, dataset_type: str) -> list[Part]:
    layout = {"demonstrations": "conversations", "prompts": "conversations"}.get(dataset_type, dataset_type)
    parts = _parts(root, ("train.jsonl", "test.jsonl"), layout)
    for part in parts:
        part.columns = list(part.rows[0])
    return parts


def _as_messages(row: dict[str, Any]) -> dict[str, Any]:
    """Prompts and answers that are plain texts become messages, so that a page has one shape to show."""
    shown = dict(row)
    for column in ("prompt", "completion", "chosen", "rejected"):
        value = row.get(column)
        if isinstance(value, str):
            shown[column] = [{"role": "user" if column == "prompt" else "assistant", "content": value}]
        elif column in row:
            shown[column] = [turn for turn in value if isinstance(turn, dict)] if isinstance(value, list) else []
    return shown


def _report(root: Path) -> list[Part]:
    rows = [row for row in _read_json(root / "report.json").get("rows", []) if isinstance(row, dict)]
    columns = [name for name in REPORT_COLUMNS if any(row.get(name) not in (None, "") for row in rows)]
    return [Part("report.json", "report", rows[:200], columns)] if rows else []


def _facts(document: dict[str, Any], names: dict[str, str]) -> list[tuple[str, str]]:
    facts = []
    for key, label in names.items():
        value = document.get(key)
        if isinstance(value, dict):  # a token with its flags
            value = value.get("content")
        if isinstance(value, list):
            value = ", ".join(str(item) for item in value)
        if isinstance(value, bool):
            value = "yes" if value else "no"
        if isinstance(value, int) and value < 10**9:  # transformers writes 10³⁰ for "no limit"
            value = f"{value:,}"
        if isinstance(value, str) and value:
            facts.append((label, value))
    return facts


def _read_json(path: Path) -> dict[str, Any]:
    """An object, or {} where there is none to show."""
    if not path.is_file() or path.stat().st_size > MAX_JSON_BYTES:
        return {}
    try:
        document = json.loads(path.read_bytes())
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _card(root: Path) -> str:
    path = root / "README.md"
    return path.read_text(encoding="utf8", errors="replace")[:100_000] if path.is_file() else ""
