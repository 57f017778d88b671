"""The newest text samples of a run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

TAIL_BYTES = 1_000_000
SHOWN = 12
KNOWN = ("step", "time", "prompt", "text")


def read_samples(path: Path, label: Callable[[str], str]) -> list[dict[str, Any]]:
    """The last samples of samples.jsonl, newest first: step, prompt, text and what else was logged with them."""
    return [_sample(row, label) for row in reversed(_last_rows(path)[-SHOWN:])]


def _last_rows(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    with open(path, "rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - TAIL_BYTES))
        lines = file.read(TAIL_BYTES).split(b"\n")[:-1]
    rows = []
    for line in lines[1:] if size > TAIL_BYTES else lines:
        try:
            row = json.loads(line)
        except ValueError:  # a torn line that a resumed writer closed with a newline
            continue
        if isinstance(row, dict):
            rows.append(row)
    return rows


def _sample(row: dict[str, Any], label: Callable[[str], str]) -> dict[str, Any]:
    figures = [(label(n), _shown(v)) for n, v in row.items() if n not in KNOWN and isinstance(v, int | float | str)]
    prompt = row.get("prompt") or ""
    if isinstance(prompt, list):  # messages
        prompt = "\n\n".join(str(turn.get("content", "")) for turn in prompt)
    return {"step": row.get("step"), "prompt": prompt, "text": row.get("text", ""), "figures": figures}


def _shown(value: float | str) -> float | str:
    return ("no", "yes")[value] if isinstance(value, bool) else value
