"""Files become rows that nobody sees until the flip: whole or not at all, and once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from annotation import queue
from annotation.exports.labels import _Names, comparison_rows
from annotation.imports import batches, stage, undo
from annotation.imports.batches import AlreadyImported
from annotation.models import Comparison, Completion, Demonstration, ImportBatch, JournalEntry, Prompt
from annotation.people import board
from annotation.prompts import import_prompts
from annotation.submit import submit_ranking
from studio.models import Project, User
from tests.annotation.import_files import bring_in, keep, left, pair, small_batches, unsent  # noqa: F401  (fixture)


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

    def test_accounts_of_files_are_listed_apart_from_people(self, project, engineer, rank_queue, sme, client_for, call):
        lines = [pair(n, annotator=name) for n, name in enumerate(("w1", "w1", "w2"))]
        bring_in(project, engineer, *lines, {"prompt": "Write?", "completion": "So.", "annotator": "w2"})
        bring_in(project, engineer, pair(4, annotator="w1"), name="other.jsonl")
        submit_ranking(queue.claim_next(rank_queue, sme), [["b"], ["a"], ["c"]])
        found = board(project)
        assert {person.user for person in found.people} == {sme, engineer}
        assert {each.user.display_name: each.labels for each in found.imported} == {
            "w1 (pairs.jsonl)": 2, "w2 (pairs.jsonl)": 2, "w1 (other.jsonl)": 1,
        }  # fmt: skip
        assert found.imported[-1].labels == 1  # those with most labels first
        assert found.everybody.rankings == 1
        seen = client_for(engineer).get("/projects/helpdesk/quality/").text
        table, apart = seen.split("Imported labels")
        assert "pairs.jsonl" not in table
        assert "5 labels of 3 accounts" in apart and "w1 (other.jsonl)" in apart
        told = call(engineer, "GET", "/projects/helpdesk/people").json()
        assert (len(told["people"]), told["imported_accounts"], told["imported_labels"]) == (2, 3, 5)

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

    def test_what_would_take_the_rest_of_the_file_with_it_is_not_passed_over(self, project, engineer):
        lists = [json.dumps([pair(1)]), json.dumps([pair(2)])]
        batch = bring_in(project, engineer, *lists, name="pairs.json", skip_bad=True)
        assert batch.status == "failed" and "what stands behind it would be lost" in batch.error
        assert left() == (0, 0, 0, 0)

    def test_a_reason_quotes_nothing_that_no_database_holds(self, project, engineer):
        batch = bring_in(project, engineer, pair(1, split="te\0st\ud800"), pair(2), skip_bad=True)
        ((_, reason),) = batch.counts["skipped_rows"]
        assert "not 'te\ufffdst?'" in reason

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
