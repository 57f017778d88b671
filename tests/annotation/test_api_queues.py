"""Leads over the API: queues, work, who gets it; and what a program does with its own answers afterwards."""

from __future__ import annotations

import io
import json
import zipfile

from annotation.datasets import freeze_comparisons
from annotation.models import Claim, Comparison, Queue, Slot, Task
from annotation.queue import claim_next, claim_task, release
from annotation.submit import submit_ranking
from annotation.withdraw import withdraw

API = "/api/v1"


def test_a_queue_is_made_and_changed(call, engineer, sme, project):
    body = {"kind": "rank", "name": "Decorators", "people": ["sme"], "gold_rate": 0.1, "order": "oldest"}
    made = call(engineer, "POST", "/projects/helpdesk/queues", body)
    assert made.status_code == 201, made.text
    assert (made.json()["people"], made.json()["gold_rate"], made.json()["is_open"]) == (["sme"], 0.1, True)
    path = f"/queues/{made.json()['id']}"
    changed = call(engineer, "PATCH", path, {"is_open": False, "people": []}).json()
    assert (changed["people"], changed["is_open"], changed["gold_rate"], changed["order"]) == ([], False, 0.1, "oldest")
    assert call(engineer, "GET", path).json() == changed
    for wrong, sentence in [
        ({"people": ["nobody"]}, "not a member"),
        ({"order": "disputed"}, "choose the reward model"),
        ({"reward_model": 99}, "no reward model 99"),
        ({"warn_below": 0.5, "exclude_below": 0.6}, "exclude below the lowest"),
    ]:
        refused = call(engineer, "PATCH", path, wrong)
        assert refused.status_code == 422 and sentence in refused.json()["detail"]
    assert call(engineer, "GET", path).json() == changed


def test_work_is_put_in_and_listed(call, engineer, sme, rank_queue, prompts, answers):
    work = [{"prompt": prompts[0].pk, "completions": [c.pk for c in answers[0]]}] * 2
    body = {"work": work, "overlap": 2, "priority": 5, "assignee": "sme"}
    made = call(engineer, "POST", f"/queues/{rank_queue.pk}/tasks", body)
    assert made.status_code == 201, made.text
    assert {(t["overlap"], t["priority"], t["assignee"]) for t in made.json()} == {(2, 5, "sme")}
    assert Slot.objects.filter(task__in=[t["id"] for t in made.json()], assignee=sme).count() == 2
    first = call(engineer, "GET", f"/queues/{rank_queue.pk}/tasks?limit=4").json()  # four were there
    second = call(engineer, "GET", f"/queues/{rank_queue.pk}/tasks?limit=4&after={first['next']}").json()
    assert [t["id"] for t in second["items"]] == [t["id"] for t in made.json()] and second["next"] is None
    for wrong, sentence in [
        ({"work": [{"prompt": 999_999}]}, "no prompt 999999"),
        ({"work": [{"prompt": prompts[0].pk, "completions": [999_999]}]}, "no completion 999999"),
        ({"work": [{"prompt": prompts[0].pk, "completions": [2**70]}]}, ""),
        ({"work": work, "assignee": "nobody"}, "not a member"),
        ({"work": [{"prompt": prompts[1].pk, "completions": [c.pk for c in answers[0]]}]}, "one prompt only"),
        ({"work": [{"prompt": prompts[0].pk, "completions": [answers[0][0].pk] * 2}]}, "one of them twice"),
    ]:
        refused = call(engineer, "POST", f"/queues/{rank_queue.pk}/tasks", wrong)
        assert refused.status_code == 422 and sentence in str(refused.json()["detail"]), refused.text
    assert Task.objects.count() == 6


def test_a_task_is_changed(call, engineer, annotator, sme, rank_queue):
    claim = claim_next(rank_queue, annotator)
    path = f"/tasks/{claim.task_id}"
    assert call(engineer, "POST", f"{path}/release", {"person": "sme"}).status_code == 422
    assert call(engineer, "POST", f"{path}/release", {"person": "annotator"}).status_code == 204
    assert Claim.objects.get(pk=claim.pk).status == "released"
    changed = call(engineer, "PATCH", path, {"assignee": "sme", "priority": 9}).json()
    assert (changed["assignee"], changed["priority"], changed["status"]) == ("sme", 9, "open")
    assert call(engineer, "PATCH", path, {"assignee": ""}).json()["assignee"] is None
    release(claim_task(claim.task, annotator), skip="unusable", reason="Empty")
    assert call(engineer, "PATCH", path, {"status": "open"}).json()["status"] == "open"
    assert call(engineer, "PATCH", path, {"status": "open"}).status_code == 422
    assert call(engineer, "PATCH", path, {"status": "withdrawn"}).json()["status"] == "withdrawn"


