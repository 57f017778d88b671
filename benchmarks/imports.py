"""How fast a file of comparisons comes in, and what a corrupt row does: `python -m benchmarks.imports [--rows 100000]`.

Prints one JSON object. Into a new PostgreSQL: `import_rows_per_second` from the confirmed file to visible labels, every
row checked; `peak_memory_mb` by which the process grew meanwhile; `corrupt`: what the same file with row 73,211 broken
reports, how long that took, and how many rows it left in the database (none).
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import annotation_data as data
from benchmarks.annotation import _database, _set_up

CORRUPT = 73_211
WORDS = ["a", "list", "of", "tuples", "sorts", "by", "key", "while", "the", "generator", "yields", "rows", "lazily"]


def write_pairs(path: Path, rows: int, *, corrupt: int | None = None, seed: int = 0) -> Path:
    """Preference pairs in TRL's columns, about 900 bytes each; line `corrupt` (from 1) breaks off in the middle."""
    generator = random.Random(seed)

    def text(words: int) -> str:
        return " ".join(generator.choices(WORDS, k=words))

    with open(path, "w", encoding="utf8") as file:
        for number in range(1, rows + 1):
            row = {"prompt": f"Question {number}: {text(20)}?", "chosen": text(70), "rejected": text(60)}
            line = json.dumps(row)
            file.write((line[: len(line) // 2] if number == corrupt else line) + "\n")
    return path


def measure(directory: Path, server: Any, rows: int = 100_000) -> dict[str, Any]:
    from annotation.models import Comparison, Completion, Prompt

    good = write_pairs(directory / "var" / "imports" / "pairs.jsonl", rows)
    at = min(CORRUPT, rows)
    bad = write_pairs(directory / "var" / "imports" / "corrupt.jsonl", rows, corrupt=at, seed=1)
    with data.on_database(_database(server, "import_speed")):
        data.make_crowd(1)
        before = _counts(Prompt, Completion, Comparison)
        memory = _peak_memory()
        batch, seconds = _bring_in(good)
        assert batch.status == "visible", batch.error
        added = [now - then for now, then in zip(_counts(Prompt, Completion, Comparison), before)]
        assert added == [rows, 2 * rows, rows], added
        grown = _peak_memory() - memory
        after = _counts(Prompt, Completion, Comparison)
        failed, failed_seconds = _bring_in(bad)
        left = sum(_counts(Prompt, Completion, Comparison)) - sum(after)
        assert failed.status == "failed" and f"line {at}:" in failed.error, failed.error
    return {
        "import_rows": rows,
        "import_rows_per_second": round(rows / seconds),
        "peak_memory_mb": round(grown, 1),
        "corrupt": {"reported": failed.error, "seconds": round(failed_seconds, 1), "rows_left": left},
    }


def _counts(*models: Any) -> list[int]:
    return [model.everything.count() for model in models]


def _peak_memory() -> float:
    """Megabytes; Linux counts in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _bring_in(path: Path) -> tuple[Any, float]:
    from annotation.imports import batches, stage
    from annotation.models import ImportBatch
    from studio.models import Project, User

    batch = batches.take_path(Project.objects.get(), User.objects.earliest("pk"), str(path))
    ImportBatch.objects.filter(pk=batch.pk).update(status=ImportBatch.Status.WAITING)  # confirmed; no worker here
    started = time.perf_counter()
    stage.stage(batch.pk)
    seconds = time.perf_counter() - started
    batch.refresh_from_db()
    return batch, seconds


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rows", type=int, default=100_000)
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="import-benchmark-") as scratch:
        directory = Path(scratch)
        _set_up(directory)
        with data.postgres(directory) as server:
            print(json.dumps(measure(directory, server, options.rows)))


if __name__ == "__main__":
    main()
