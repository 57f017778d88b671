"""Work goes out as a file and comes back as one: places away, checked, staged unseen, accepted or rejected whole."""

from __future__ import annotations

import json

import pytest

from annotation import returns, vendors, verdicts
from annotation.gold_items import make_gold
from annotation.models import (
    Claim,
    Comparison,
    Demonstration,
    Gold,
    GoldResult,
    ImportBatch,
    JournalEntry,
    Slot,
    Task,
    VendorBatch,
)
from annotation.people import board
from annotation.progress import progress
from annotation.queue import claim_next
from annotation.return_report import Judged, report_on
from annotation.submit import submit_ranking
from annotation.tasks import add_tasks, withdraw_tasks
from studio.models import Guideline, User
from tests.annotation.test_concurrency import make_work


@pytest.fixture
def gold(rank_queue, prompts, answers, engineer) -> Gold:
    """The first answer to the fifth prompt is best; the others are tied."""
    (task,) = add_tasks(rank_queue, [(prompts[4], answers[4])])
    Slot.objects.filter(task=task).delete()
    Task.objects.filter(pk=task.pk).update(overlap=0)
    first, *others = [a.pk for a in answers[4]]
    return Gold.objects.create(task=task, tiers=[[first], others], created_by=engineer)


@pytest.fixture
def batch(rank_queue, gold, engineer, guideline) -> VendorBatch:
    return vendors.hand_over(rank_queue, "Acme", "Pilot", 3, engineer, gold_rate=0.25)


def lines(batch: VendorBatch) -> list[dict]:
    return [json.loads(line) for line in vendors.hand_off(batch)]


def by_text(task: dict, *, worker: str, reverse: bool = False, **more: object) -> dict:
    """A worker who ranks by the text: way 0, way 1, way 2."""
    order = sorted(task["answers"], key=task["answers"].__getitem__, reverse=reverse)
    return {"key": task["key"], "worker": worker, "tiers": [[letter] for letter in order], "seconds": 30, **more}


def send(batch: VendorBatch, rows: list[object], user: User) -> dict:
    content = "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)
    returns.take_return(batch, "return.jsonl", content.encode(), user)
    return batch.report["arrival"]


