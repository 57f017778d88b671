"""SIGKILL of a real Celery worker in the middle of an import and of an undo; then another one is started.

Nothing else is touched: beat finds what was left behind by its heartbeat, and sends it again.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from annotation.imports import batches, stage, undo
from annotation.models import Comparison, Completion, ImportBatch, JournalEntry, Prompt
from studio.models import Project, User
from tests.annotation.import_files import left, pair
from tests.workers import Workers, wait_for

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

ROWS = 6000  # fifteen transactions
GONE = (0, 0, 0, 0)
ALL = (ROWS, 2 * ROWS, 0, ROWS)


@pytest.fixture
def batch(project: Project, engineer: User) -> ImportBatch:
    text = "".join(json.dumps(pair(n)) + "\n" for n in range(ROWS))
    return batches.keep_upload(project, engineer, "pairs.jsonl", [text.encode()])


def kill_while_reading(batch: ImportBatch, workers: Workers) -> None:
    """SIGKILL once some rows are staged; they are there, as many as were counted, and nobody sees one."""
    batches.confirm(batch)
    wait_for(lambda: ImportBatch.objects.filter(pk=batch.pk, rows_done__gt=0).exists(), what="staged rows")
    workers.kill()
    batch.refresh_from_db()
    assert batch.status == "staging"
    assert 0 < batch.rows_done < ROWS, "it was over before the kill: give it more rows"
    assert left() == (batch.rows_done, 2 * batch.rows_done, 0, batch.rows_done)
    assert_shown(0)


def assert_shown(rows: int) -> None:
    assert (Prompt.objects.count(), Completion.objects.count(), Comparison.objects.count()) == (rows, 2 * rows, rows)


def reach(batch: ImportBatch, status: str, workers: Workers) -> None:
    def over() -> bool:
        batch.refresh_from_db()
        return batch.status not in ("waiting", "staging", "undoing")

    wait_for(over, 90, f"the end of the import\n{workers.log()}")
    assert batch.status == status, batch.error


def test_the_next_worker_brings_every_row_in_once(batch, workers):
    kill_while_reading(batch, workers)
    workers.start()
    reach(batch, "visible", workers)
    assert left() == ALL
    assert_shown(ROWS)
    assert (batch.rows_done, batch.rows_total, batch.counts["comparisons"]) == (ROWS, ROWS, ROWS)
    assert JournalEntry.objects.filter(act="imported").count() == 1


def test_a_file_that_changed_meanwhile_fails_the_import_with_a_sentence_and_leaves_nothing(batch, workers):
    kill_while_reading(batch, workers)
    path = Path(batch.path)
    path.write_text(path.read_text().replace("Good", "Best"))
    workers.start()
    reach(batch, "failed", workers)
    assert batch.error == "pairs.jsonl has changed since its preview: import it again."
    assert left() == GONE


def test_an_undo_is_finished_by_the_next_worker(batch, engineer, workers):
    batches.confirm(batch)
    reach(batch, "visible", workers)
    undo.undo(batch, engineer)
    wait_for(lambda: left() != ALL, what="rows deleted")
    workers.kill()
    assert left() != GONE, "it was over before the kill: give it more rows"
    assert_shown(0)
    workers.start()
    reach(batch, "undone", workers)
    assert left() == GONE
    assert list(stage.unattended()) == []
