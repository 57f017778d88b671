"""People over the API: their figures, their standing, trial rounds, and consent."""

from __future__ import annotations

import pytest

from annotation import gold, gold_items
from annotation.consent import take_back
from annotation.datasets import freeze_comparisons
from annotation.models import Claim, GoldResult, JournalEntry, Queue, Standing
from annotation.queue import claim_next
from annotation.submit import submit_ranking
from studio.runs.models import Run, RunInput

PEOPLE = "/projects/helpdesk/people"


@pytest.fixture
def judged(rank_queue, annotator, sme) -> None:
    """Two rankings of the annotator, one of the SME."""
    for person in (annotator, annotator, sme):
        submit_ranking(claim_next(rank_queue, person), [["a"], ["b", "c"]])


def test_figures_of_everybody_and_of_one(call, engineer, judged):
    board = call(engineer, "GET", PEOPLE).json()
    found = {p["username"]: p for p in board["people"]}
    assert [p["username"] for p in board["people"]][0] == "annotator"
    assert (found["annotator"]["comparisons"], found["annotator"]["handed_in"], found["annotator"]["role"]) == (
        2, 2, "annotator",
    )  # fmt: skip
    assert found["engineer"]["comparisons"] == 0 and found["engineer"]["standing"]["status"] == "active"
    # three pairs a ranking, one of them a tie: 3 ties of 9 pairs
    assert board["everybody"]["ties"]["value"] == pytest.approx(1 / 3) and board["judgements"] == 3
    one = call(engineer, "GET", f"{PEOPLE}/sme").json()
    assert one["person"] == found["sme"] and sum(week["labels"] for week in one["weeks"]) == 1
    assert call(engineer, "GET", f"{PEOPLE}/nobody").status_code == 404
    assert call(engineer, "GET", f"{PEOPLE}/outsider").status_code == 404


def test_my_own_figures_say_nothing_of_silent_gold(call, engineer, annotator, rank_queue, answers):
    task = rank_queue.tasks.first()
    gold_items.make_gold(task, [[c.pk] for c in task.completions.order_by("pk")], engineer)
    Queue.objects.filter(pk=rank_queue.pk).update(gold_rate=1)
    claim = claim_next(Queue.objects.get(pk=rank_queue.pk), annotator)
    gold.after_submit(claim, submit_ranking(claim, [["a"], ["b"], ["c"]]))
    assert GoldResult.objects.filter(annotator=annotator).count() == 1
    assert call(engineer, "GET", f"{PEOPLE}/annotator").json()["person"]["gold"]["n"] == 1
    mine = call(annotator, "GET", "/projects/helpdesk/me").json()
    assert (mine["person"]["comparisons"], mine["person"]["gold"]) == (1, None)


def test_standing(call, engineer, annotator, rank_queue):
    path = f"{PEOPLE}/annotator/standing"
    paused = call(engineer, "POST", path, {"status": "paused", "reason": "Read the guideline."})
    assert paused.status_code == 200, paused.text
    assert (paused.json()["status"], paused.json()["changed_by"]) == ("paused", "engineer")
    told = call(annotator, "POST", f"/queues/{rank_queue.pk}/claim")
    assert told.status_code == 403 and "Read the guideline" in told.json()["detail"]
    for wrong, sentence in [
        ({"status": "excluded"}, "Give a reason"),
        ({"status": "fired", "reason": "x"}, ""),
        ({"status": "paused", "reason": "Read the guideline."}, "paused already"),
    ]:
        refused = call(engineer, "POST", path, wrong)
        assert refused.status_code == 422 and sentence in str(refused.json()["detail"])
    assert call(engineer, "POST", path, {"status": "active"}).json()["status"] == "active"
    assert call(annotator, "POST", f"/queues/{rank_queue.pk}/claim").status_code == 200
    assert list(JournalEntry.objects.filter(person=annotator).values_list("act", flat=True)) == [
        "reactivated", "paused",
    ]  # fmt: skip


