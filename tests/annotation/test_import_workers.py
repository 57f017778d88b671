"""Imports whose worker dies, that are cancelled or undone, and that run side by side."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.db import IntegrityError, connection
from django.utils import timezone

from annotation.datasets import freeze_comparisons
from annotation.imports import batches, rows, stage, undo
from annotation.models import Comparison, ImportBatch, JournalEntry, Kind, Prompt
from annotation.prompts import import_prompts
from annotation.tasks import add_tasks, find_queue
from studio.models import Project, User
from tests.annotation.import_files import bring_in, keep, left, pair, small_batches, unsent  # noqa: F401  (fixture)
from tests.annotation.test_concurrency import in_threads


@pytest.mark.django_db
class TestCrashes:
    def crash(self, monkeypatch, after: int) -> None:
        """The worker dies when it has written `after` groups of rows."""
        calls = []
        write = rows.RowWriter.write

        def dying(self, records):
            calls.append(1)
            if len(calls) > after:
                raise KeyboardInterrupt
            return write(self, records)

        monkeypatch.setattr(rows.RowWriter, "write", dying)

    def test_the_next_worker_goes_on_where_the_last_stopped(self, project, engineer, monkeypatch):
        small_batches(monkeypatch)
        batch = keep(project, engineer, *(pair(n) for n in range(7)))
        batches.confirm(batch)
        with monkeypatch.context() as patch:
            self.crash(patch, after=2)
            with pytest.raises(KeyboardInterrupt):
                stage.stage(batch.pk)
        batch.refresh_from_db()
        assert (batch.status, batch.rows_done, left()) == ("staging", 4, (4, 8, 0, 4))
        stage.stage(batch.pk)  # its heartbeat is fresh: somebody may be alive
        assert list(stage.unattended()) == []
        ImportBatch.objects.update(heartbeat_at="2020-01-01T00:00Z")
        assert list(stage.unattended()) == [("stage", batch.pk)]
        stage.stage(batch.pk)
        batch.refresh_from_db()
        assert (batch.status, batch.rows_done, left()) == ("visible", 7, (7, 14, 0, 7))
        assert batch.counts["comparisons"] == 7

    def test_a_worker_that_was_given_up_writes_nothing_more(self, project, engineer, monkeypatch):
        small_batches(monkeypatch)
        write = rows.RowWriter.write

        def taken_over(self, records):
            made = write(self, records)
            ImportBatch.objects.update(heartbeat_at=timezone.now())  # another worker's
            return made

        monkeypatch.setattr(rows.RowWriter, "write", taken_over)
        batch = bring_in(project, engineer, *(pair(n) for n in range(5)))
        assert (batch.status, batch.rows_done, left()) == ("staging", 0, (0, 0, 0, 0))

    def test_rows_that_clash_at_the_end_are_written_once_more_and_counted_once(self, project, engineer, monkeypatch):
        small_batches(monkeypatch)
        hold, clashes = stage.hold, [IntegrityError("at the commit")]

        def clashing(batch, expected, **changes):
            hold(batch, expected, **changes)
            if "rows_done" in changes and clashes:
                raise clashes.pop()

        monkeypatch.setattr(stage, "hold", clashing)
        batch = bring_in(project, engineer, *(pair(n) for n in range(3)))
        assert (batch.status, batch.rows_done, batch.counts["comparisons"]) == ("visible", 3, 3)
        assert left() == (3, 6, 0, 3)

    def test_an_undo_that_was_interrupted_is_finished(self, project, engineer, monkeypatch):
        small_batches(monkeypatch)
        batch = bring_in(project, engineer, *(pair(n) for n in range(5)))
        undo.undo(batch, engineer)
        with monkeypatch.context() as patch:
            patch.setattr(undo, "_delete", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                undo.take_up(batch.pk)
        ImportBatch.objects.update(heartbeat_at="2020-01-01T00:00Z")
        assert list(stage.unattended()) == [("clear", batch.pk)]
        undo.take_up(batch.pk)
        batch.refresh_from_db()
        assert (batch.status, left()) == ("undone", (0, 0, 0, 0))

    def test_cancel_while_reading(self, project, engineer, monkeypatch):
        small_batches(monkeypatch)
        write = stage._write

        def then_cancel(batch, writer, group):
            write(batch, writer, group)
            stage.cancel(batch)

        monkeypatch.setattr(stage, "_write", then_cancel)
        batch = bring_in(project, engineer, *(pair(n) for n in range(5)))
        assert (batch.status, left()[0]) == ("undoing", 2)
        undo.take_up(batch.pk)
        batch.refresh_from_db()
        assert (batch.status, left()) == ("cancelled", (0, 0, 0, 0))
        with pytest.raises(ValueError, match="not being read any more"):
            stage.cancel(batch)


@pytest.mark.django_db
class TestUndo:
    def test_rows_vanish_at_once_and_are_deleted_after(self, project, engineer):
        kept = bring_in(project, engineer, pair(0), name="kept.jsonl")
        batch = bring_in(project, engineer, pair(1), pair(2))
        undo.undo(batch, engineer)
        assert (Prompt.objects.count(), left()[0]) == (1, 3)
        undo.take_up(batch.pk)
        batch.refresh_from_db()
        assert (batch.status, left()) == ("undone", (1, 2, 0, 1))
        assert JournalEntry.objects.filter(act="import undone").exists()
        assert Path(kept.path).exists() and not Path(batch.path).exists()
        assert bring_in(project, engineer, pair(1), pair(2)).status == "visible"

    def test_refused_with_what_was_built_on_it(self, project, engineer):
        batch = bring_in(project, engineer, *(pair(n) for n in range(3)), split="train")
        prompt = Prompt.objects.first()
        add_tasks(find_queue(project, Kind.RANK), [(prompt, list(prompt.completions.all()))])
        freeze_comparisons(project, engineer)
        bring_in(project, engineer, pair(1, rationale="Also."), name="other.jsonl")
        with pytest.raises(undo.BuiltOn) as error:
            undo.undo(batch, engineer)
        assert sorted(error.value.reasons) == ["1 comparison", "1 task", "3 dataset items"]
        batch.refresh_from_db()
        assert batch.status == "visible"

    def test_work_that_came_between_the_undo_and_the_worker_brings_the_rows_back(self, project, engineer):
        batch = bring_in(project, engineer, pair(1))
        prompt = Prompt.objects.get()
        undo.undo(batch, engineer)
        add_tasks(find_queue(project, Kind.DEMONSTRATE), [(prompt, ())])
        undo.take_up(batch.pk)
        batch.refresh_from_db()
        assert (batch.status, Prompt.objects.count()) == ("visible", 1)
        assert "1 task" in batch.error

    def test_not_twice(self, project, engineer):
        batch = bring_in(project, engineer, pair(1))
        undo.undo(batch, engineer)
        with pytest.raises(ValueError, match="not there to be undone"):
            undo.undo(batch, engineer)


def assert_two_files_come_in_one_after_the_other() -> None:
    """Two imports of one project, two workers each: one file after the other, every row once."""
    project = Project.objects.create(slug="crowd", name="Crowd")
    user = User.objects.create(username="lead")
    made = [
        keep(project, user, *(pair(n) for n in range(start, start + 30)), name=f"{start}.jsonl") for start in (0, 20)
    ]
    for batch in made:
        batches.confirm(batch)
    in_threads(lambda batch: stage.stage(batch.pk), [*made, *made])
    while waiting := list(stage.unattended()):
        for act, pk in waiting:
            assert act == "stage"
            stage.stage(pk)
    assert set(ImportBatch.objects.values_list("status", flat=True)) == {"visible"}
    assert left() == (50, 100, 0, 50)
    assert sorted(b.counts["comparisons"] for b in ImportBatch.objects.all()) == [20, 30]


def assert_prompts_added_by_hand_meanwhile_are_there_once() -> None:
    """The same prompts come by hand and by file at the same moment: each is there once, in one split."""
    project = Project.objects.create(slug="crowd", name="Crowd")
    user = User.objects.create(username="lead")
    batch = keep(project, user, *(pair(n) for n in range(40)))
    batches.confirm(batch)

    def by_hand(number: int) -> int:
        try:
            return import_prompts(project, [{"prompt": f"Question {n}?"} for n in range(number, 40, 5)], user).created
        except ValueError:  # they are part of the import just now
            return 0

    in_threads(lambda n: stage.stage(batch.pk) if n < 0 else by_hand(n), [-1, 0, 1, 2])
    batch.refresh_from_db()
    assert batch.status == "visible"
    assert (Prompt.objects.count(), Comparison.objects.count()) == (40, 40)


CHECKS = [assert_two_files_come_in_one_after_the_other, assert_prompts_added_by_hand_meanwhile_are_there_once]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("assert_check", CHECKS)
def test_side_by_side_on_one_file(assert_check, monkeypatch):
    small_batches(monkeypatch, 7)
    assert_check()


@pytest.mark.postgres
@pytest.mark.parametrize("assert_check", CHECKS)
def test_side_by_side_on_postgres(on_postgres, assert_check, monkeypatch):
    assert connection.vendor == "postgresql"
    small_batches(monkeypatch, 7)
    assert_check()
