"""A vendor's batch over the API: handed over, fetched, sent back, decided; and recalled."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from annotation import returns
from annotation.gold_items import make_gold
from annotation.models import Comparison, Slot, Task, VendorBatch
from annotation.progress import progress
from annotation.tasks import withdraw_tasks
from studio.models import ApiToken, User

LIST = "/projects/helpdesk/vendor-batches"


@pytest.fixture
def batch(call, engineer, rank_queue, guideline) -> dict:
    """Three places and a gold item."""
    task = rank_queue.tasks.order_by("pk").last()
    make_gold(task, [[c.pk] for c in task.completions.order_by("pk")], engineer)
    withdraw_tasks(Task.objects.filter(pk=task.pk))
    body = {"queue": rank_queue.pk, "vendor": "Acme", "name": "Pilot", "places": 3, "gold_rate": 0.25}
    made = call(engineer, "POST", LIST, body)
    assert made.status_code == 201, made.text
    return made.json()


@pytest.fixture
def send_back(engineer) -> Callable[..., Any]:
    def send(batch: dict, rows: list[object], user: User = engineer) -> Any:
        file = SimpleUploadedFile("return.jsonl", "\n".join(map(json.dumps, rows)).encode())
        headers = {"Authorization": f"Bearer {ApiToken.issue(user, 'test')[1]}"}
        return Client().post(f"/api/v1/vendor-batches/{batch['id']}/return", {"file": file}, headers=headers)

    return send


def fetch(call, user: User, batch: dict) -> list[dict]:
    answer = call(user, "GET", f"/vendor-batches/{batch['id']}/hand-off")
    assert answer.status_code == 200 and answer["Content-Disposition"] == 'attachment; filename="acme-pilot.jsonl"'
    return [json.loads(line) for line in answer.getvalue().decode().splitlines()]


def by_text(task: dict, worker: str = "w17") -> dict:
    """A worker who ranks by the text, which is the order of the models."""
    return {
        "key": task["key"],
        "worker": worker,
        "tiers": [[n] for n in sorted(task["answers"], key=task["answers"].get)],
    }


def test_there_and_back(call, engineer, rank_queue, batch, send_back):
    assert (batch["status"], batch["handed"]["places"], batch["handed"]["gold"]) == ("out", 3, 1)
    assert progress(rank_queue)["away"] == 3
    header, *tasks = fetch(call, engineer, batch)
    assert (header["format"], header["guideline_version"], len(tasks)) == ("studio-vendor-1", 1, 4)
    assert "Tortoise" not in json.dumps(tasks) and "gold" not in json.dumps(tasks)

    returned = send_back(batch, [by_text(task) for task in tasks] + [{"key": "x", "worker": "w17"}])
    assert returned.status_code == 200, returned.text
    arrival = returned.json()["arrival"]
    assert returned.json()["status"] == "returned"
    assert (arrival["taken"], arrival["gold"]["value"]) == (4, 1.0) and arrival["refused_rows"] == [
        [5, "its 'key' is none of this batch"]
    ]
    assert not Comparison.objects.exists()  # unseen until it is accepted

    accepted = call(engineer, "POST", f"/vendor-batches/{batch['id']}/accept", {"note": "Careful people"})
    assert accepted.status_code == 200, accepted.text
    assert [accepted.json()[name] for name in ("status", "decided_by", "decision_note")] == [
        "accepted", "engineer", "Careful people",
    ]  # fmt: skip
    assert Comparison.objects.count() == 4 and progress(rank_queue)["done"] >= 3
    assert call(engineer, "GET", LIST).json() == {"items": [accepted.json()], "next": None}
    assert call(engineer, "GET", f"/vendor-batches/{batch['id']}").json() == accepted.json()
    again = call(engineer, "POST", f"/vendor-batches/{batch['id']}/reject", {"note": "No"})
    assert again.status_code == 422 and "come back and is not decided" in again.json()["detail"]


def test_rejected_as_a_whole(call, engineer, rank_queue, batch, send_back):
    send_back(batch, [by_text(task) for task in fetch(call, engineer, batch)[1:]])
    silent = call(engineer, "POST", f"/vendor-batches/{batch['id']}/reject", {})
    assert silent.status_code == 422 and "Say why" in silent.json()["detail"]
    rejected = call(engineer, "POST", f"/vendor-batches/{batch['id']}/reject", {"note": "Careless"})
    assert (rejected.status_code, rejected.json()["status"]) == (200, "rejected")
    assert not Comparison.objects.exists() and progress(rank_queue)["away"] == 0


def test_recalled(call, engineer, rank_queue, batch, send_back):
    tasks = fetch(call, engineer, batch)[1:]
    assert call(engineer, "POST", f"/vendor-batches/{batch['id']}/recall").json() == {"places": 3}
    assert Slot.objects.filter(status="away").count() == 0
    assert call(engineer, "POST", f"/vendor-batches/{batch['id']}/recall").status_code == 422
    late = send_back(batch, [by_text(task) for task in tasks])
    assert late.status_code == 422 and "not waiting for a return" in late.json()["detail"]


def test_bad_input(call, engineer, rank_queue, batch, send_back, monkeypatch):
    body = {"queue": rank_queue.pk, "vendor": "Acme", "name": "Second", "places": 1}
    for wrong, sentence in [
        ({"queue": 999_999}, "no queue 999999"),
        ({"name": "Pilot"}, "choose another name"),
        ({"places": 0}, ""),
        ({"gold_rate": 0.9}, ""),
        ({"vendor": " "}, "who the vendor is"),
    ]:
        refused = call(engineer, "POST", LIST, body | wrong)
        assert refused.status_code == 422 and sentence in str(refused.json()["detail"]), refused.text
    nothing = send_back(batch, [{"key": "x", "worker": "w17"}])
    assert nothing.status_code == 422 and "none of its 1 rows can be taken" in nothing.json()["detail"]
    undecided = call(engineer, "POST", f"/vendor-batches/{batch['id']}/accept", {})
    assert undecided.status_code == 422
    monkeypatch.setattr(returns, "LARGEST", 10)
    large = send_back(batch, [{"key": "x", "worker": "w17"}])
    assert large.status_code == 422 and "at most 10 are taken" in large.json()["detail"]
    assert VendorBatch.objects.get().status == "out" and progress(rank_queue)["away"] == 3


def test_of_another_project_there_is_none(call, outsider, batch, send_back):
    assert call(outsider, "GET", f"/vendor-batches/{batch['id']}/hand-off").status_code == 404
    assert send_back(batch, [{}], outsider).status_code == 404
