"""Files in, datasets out and agreement, over the API."""

from __future__ import annotations

import json

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from annotation.imports.stage import stage
from annotation.models import Comparison, ImportBatch, Prompt
from annotation.queue import claim_next
from annotation.submit import submit_ranking
from studio.models import ApiToken

API = "/api/v1"
ROWS = [
    {"prompt": "How do I reverse a list?", "chosen": "reversed(x)", "rejected": "x.sort()"},
    {"prompt": "How do I copy a list?", "chosen": "x[:]", "rejected": "x"},
]


def headers(user) -> dict[str, str]:
    return {"Authorization": f"Bearer {ApiToken.issue(user, 'test')[1]}"}


def send_file(user, rows, name="pairs.jsonl", **options):
    text = "\n".join(json.dumps(row) if isinstance(row, dict) else row for row in rows)
    data = {"file": SimpleUploadedFile(name, text.encode()), **options}
    return Client().post(f"{API}/projects/helpdesk/imports", data, headers=headers(user))


def test_a_file_comes_in(var, project, engineer):
    answer = send_file(engineer, ROWS, split="train", cluster="lists")
    assert answer.status_code == 202, answer.text
    batch = answer.json()
    assert (batch["status"], batch["format"]) == ("waiting", "columns")
    assert not Comparison.objects.exists()
    stage(batch["id"])
    seen = Client().get(f"{API}/imports/{batch['id']}", headers=headers(engineer)).json()
    assert (seen["status"], seen["rows_done"], seen["error"]) == ("visible", 2, "")
    assert Comparison.objects.count() == 2
    assert set(Prompt.objects.values_list("split", "cluster")) == {("train", "lists")}
    again = send_file(engineer, ROWS)
    assert again.status_code == 422 and "imported already" in again.json()["detail"]
    assert [
        b["id"] for b in Client().get(f"{API}/projects/helpdesk/imports", headers=headers(engineer)).json()["items"]
    ] == [batch["id"]]


def test_a_bad_row_is_named_and_nothing_stays(var, project, engineer):
    batch = send_file(engineer, [*ROWS, '{"prompt": ']).json()
    stage(batch["id"])
    seen = Client().get(f"{API}/imports/{batch['id']}", headers=headers(engineer)).json()
    assert seen["status"] == "failed"
    assert "pairs.jsonl" in seen["error"] and "line 3" in seen["error"]
    assert not Prompt.everything.exists()


def test_an_import_is_undone(var, project, engineer):
    batch = send_file(engineer, ROWS).json()
    stage(batch["id"])
    answer = Client().post(f"{API}/imports/{batch['id']}/undo", headers=headers(engineer))
    assert (answer.status_code, answer.json()["status"]) == (202, "undoing")
    assert not Comparison.objects.exists()


@pytest.mark.parametrize("options", [{"format": "parchment"}, {"split": "both"}, {"test_fraction": "2"}])
def test_bad_options(var, project, engineer, options):
    assert send_file(engineer, ROWS, **options).status_code == 422
    assert not ImportBatch.objects.filter(status="waiting").exists()


def test_datasets(var, project, engineer, rank_queue, annotator):
    body = {"kind": "comparisons", "name": "First", "test_fraction": 0.2}
    post = {"content_type": "application/json", "headers": headers(engineer)}
    refused = Client().post(f"{API}/projects/helpdesk/datasets", json.dumps(body), **post)
    assert refused.status_code == 422 and "rank answers" in refused.json()["detail"]
    while claim := claim_next(rank_queue, annotator):
        submit_ranking(claim, [["a"], ["b"], ["c"]])
    made = Client().post(f"{API}/projects/helpdesk/datasets", json.dumps(body), **post)
    assert made.status_code == 201
    assert made.json()["metadata"]["type"] == "comparisons"
    (listed,) = Client().get(f"{API}/projects/helpdesk/datasets", headers=headers(engineer)).json()["items"]
    assert (listed["id"], listed["name"]) == (made.json()["id"], "First")


def test_agreement(project, engineer, rank_queue, annotator, sme):
    for user in (annotator, sme):
        while claim := claim_next(rank_queue, user):
            by_id = {pk: letter for letter, pk in claim.letters.items()}
            submit_ranking(claim, [[by_id[pk]] for pk in sorted(by_id)])  # both rank by id
    found = Client().get(f"{API}/projects/helpdesk/agreement", headers=headers(engineer)).json()
    assert found["comparisons"] == 8
    assert found["overall"]["percent_agreement"]["value"] == 1
    other = Client().get(f"{API}/projects/helpdesk/agreement?queue=999999", headers=headers(engineer))
    assert other.status_code == 422 and "no such queue" in other.json()["detail"]


def test_for_engineers_and_members_only(var, project, sme, outsider, engineer):
    batch = send_file(engineer, ROWS).json()["id"]
    for path in (
        "projects/helpdesk/imports",
        "projects/helpdesk/datasets",
        "projects/helpdesk/agreement",
        f"imports/{batch}",
    ):
        assert Client().get(f"{API}/{path}", headers=headers(sme)).status_code == 403
        assert Client().get(f"{API}/{path}", headers=headers(outsider)).status_code == 404
    assert send_file(sme, ROWS).status_code == 403
    assert send_file(outsider, ROWS).status_code == 404