def test_a_trial_round_begins_anew(call, engineer, annotator, rank_queue):
    Queue.objects.filter(pk=rank_queue.pk).update(calibration_items=1)
    task = rank_queue.tasks.first()
    gold_items.make_gold(task, [[c.pk] for c in task.completions.order_by("-pk")], engineer)
    path = f"{PEOPLE}/annotator/trials/{rank_queue.pk}/repeat"
    refused = call(engineer, "POST", path)
    assert refused.status_code == 422 and "not begun the trial round" in refused.json()["detail"]
    claim = claim_next(Queue.objects.get(pk=rank_queue.pk), annotator)
    gold.after_submit(claim, submit_ranking(claim, [["a"], ["b"], ["c"]]))
    (trial,) = call(engineer, "GET", f"{PEOPLE}/annotator").json()["trials"]
    assert (trial["queue"], trial["done"]) == (rank_queue.pk, 1)
    assert call(engineer, "POST", path).status_code == 204
    assert call(engineer, "GET", f"{PEOPLE}/annotator").json()["trials"] == []
    assert call(engineer, "POST", f"{PEOPLE}/annotator/trials/999999/repeat").status_code == 404


class TestConsent:
    def test_taken_back_and_given_again_by_oneself(self, call, annotator, owner, judged, rank_queue):
        held = claim_next(rank_queue, annotator)
        gone = call(annotator, "POST", f"{PEOPLE}/annotator/consent/take-back", {"reason": "I left."}).json()
        assert (gone["reason"], gone["labels"]["comparisons"]) == ("I left.", 2) and gone["withdrawn_at"]
        assert Claim.objects.get(pk=held.pk).status == "released"
        again = call(annotator, "POST", f"{PEOPLE}/annotator/consent/take-back", {})
        assert again.status_code == 422 and "taken back already" in again.json()["detail"]
        other = call(owner, "POST", f"{PEOPLE}/annotator/consent/give-again", {})
        assert other.status_code == 422 and "only they can give it again" in other.json()["detail"]
        given = call(annotator, "POST", f"{PEOPLE}/annotator/consent/give-again", {}).json()
        assert given["withdrawn_at"] is None
        assert Standing.objects.get(user=annotator).consent_withdrawn_at is None

    def test_for_another_only_an_owner_who_says_why(self, call, engineer, owner, sme, judged):
        path = f"{PEOPLE}/annotator/consent"
        for person in (engineer, sme):
            assert call(person, "GET", path).status_code == 403
            assert call(person, "POST", f"{path}/take-back", {"reason": "A letter"}).status_code == 403
        silent = call(owner, "POST", f"{path}/take-back", {})
        assert silent.status_code == 422 and "how the person asked" in silent.json()["detail"]
        assert call(owner, "POST", f"{path}/take-back", {"reason": "A letter"}).json()["withdrawn_at"]
        assert call(owner, "POST", f"{PEOPLE}/nobody/consent/take-back", {"reason": "A letter"}).status_code == 404

    def test_what_has_used_the_labels(self, call, annotator, owner, engineer, judged, make_artifact):
        dataset = freeze_comparisons(annotator.projects.get(), engineer)
        shared = {"recipe_name": "reward_model", "queue": "gpu", "status": "succeeded"}
        run = Run.objects.create(project=dataset.project, title="Train", created_by=engineer, **shared)
        RunInput.objects.create(run=run, role="dataset", artifact=dataset)
        model = make_artifact("reward_model", "Judge", produced_by=run, role="reward_model")
        take_back(dataset.project, annotator, annotator)
        for person, name in ((annotator, None), (owner, "Judge")):
            found = call(person, "GET", f"{PEOPLE}/annotator/consent").json()
            assert [(use["id"], use["labels"]) for use in found["datasets"]] == [(dataset.pk, 2)]
            assert [(use["id"], use["name"], use["labels"]) for use in found["models"]] == [(model.pk, name, 2)]