@pytest.mark.django_db
class TestHandingOver:
    def test_places_go_away_and_are_offered_to_nobody(self, batch, rank_queue, annotator):
        assert progress(rank_queue)["away"] == 3
        mine = claim_next(rank_queue, annotator)
        assert mine.slot.status == "claimed"
        Slot.objects.filter(status="free").update(status="withdrawn")
        submit_ranking(mine, [["a"], ["b"], ["c"]])
        assert claim_next(rank_queue, annotator) is None

    def test_the_file_says_what_is_asked_and_nothing_of_models_or_gold(self, batch, gold, answers):
        header, *tasks = lines(batch)
        assert (header["type"], header["kind"], header["guideline_version"]) == ("batch", "rank", 1)
        assert "Prefer the answer that **runs**" in header["guideline"]
        assert header["asked"]["tiers"] == "required"
        assert len(tasks) == 4  # 3 places and a gold item
        assert {t["type"] for t in tasks} == {"task"} and {frozenset(t) for t in tasks} == {
            frozenset({"type", "key", "prompt", "answers"})
        }
        assert [t["key"] for t in tasks] == sorted(t["key"] for t in tasks)
        written = json.dumps(tasks)
        assert "Tortoise" not in written and "gold" not in written
        item = batch.items.get(task=gold.task)
        shown = next(t for t in tasks if t["key"] == item.key)["answers"]
        texts = {a.pk: a.text for a in answers[4]}
        assert [shown[letter] for letter in "abc"] == [texts[pk] for pk in item.shown_order]

    def test_no_gold_item_on_a_prompt_that_is_among_the_work(self, rank_queue, gold, engineer):
        for task in rank_queue.tasks.exclude(gold=gold):
            make_gold(task, [[c.pk] for c in task.completions.order_by("pk")], engineer)
        batch = vendors.hand_over(rank_queue, "Acme", "One", 4, engineer, gold_rate=0.5)
        assert list(batch.items.filter(slot=None).values_list("task", flat=True)) == [gold.task_id]

    def test_one_place_a_task_unless_more_are_asked_for(self, rank_queue, engineer):
        one = vendors.hand_over(rank_queue, "Acme", "One", 100, engineer)
        assert one.items.count() == 4
        two = vendors.hand_over(rank_queue, "Acme", "Two", 100, engineer, per_task=2)
        assert two.items.count() == 4
        with pytest.raises(ValueError, match="no free place"):
            vendors.hand_over(rank_queue, "Acme", "Three", 1, engineer)
        assert progress(rank_queue)["away"] == 8

    @pytest.mark.parametrize(
        ("change", "sentence"),
        [
            ({"places": 0}, "1 to 20,000 places"),
            ({"gold_rate": 0.9}, "between 0 and 0.5"),
            ({"vendor": " "}, "who the"),
        ],
    )
    def test_bad_input(self, rank_queue, engineer, change, sentence):
        wanted = {"vendor": "Acme", "name": "B", "places": 1} | change
        with pytest.raises(ValueError, match=sentence):
            vendors.hand_over(rank_queue, user=engineer, **wanted)
        assert not VendorBatch.objects.exists()

    def test_a_name_once_a_vendor(self, batch, rank_queue, engineer):
        with pytest.raises(ValueError, match="choose another name"):
            vendors.hand_over(rank_queue, "Acme", "Pilot", 1, engineer)
        assert progress(rank_queue)["away"] == 3

    def test_recall(self, batch, rank_queue, engineer):
        withdraw_tasks(Task.objects.filter(pk=batch.items.filter(slot__isnull=False).first().task_id))
        assert vendors.recall(batch, engineer) == 3
        assert progress(rank_queue) | {"free": 0} == {"free": 0, "claimed": 0, "done": 0, "away": 0, "withdrawn": 2}
        with pytest.raises(ValueError, match="not with the vendor any more"):
            vendors.recall(batch, engineer)


