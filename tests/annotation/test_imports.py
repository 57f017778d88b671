"""Files become rows that nobody sees until the flip: whole or not at all, once, through crashes and side by side."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from annotation import queue
from annotation.datasets import freeze_comparisons
from annotation.exports.labels import _Names, comparison_rows
from annotation.imports import batches, rows, stage, undo
from annotation.imports.batches import AlreadyImported
from annotation.models import (
    Comparison,
    Completion,
    Demonstration,
    ImportBatch,
    JournalEntry,
    Kind,
    Prompt,
)  # fmt: skip
from annotation.prompts import import_prompts
from annotation.submit import submit_ranking
from studio.models import Project, User
from tests.annotation.test_concurrency import in_threads


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


@pytest.mark.django_db
class TestBringingIn:
    def test_exported_labels_come_back_as_they_were(self, project, engineer, rank_queue, sme):
        """The studio's own export of labels, into another project and out again."""
        names = _Names(project, pseudonyms=True)
        claim = queue.claim_next(rank_queue, sme)
        submit_ranking(
            claim, [["b"], ["a"]], unrankable=["c"], ratings={"a": 2}, flags={"a": ["opinion"]}, rationale="So."
        )
        (row,) = comparison_rows(project, names, False)
        other = Project.objects.create(slug="other", name="Other")
        bring_in(other, engineer, row, name="comparisons.jsonl")
        (again,) = comparison_rows(other, names, False)
        same = ("prompt", "answers", "tiers", "unrankable", "ratings", "flags", "rationale")
        assert {name: again[name] for name in same} == {name: row[name] for name in same}

    def test_comparisons_with_order_source_and_pseudonym(self, project, engineer):
        ranked = {"prompt": "Three?", "answers": ["a", "b", "c"], "tiers": [[2], [0]], "unrankable": [1],
                  "ratings": [3, None, 6], "rationale": "Because.", "annotator": "w1"}  # fmt: skip
        batch = bring_in(project, engineer, pair(1, strength=2), name="one.jsonl", source="Our pilot", cluster="pilot")
        assert (batch.status, batch.rows_done, batch.rows_total) == ("visible", 1, 1)
        assert batch.counts == {"prompts": 1, "prompts_known": 0, "demonstrations": 0, "demonstrations_known": 0,
                                "comparisons": 1, "comparisons_known": 0}  # fmt: skip
        made = Comparison.objects.get()
        good, bad = Completion.objects.order_by("id")
        assert (good.text, bad.text, good.author, good.model) == ("Good 1", "Bad 1", None, None)
        assert (made.tiers, made.shown_order, made.strength, made.source) == (
            [[good.pk], [bad.pk]], [good.pk, bad.pk], 2, "Our pilot",
        )  # fmt: skip
        assert set(made.completions.all()) == {good, bad}
        assert (made.prompt.cluster, made.prompt.source, made.prompt.created_by) == ("pilot", "Our pilot", engineer)
        assert (made.annotator.display_name, made.annotator.is_pseudonym, made.annotator.is_active) == (
            "Our pilot", True, False,
        )  # fmt: skip
        assert not made.annotator.has_usable_password()
        assert JournalEntry.objects.get(act="imported").detail["comparisons"] == 1
        bring_in(project, engineer, ranked, name="two.jsonl", source="Our pilot")
        other = Comparison.objects.get(prompt__messages__0__content="Three?")
        a, b, c = other.shown_order
        assert (other.tiers, other.unrankable, other.ratings) == ([[c], [a]], [b], {str(a): 3, str(c): 6})
        assert (other.annotator.display_name, other.rationale) == ("w1 (Our pilot)", "Because.")

    def test_demonstrations_and_prompts(self, project, engineer):
        lines = [{"prompt": "Write?", "completion": "Written.", "reasoning": "Thought."}, {"prompt": "Only asked?"}]
        bring_in(project, engineer, *lines, tags=["new"])
        made = Demonstration.objects.get()
        assert (made.completion.text, made.completion.author, made.reasoning) == (
            "Written.",
            made.annotator,
            "Thought.",
        )
        assert [p.tags for p in Prompt.objects.all()] == [["new"], ["new"]]

    def test_nothing_shows_before_the_flip_and_everything_after(self, project, engineer, monkeypatch):
        small_batches(monkeypatch)
        seen = []
        monkeypatch.setattr(
            stage, "show", lambda batch, user, flip=stage.show: (seen.append(counts()), flip(batch, user))
        )

        def counts():
            return (Prompt.objects.count(), Comparison.objects.count(), Completion.objects.count()), left()

        bring_in(project, engineer, *(pair(n) for n in range(5)))
        assert seen == [((0, 0, 0), (5, 10, 0, 5))]
        assert counts() == ((5, 5, 10), (5, 10, 0, 5))

    def test_answers_that_comparisons_share_are_one_completion(self, project, engineer):
        lines = [{"prompt": "Q?", "chosen": "A", "rejected": "B"}, {"prompt": "Q?", "chosen": "B", "rejected": "C"}]
        bring_in(project, engineer, *lines)
        bring_in(project, engineer, {"prompt": "Q?", "chosen": "A", "rejected": "C"}, name="later.jsonl")
        assert sorted(Completion.objects.values_list("text", flat=True)) == ["A", "B", "C"]
        assert left() == (1, 3, 0, 3)