def test_who_may_not_work_is_told_why(call, annotator, sme, rank_queue):
    rank_queue.people.set([sme])
    refused = call(annotator, "POST", f"/queues/{rank_queue.pk}/claim")
    assert refused.status_code == 403 and refused.json()["detail"]


def test_undo_and_history(call, annotator, sme, rank_queue):
    claim = claim_next(rank_queue, annotator)
    label = submit_ranking(claim, [["a"], ["b"], ["c"]])
    undone = call(annotator, "POST", f"/claims/{claim.pk}/undo")
    assert (undone.status_code, undone.json()["status"]) == (200, "live")
    assert Comparison.objects.get(pk=label.pk).is_withdrawn
    again = call(
        annotator, "POST", f"/claims/{claim.pk}/submit", {"tiers": [["c"], ["b"], ["a"]]}, **{"Idempotency-Key": "2"}
    )
    assert again.json()["label"] == label.pk
    path = f"/comparisons/{label.pk}/history"
    rows = call(annotator, "GET", path).json()
    assert [(row["number"], row["by"]) for row in rows] == [(1, "annotator"), (2, "annotator")]
    assert rows[0]["content"]["tiers"] == label.tiers and rows[1]["content"]["tiers"] == label.tiers[::-1]
    assert call(sme, "GET", path).status_code == 403


def test_an_answer_is_changed_later_and_keeps_its_history(call, annotator, sme, rank_queue):
    claim = claim_next(rank_queue, annotator)
    path, other = f"/claims/{claim.pk}/answer", {"tiers": [["c"], ["b"], ["a"]], "second_look": "Is c right?"}
    assert "hand one in" in call(annotator, "PUT", path, other).json()["detail"]
    label = submit_ranking(claim, [["a"], ["b"], ["c"]])
    for _ in range(2):  # the same again is no other revision
        changed = call(annotator, "PUT", path, other)
        assert (changed.status_code, changed.json()["label"]) == (200, label.pk), changed.text
    label.refresh_from_db()
    letters = claim.letters
    assert label.tiers == [[letters["c"]], [letters["b"]], [letters["a"]]] and label.second_look == "Is c right?"
    assert [row["number"] for row in call(annotator, "GET", f"/comparisons/{label.pk}/history").json()] == [1, 2]
    assert call(annotator, "PUT", path, {"tiers": [["a"]]}).status_code == 422
    assert call(annotator, "PUT", path, {"text": "Use reversed()."}).status_code == 422
    assert call(sme, "PUT", path, other).status_code == 404
    withdraw(label, annotator, "Misread")
    assert "withdrawn" in call(annotator, "PUT", path, other).json()["detail"]


def test_exports(call, engineer, annotator, rank_queue, var):
    while claim := claim_next(rank_queue, annotator):
        submit_ranking(claim, [["a"], ["b"], ["c"]])
    dataset = freeze_comparisons(rank_queue.project, engineer)
    train = call(engineer, "GET", f"/datasets/{dataset.pk}/export?format=trl&split=train")
    rows = [json.loads(line) for line in train.getvalue().decode().splitlines()]
    assert len(rows) == dataset.metadata["counts"]["train"] and {"prompt", "chosen", "rejected"} <= rows[0].keys()
    refused = call(engineer, "GET", f"/datasets/{dataset.pk}/export?format=parchment")
    assert refused.status_code == 422 and "no format 'parchment'" in refused.json()["detail"]
    archive = call(engineer, "GET", "/projects/helpdesk/labels?pseudonyms=true")
    files = zipfile.ZipFile(io.BytesIO(archive.getvalue())).namelist()
    assert any(name.endswith("comparisons.jsonl") for name in files), files
    assert Queue.objects.count() == 1
