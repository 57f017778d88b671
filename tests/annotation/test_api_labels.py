"""Labels over the API: own ones for everybody, all for engineers, blind while judging; withdrawn, never deleted."""

from __future__ import annotations

import pytest

from annotation.datasets import freeze_comparisons
from annotation.models import Comparison, Demonstration
from annotation.queue import claim_next
from annotation.submit import submit_demonstration, submit_ranking
from studio.runs.models import Run, RunInput

API = "/api/v1"


@pytest.fixture
def rankings(rank_queue, annotator, sme) -> list[Comparison]:
    """Two by the annotator, one by the SME."""
    return [
        submit_ranking(claim_next(rank_queue, user), [["b"], ["a", "c"]], rationale="It runs.")
        for user in (annotator, annotator, sme)
    ]


def test_comparisons_in_pages(call, engineer, rankings):
    first = call(engineer, "GET", "/projects/helpdesk/comparisons?limit=2").json()
    assert [item["id"] for item in first["items"]] == [c.pk for c in rankings[:2]]
    second = call(engineer, "GET", f"/projects/helpdesk/comparisons?limit=2&after={first['next']}").json()
    assert [item["id"] for item in second["items"]] == [rankings[2].pk]
    assert second["next"] is None
    item = first["items"][0]
    assert item["tiers"] == rankings[0].tiers and item["shown_order"] == rankings[0].shown_order
    assert (item["annotator"], item["rationale"], item["withdrawn"]) == ("annotator", "It runs.", False)
    assert {c["id"] for c in item["completions"]} == set(rankings[0].shown_order)
    assert all(c["model"] for c in item["completions"])


def test_others_see_their_own_without_models(call, annotator, sme, rankings):
    mine = call(annotator, "GET", "/projects/helpdesk/comparisons").json()["items"]
    assert [item["id"] for item in mine] == [c.pk for c in rankings[:2]]
    theirs = call(sme, "GET", "/projects/helpdesk/comparisons").json()["items"]
    assert [item["id"] for item in theirs] == [rankings[2].pk]
    assert all(c["model"] is None for item in mine + theirs for c in item["completions"])


def test_models_stay_hidden_from_an_engineer_who_is_judging(call, engineer, rank_queue, rankings):
    claim = claim_next(rank_queue, engineer)
    items = call(engineer, "GET", "/projects/helpdesk/comparisons").json()["items"]
    told = {item["prompt"]: all(c["model"] for c in item["completions"]) for item in items}
    assert told == {c.prompt_id: c.prompt_id != claim.task.prompt_id for c in rankings}


def test_demonstrations(call, engineer, annotator, sme, write_queue):
    label = submit_demonstration(claim_next(write_queue, annotator), "Call reversed().", reasoning="Lazy.")
    (item,) = call(engineer, "GET", "/projects/helpdesk/demonstrations").json()["items"]
    assert (item["id"], item["text"], item["reasoning"]) == (label.pk, "Call reversed().", "Lazy.")
    assert call(sme, "GET", "/projects/helpdesk/demonstrations").json()["items"] == []


def test_withdrawing(call, annotator, sme, engineer, write_queue, rankings):
    path = f"/comparisons/{rankings[0].pk}/withdraw"
    assert call(sme, "POST", path, {"reason": "No"}).status_code == 403
    assert call(annotator, "POST", path, {"reason": ""}).status_code == 422
    assert call(annotator, "POST", path, {"reason": "Wrong order"}).status_code == 204
    again = call(annotator, "POST", path, {"reason": "Wrong order"})
    assert again.status_code == 422 and "withdrawn already" in again.json()["detail"]
    label = Comparison.objects.get(pk=rankings[0].pk)
    assert (label.withdrawn_by, label.withdrawn_reason) == (annotator, "Wrong order")

    demonstration = submit_demonstration(claim_next(write_queue, annotator), "Call reversed().")
    path = f"/demonstrations/{demonstration.pk}/withdraw"
    assert call(engineer, "POST", path, {"reason": "Against the guideline"}).status_code == 204
    assert Demonstration.objects.get(pk=demonstration.pk).withdrawn_by == engineer


def test_what_has_used_a_label(call, engineer, sme, rankings, make_artifact):
    dataset = freeze_comparisons(rankings[0].prompt.project, engineer)
    shared = {"recipe_name": "reward_model", "queue": "gpu", "status": "succeeded"}
    run = Run.objects.create(project=dataset.project, title="Train", created_by=engineer, **shared)
    RunInput.objects.create(run=run, role="dataset", artifact=dataset)
    model = make_artifact("reward_model", "Judge", produced_by=run, role="reward_model")
    assert call(engineer, "GET", f"/comparisons/{rankings[0].pk}/uses").json() == {
        "datasets": [{"id": dataset.pk, "kind": "dataset", "name": dataset.name}],
        "models": [{"id": model.pk, "kind": "reward_model", "name": "Judge"}],
    }
    assert call(sme, "GET", f"/comparisons/{rankings[2].pk}/uses").status_code == 403


def test_the_journal_is_followed(call, engineer, annotator, rankings):
    path = "/projects/helpdesk/journal"
    call(annotator, "POST", f"/comparisons/{rankings[0].pk}/withdraw", {"reason": "Wrong order"})
    first = call(engineer, "GET", f"{path}?limit=3&subject=comparison").json()
    assert [(e["act"], e["subject_id"]) for e in first["items"]] == [("submitted", c.pk) for c in rankings]
    (last,) = call(engineer, "GET", f"{path}?subject=comparison&after={first['next']}").json()["items"]
    assert (last["act"], last["actor"], last["subject_id"]) == ("withdrawn", "annotator", rankings[0].pk)
    assert last["detail"]["reason"] == "Wrong order"
    found = call(engineer, "GET", f"{path}?person=sme&act=submitted").json()["items"]
    assert [e["subject_id"] for e in found] == [rankings[2].pk]
    assert call(engineer, "GET", f"{path}?until=2000-01-01").json() == {"items": [], "next": None}
    for wrong in ("until=9999-12-31", "since=yesterday", "subject=model"):
        assert call(engineer, "GET", f"{path}?{wrong}").status_code == 422


def test_outsiders_learn_nothing(call, outsider, rankings):
    assert call(outsider, "GET", "/projects/helpdesk/comparisons").status_code == 404
    assert call(outsider, "GET", "/projects/helpdesk/demonstrations").status_code == 404
    assert call(outsider, "POST", f"/comparisons/{rankings[0].pk}/withdraw", {"reason": "x"}).status_code == 404
