"""Read people's JSONL files, and say where they are broken.

Pure standard library. `studio.runs.directory.read_jsonl` forgives a torn last line of our own logs; data that somebody
made must be whole.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Every object of a JSONL file (UTF-8, a BOM is allowed), in order; blank lines are passed over.

    Raises ValueError naming file and line when a line is not UTF-8, not JSON or not an object, and when there is no
    such file.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file.")
    rows = []
    for number, raw in enumerate(path.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        if raw.strip():
            rows.append(_parse_object(raw, f"{path}, line {number}"))
    return rows


def _parse_object(raw: bytes, where: str) -> dict[str, Any]:
    try:
        row = json.loads(raw.decode("utf8"))
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{where}: not UTF-8 text (byte {error.start + 1} of the line); save the file as UTF-8."
        ) from error
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{where}: not valid JSON ({error.msg}, column {error.colno}); correct or remove the line."
        ) from error
    if not isinstance(row, dict):
        raise ValueError(f"{where}: expected a JSON object like {{…}}, found {type(row).__name__}.")
    return row