@pytest.mark.django_db
class TestReturning:
    def test_good_rows_are_staged_unseen_and_reported(self, batch, rank_queue, gold, engineer, sme):
        ours = submit_ranking(claim_next(rank_queue, sme), [["a"], ["b"], ["c"]])
        _, *tasks = lines(batch)
        report = send(batch, [by_text(t, worker=f"w{n % 2}") for n, t in enumerate(tasks)], engineer)
        batch.refresh_from_db()
        assert batch.status == "returned"
        assert (report["rows"], report["taken"], report["refused"], report["missing"]) == (4, 4, 0, 0)
        # The gold item says way 0 is best and ties the rest: all its 2 pairs are right.
        assert (report["gold"]["value"], report["gold"]["n"]) == (1.0, 1)
        assert [row["judgements"] for row in report["workers"]] == [2, 2]
        assert report["seconds"] == 30
        assert set(Comparison.objects.all()) == {ours}
        assert Comparison.everything.count() == 5
        assert not Claim.objects.filter(status="submitted").exclude(pk=ours.claim_id).exists()
        assert progress(rank_queue)["away"] == 3

    def test_bad_rows_are_named_and_the_rest_is_taken(self, batch, rank_queue, engineer):
        _, first, second, *rest = lines(batch)
        rows = [
            by_text(first, worker="w1"),
            by_text(first, worker="w2"),
            {"key": "other", "worker": "w1", "tiers": [["a"]]},
            {"key": second["key"], "worker": "", "tiers": [["a"]]},
            {"key": second["key"], "worker": "w1", "tiers": [["a"], ["b"]]},
            by_text(rest[0], worker="w1", rationale=5),
            "{broken",
            {"key": rest[1]["key"], "worker": "w3", "skip": "unreadable"},
            by_text(rest[0], worker="half \ud800"),
            by_text(rest[0], worker="w4", flags={"a": ["odd\0 \ud800"]}),
        ]
        report = send(batch, rows, engineer)
        reasons = dict(report["refused_rows"])
        assert (report["taken"], report["skipped"], report["missing"]) == (1, 1, 2)
        assert "was answered in line 1 already" in reasons[2]
        assert "'key' is none of this batch" in reasons[3]
        assert "'worker' must say who did it" in reasons[4]
        assert "Some answers are not ranked yet" in reasons[5]
        assert "does not have the form" in reasons[6]
        assert "not valid JSON" in reasons[7]
        assert "'worker' holds half of a surrogate pair" in reasons[9]
        assert "Unknown flag 'odd\ufffd ?'" in reasons[10]

    def test_a_worker_does_a_task_once(self, rank_queue, engineer):
        batch = vendors.hand_over(rank_queue, "Acme", "Twice", 8, engineer, per_task=2, gold_rate=0)
        _, *tasks = lines(batch)
        report = send(batch, [by_text(task, worker="w1") for task in tasks], engineer)
        assert (report["taken"], report["refused"]) == (4, 4)
        assert "w1 did the same task in line" in report["refused_rows"][0][1]

    def test_nothing_usable_is_refused(self, batch, engineer):
        with pytest.raises(ValueError, match="none of its 1 rows can be taken. The first: line 1: its 'key'"):
            send(batch, [{"key": "x"}], engineer)
        assert not ImportBatch.objects.exists()

    def test_a_second_return_takes_the_place_of_the_first(self, batch, engineer):
        _, *tasks = lines(batch)
        send(batch, [by_text(t, worker="w1") for t in tasks[:2]], engineer)
        report = send(batch, [by_text(t, worker="w2") for t in tasks], engineer)
        assert report["taken"] == 4
        assert Comparison.everything.count() == 4
        assert Claim.objects.count() == 4

    def test_demonstrations(self, write_queue, engineer):
        batch = vendors.hand_over(write_queue, "Acme", "Texts", 2, engineer)
        _, one, other = lines(batch)
        assert "answers" not in one
        send(batch, [{"key": one["key"], "worker": "w1", "answer": "Use reversed().", "reasoning": "Short."},
                     {"key": other["key"], "worker": "w1", "answer": " "}], engineer)  # fmt: skip
        assert not Demonstration.objects.exists()
        verdicts.accept(batch, engineer)
        made = Demonstration.objects.get()
        assert (made.completion.text, made.reasoning, made.annotator.display_name) == (
            "Use reversed().", "Short.", "w1 (Acme)",
        )  # fmt: skip
        assert progress(write_queue) == {"free": 3, "claimed": 0, "done": 1, "away": 0, "withdrawn": 0}