@pytest.mark.django_db
class TestBadRows:
    def test_one_stops_the_import_and_nothing_remains(self, project, engineer, monkeypatch):
        small_batches(monkeypatch)
        lines = [*(pair(n) for n in range(5)), {"prompt": "Q?", "chosen": "A"}, pair(6)]
        batch = bring_in(project, engineer, *lines)
        assert (batch.status, batch.error) == (
            "failed", "pairs.jsonl, line 6: a preference needs both 'chosen' and 'rejected'.",
        )  # fmt: skip
        assert left() == (0, 0, 0, 0)
        assert not JournalEntry.objects.exists()
        assert not Path(batch.path).exists()

    def test_they_can_be_passed_over_and_are_listed(self, project, engineer):
        batch = bring_in(project, engineer, pair(1), "{broken", pair(2, split="dev"), pair(3), skip_bad=True)
        assert (batch.status, batch.counts["comparisons"], batch.counts["skipped"]) == ("visible", 2, 2)
        (first, reason), (second, other) = batch.counts["skipped_rows"]
        assert (first, second) == (2, 3)
        assert "not valid JSON" in reason and "'split' must be" in other

    def test_a_file_that_changed_since_its_preview_is_refused(self, project, engineer):
        batch = keep(project, engineer, pair(1))
        Path(batch.path).write_text(json.dumps(pair(2)))
        batches.confirm(batch)
        stage.stage(batch.pk)
        batch.refresh_from_db()
        assert (batch.status, left()) == ("failed", (0, 0, 0, 0))
        assert "has changed since its preview" in batch.error

    @pytest.mark.parametrize(
        ("name", "content", "sentence"),
        [("a.jsonl", b"", "a.jsonl is empty"), ("a.jsonl", b"\n{oops", "not valid JSON"),
         ("a.parquet", b"PAR1", "is not a Parquet file"), ("a.jsonl.gz", b"\x1f\x8bxx", "cannot be read")],
    )  # fmt: skip
    def test_files_that_cannot_be_read_are_not_kept(self, project, engineer, var, name, content, sentence):
        with pytest.raises(ValueError, match=sentence):
            batches.keep_upload(project, engineer, name, [content])
        assert not ImportBatch.objects.exists()
        assert list((var / "uploads" / "imports").iterdir()) == []

    def test_paths_outside_the_import_roots(self, project, engineer, settings, tmp_path):
        settings.IMPORT_ROOTS = [tmp_path / "in"]
        (tmp_path / "in").mkdir()
        (tmp_path / "out.jsonl").write_text(json.dumps(pair(1)))
        (tmp_path / "in" / "link.jsonl").symlink_to(tmp_path / "out.jsonl")
        for path in (tmp_path / "out.jsonl", tmp_path / "in" / "link.jsonl", tmp_path / "in" / ".." / "out.jsonl"):
            with pytest.raises(ValueError, match="below these directories only"):
                batches.take_path(project, engineer, str(path))
        with pytest.raises(ValueError, match="no such file"):
            batches.take_path(project, engineer, str(tmp_path / "in" / "none.jsonl"))
        with pytest.raises(ValueError, match="whole path"):
            batches.take_path(project, engineer, "in/x.jsonl")
        (tmp_path / "in" / "fine.jsonl").write_text(json.dumps(pair(1)))
        assert batches.take_path(project, engineer, str(tmp_path / "in" / "fine.jsonl")).status == "preview"


@pytest.mark.django_db
class TestOnce:
    def test_the_same_content_says_so(self, project, engineer):
        batch = bring_in(project, engineer, pair(1))
        with pytest.raises(AlreadyImported, match=f"was imported already: pairs.jsonl, import {batch.pk}") as error:
            keep(project, engineer, pair(1), name="renamed.jsonl")
        assert error.value.batch == batch
        other = Project.objects.create(slug="other", name="Other")
        assert bring_in(other, engineer, pair(1)).status == "visible"

    def test_overlapping_files_add_what_is_new(self, project, engineer):
        bring_in(project, engineer, pair(1), pair(2))
        batch = bring_in(project, engineer, pair(2), pair(3), pair(2, rationale="Other."), pair(3), name="more.jsonl")
        assert {n: batch.counts[n] for n in ("prompts", "prompts_known", "comparisons", "comparisons_known")} == {
            "prompts": 1, "prompts_known": 1, "comparisons": 2, "comparisons_known": 2,
        }  # fmt: skip
        assert left() == (3, 6, 0, 4)

    def test_a_second_worker_does_nothing(self, project, engineer):
        batch = bring_in(project, engineer, pair(1))
        stage.stage(batch.pk)
        assert left() == (1, 2, 0, 1)


