"""Small files for tests of imports, and the steps from such a file to its rows."""

from __future__ import annotations

import json

import pytest

from annotation.imports import batches, stage
from annotation.models import Comparison, Completion, Demonstration, ImportBatch, Prompt
from studio.models import Project, User


@pytest.fixture(autouse=True)
def unsent(monkeypatch, var):
    """Tasks are called by hand; `unsent` lists what would have been sent to a worker."""
    sent: list[tuple[str, int]] = []
    for name in ("stage_import", "clear_import"):
        task = type("Task", (), {"delay": staticmethod(lambda pk, name=name: sent.append((name, pk)))})
        monkeypatch.setattr(f"annotation.imports.tasks.{name}", task)
    return sent


def pair(n: int, **more: object) -> dict[str, object]:
    return {"prompt": f"Question {n}?", "chosen": f"Good {n}", "rejected": f"Bad {n}", **more}


def keep(project: Project, user: User, *lines: object, name: str = "pairs.jsonl", **options: object) -> ImportBatch:
    text = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
    batch = batches.keep_upload(project, user, name, [text.encode()])
    batches.choose(batch, batch.format, **options)
    return batch


def bring_in(project: Project, user: User, *lines: object, **more: object) -> ImportBatch:
    batch = keep(project, user, *lines, **more)
    batches.confirm(batch)
    stage.stage(batch.pk)
    batch.refresh_from_db()
    return batch


def left() -> tuple[int, int, int, int]:
    """Rows in the tables, seen or not."""
    return tuple(m.everything.count() for m in (Prompt, Completion, Demonstration, Comparison))


def small_batches(monkeypatch, size: int = 2) -> None:
    monkeypatch.setattr(stage, "BATCH", {"sqlite": size, "postgresql": size})