@pytest.mark.django_db
class TestDeciding:
    def test_accepted_labels_count_at_once(self, batch, rank_queue, gold, engineer, guideline, prompts):
        _, *tasks = lines(batch)
        gold_key = batch.items.get(task=gold.task).key
        real = [t for t in tasks if t["key"] != gold_key]
        rows = [by_text(t, worker="w1") for t in real[:2]] + [
            by_text(t, worker="w1", reverse=True) for t in tasks if t["key"] == gold_key
        ]
        send(batch, rows, engineer)
        verdicts.accept(batch, engineer, "Good work")
        batch.refresh_from_db()
        assert (batch.status, batch.decided_by, batch.decision_note) == ("accepted", engineer, "Good work")
        made = Comparison.objects.filter(task__gold=None)
        assert {(c.annotator.display_name, c.annotator.is_pseudonym, c.guideline, c.seconds) for c in made} == {
            ("w1 (Acme)", True, guideline, 30.0)
        }
        first = made.first()
        assert [first.completions.get(pk=tier[0]).text[-2] for tier in first.tiers] == ["0", "1", "2"]
        assert (first.claim.status, first.claim.slot.status) == ("submitted", "done")
        assert made.first().annotator in [person.user for person in board(rank_queue.project).people]
        assert board(rank_queue.project).imported == []
        assert progress(rank_queue)["away"] == 0 and progress(rank_queue)["done"] == 2  # the gold item's is no work
        # Reversed: way 0, the best, comes last, so none of the gold's two pairs is right.
        assert [r.accuracy for r in GoldResult.objects.all()] == [0.0]
        assert Task.objects.get(pk=gold.task_id).overlap == 1 == Slot.objects.filter(task=gold.task).count()
        assert JournalEntry.objects.filter(act="accepted from a vendor").count() == 1
        with pytest.raises(ValueError, match="Only a batch that has come back"):
            verdicts.accept(batch, engineer)

    def test_rejected_labels_stay_unseen_and_places_are_free_again(self, batch, rank_queue, engineer, annotator):
        _, *tasks = lines(batch)
        send(batch, [by_text(t, worker="w1") for t in tasks], engineer)
        with pytest.raises(ValueError, match="Say why"):
            verdicts.reject(batch, engineer, " ")
        verdicts.reject(batch, engineer, "Guessed")
        assert not Comparison.objects.exists()
        assert Comparison.everything.count() == 4
        assert progress(rank_queue) == {"free": 8, "claimed": 0, "done": 0, "away": 0, "withdrawn": 0}
        assert not GoldResult.objects.exists()
        again = vendors.hand_over(rank_queue, "Acme", "Again", 4, engineer)
        assert send(again, [by_text(t, worker="w1") for t in lines(again)[1:]], engineer)["taken"] == 4

    def test_full_tasks_are_closed(self, rank_queue, engineer):
        batch = vendors.hand_over(rank_queue, "Acme", "All", 8, engineer, per_task=2, gold_rate=0)
        seen: dict[str, int] = {}
        rows = []
        for task in lines(batch)[1:]:
            question = json.dumps(task["prompt"])
            seen[question] = seen.get(question, 0) + 1
            rows.append(by_text(task, worker=f"w{seen[question]}"))
        send(batch, rows, engineer)
        verdicts.accept(batch, engineer)
        assert set(Task.objects.values_list("status", flat=True)) == {"closed"}

    def test_a_worker_of_an_accepted_batch_does_not_judge_again(self, rank_queue, gold, engineer):
        for name, taken, refused in (("First", 5, 0), ("Second", 1, 4)):
            batch = vendors.hand_over(rank_queue, "Acme", name, 4, engineer, gold_rate=0.2)
            report = send(batch, [by_text(t, worker="w1") for t in lines(batch)[1:]], engineer)
            assert (report["taken"], report["refused"]) == (taken, refused)
            verdicts.accept(batch, engineer)
        assert GoldResult.objects.count() == 1  # the second time it only counted for the report

    def test_a_label_of_the_batch_trains_and_a_guideline_edit_does_not_change_it(self, batch, engineer, project):
        _, *tasks = lines(batch)
        Guideline.publish(project, "# New", engineer, "Other")
        send(batch, [by_text(t, worker="w1") for t in tasks], engineer)
        verdicts.accept(batch, engineer)
        assert {c.guideline.version for c in Comparison.objects.all()} == {1}


def test_report_figures():
    report = report_on([
        Judged("a", 1, gold=1.0, seconds=10), Judged("a", 2, gold=0.5, seconds=20, tied=True),
        Judged("b", 1, agreement=0.5, seconds=90, unchanged=True),
    ])  # fmt: skip
    assert report["gold"]["value"] == 0.75  # (1 + ½) / 2
    assert report["gold"]["low"] <= 0.75 <= report["gold"]["high"]
    assert (report["seconds"], report["unchanged"], report["tied"]) == (20, pytest.approx(1 / 3), pytest.approx(1 / 3))
    assert [(w["worker"], w["judgements"]) for w in report["workers"]] == [("a", 2), ("b", 1)]
    assert report["workers"][1]["gold"] is None


@pytest.mark.postgres
def test_the_whole_way_on_postgres(on_postgres):
    queue, users = make_work(tasks=5, overlap=1, people=1)
    batch = vendors.hand_over(queue, "Acme", "PG", 5, users[0])
    rows = [by_text(t, worker="w\t1", strength=2, rationale="tab\tand \\N") for t in lines(batch)[1:]]
    assert send(batch, rows, users[0])["taken"] == 5
    assert not Comparison.objects.exists()
    verdicts.accept(batch, users[0])
    assert {(c.rationale, c.strength) for c in Comparison.objects.all()} == {("tab\tand \\N", 2)}
    assert set(Slot.objects.values_list("status", flat=True)) == {"done"}
