"""The end of a run's log, as a page shows it."""

from __future__ import annotations

import re
from pathlib import Path

TAIL_BYTES = 32_768
ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")


def read_tail(path: Path, limit: int = TAIL_BYTES) -> str:
    """The last whole lines within `limit` bytes, as a terminal would show them: of a progress bar that redraws its
    line, what it drew last, and no colours."""
    if not path.exists():
        return ""
    with open(path, "rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - limit))
        tail = file.read(limit)
    if size > limit:
        tail = tail[tail.find(b"\n") + 1 :]
    text = ANSI.sub("", tail.decode("utf8", errors="replace")).replace("\r\n", "\n")
    return "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in text.rstrip().split("\n"))