@pytest.mark.django_db
class TestSplits:
    def test_twins_stay_where_they_are_and_a_row_cannot_move_them(self, project, engineer):
        import_prompts(project, [{"prompt": "Question 1?", "split": "test"}], engineer)
        twin = pair(1, prompt="question 1", rationale="a twin")
        bring_in(project, engineer, twin, split="train")
        assert set(Prompt.objects.values_list("split", flat=True)) == {"test"}
        refused = bring_in(project, engineer, pair(1, prompt="QUESTION 1", split="train"), name="no.jsonl")
        assert refused.status == "failed"
        assert (
            "no.jsonl, line 1: it asks for split 'train', but the same question is in 'test' already" in refused.error
        )

    @pytest.mark.parametrize("split", ["train", "test"])
    def test_everything_into_one_split(self, project, engineer, split):
        bring_in(project, engineer, *(pair(n) for n in range(9)), split=split)
        assert set(Prompt.objects.values_list("split", flat=True)) == {split}

    def test_a_prompt_that_is_being_staged_cannot_be_added_by_hand(self, project, engineer, monkeypatch):
        monkeypatch.setattr(stage, "show", lambda *_: None)
        bring_in(project, engineer, pair(1), split="test")
        with pytest.raises(ValueError, match="row 1: this prompt is part of an import that is being read"):
            import_prompts(project, [{"prompt": "Question 1?"}], engineer)
        twin = import_prompts(project, [{"prompt": "question 1"}], engineer).prompts[0]
        assert twin.split == "test"


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
        queue.add_tasks(queue.find_queue(project, Kind.RANK), [(prompt, list(prompt.completions.all()))])
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
        queue.add_tasks(queue.find_queue(project, Kind.DEMONSTRATE), [(prompt, ())])
        undo.take_up(batch.pk)
        batch.refresh_from_db()
        assert (batch.status, Prompt.objects.count()) == ("visible", 1)
        assert "1 task" in batch.error

    def test_not_twice(self, project, engineer):
        batch = bring_in(project, engineer, pair(1))
        undo.undo(batch, engineer)
        with pytest.raises(ValueError, match="not there to be undone"):
            undo.undo(batch, engineer)


@pytest.mark.django_db
class TestCommand:
    def test_preview_import_and_complaint(self, project, owner, settings, tmp_path, capsys):
        settings.IMPORT_ROOTS = [tmp_path]
        path = tmp_path / "p.jsonl"
        path.write_text(json.dumps({"frage": "Was?", "chosen": "A", "rejected": "B"}) + "\n{oops\n")
        call = ["import_labels", str(path), "--project", "helpdesk", "--column", "prompt=frage"]
        call_command(*call, "--preview")
        assert "'Was?'" in (shown := capsys.readouterr().out) and "line 2: not valid JSON" in shown
        assert left() == (0, 0, 0, 0)
        with pytest.raises(CommandError, match="p.jsonl, line 2: not valid JSON"):
            call_command(*call)
        call_command(*call, "--skip-bad", "--licence", "MIT")
        assert "1 comparisons" in capsys.readouterr().out
        assert ImportBatch.objects.get(status="visible").options["licence"] == "MIT"
        with pytest.raises(CommandError, match="imported already"):
            call_command(*call)
        with pytest.raises(CommandError, match="no project"):
            call_command("import_labels", str(path), "--project", "none")


def two_files_at_once() -> None:
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


def prompts_added_by_hand_meanwhile() -> None:
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


SCENES = [two_files_at_once, prompts_added_by_hand_meanwhile]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("scene", SCENES)
def test_side_by_side_on_one_file(scene, monkeypatch):
    small_batches(monkeypatch, 7)
    scene()


@pytest.mark.postgres
@pytest.mark.parametrize("scene", SCENES)
def test_side_by_side_on_postgres(on_postgres, scene, monkeypatch):
    assert connection.vendor == "postgresql"
    small_batches(monkeypatch, 7)
    scene()


@pytest.mark.postgres
def test_copy_keeps_every_character(on_postgres, monkeypatch):
    project = Project.objects.create(slug="crowd", name="Crowd")
    user = User.objects.create(username="lead")
    text = 'Back\\slash \\N, tab\t, return\r, break\n\\., quote " and \u2028 🐍'
    lines = [{"prompt": text, "chosen": text + "1", "rejected": text, "rationale": text, "tags": [text]}]
    bring_in(project, user, *lines, {"prompt": "D?", "completion": text, "reasoning": text})
    made = Comparison.objects.get()
    assert made.prompt.messages == [{"role": "user", "content": text}] and made.prompt.tags == [text]
    assert sorted(c.text for c in made.completions.all()) == sorted([text, text + "1"])
    assert (made.rationale, made.seconds, made.strength, made.flags) == (text, None, None, {})
    assert Demonstration.objects.get().completion.text == text
    Prompt.objects.create(project=project, key="k", root="r", messages=[], split="train", created_by=user)
    batch = ImportBatch.objects.get()
    undo.undo(batch, user)
    undo.take_up(batch.pk)
    assert left() == (1, 0, 0, 0)
