"""The HTTP API: each endpoint works, and refuses bad input, the wrong person and the wrong role."""

import pytest
from django.test import Client

from annotation.models import Comparison, Completion, FailureClass, FailureExample, Prompt, Queue
from annotation.queue import claim_next
from annotation.submit import submit_demonstration
from studio.models import ApiToken

API = "/api/v1"


def submit(call, user, claim_id, body, key="key"):
    return call(user, "POST", f"/claims/{claim_id}/submit", body, **{"Idempotency-Key": key})


def test_no_token_no_answer(rank_queue):
    paths = [("GET", "/projects"), ("GET", "/queues"), ("POST", f"/queues/{rank_queue.pk}/claim")]
    for method, path in paths:
        client = Client(enforce_csrf_checks=True)
        assert client.generic(method, API + path).status_code == 401
        answer = client.generic(method, API + path, headers={"Authorization": "Bearer studio_wrong"})
        assert answer.status_code == 401


def test_a_revoked_token_is_refused(annotator):
    token, secret = ApiToken.issue(annotator, "old")
    token.revoke()
    assert Client().get(f"{API}/projects", headers={"Authorization": f"Bearer {secret}"}).status_code == 401


def test_a_session_works_with_its_csrf_token_only(annotator, rank_queue):
    client = Client(enforce_csrf_checks=True)
    client.force_login(annotator)
    assert client.post(f"{API}/queues/{rank_queue.pk}/claim").status_code == 403
    client.cookies["csrftoken"] = "a" * 32
    answer = client.post(f"{API}/queues/{rank_queue.pk}/claim", headers={"X-CSRFToken": "a" * 32})
    assert answer.status_code == 200


def test_projects(call, annotator, guideline, outsider):
    (project,) = call(annotator, "GET", "/projects").json()
    assert project == {
        "slug": "helpdesk", "name": "Python helpdesk", "description": "Answers about Python.", "role": "annotator",
        "guideline_version": 1,
    }  # fmt: skip
    assert call(outsider, "GET", "/projects").json() == []
    assert call(annotator, "GET", "/projects/helpdesk/guideline").json()["version"] == 1
    assert call(outsider, "GET", "/projects/helpdesk/guideline").status_code == 404


def test_prompts_are_listed_in_pages(call, annotator, sme, prompts, outsider):
    page = call(annotator, "GET", "/projects/helpdesk/prompts?limit=2&offset=1").json()
    assert page["count"] == 6 and [p["id"] for p in page["items"]] == [prompts[1].pk, prompts[2].pk]
    assert {(p["reference"], p["split"]) for p in page["items"]} == {(None, None)}  # not told to annotators
    assert call(annotator, "GET", "/projects/helpdesk/prompts?split=test").status_code == 403
    told = call(sme, "GET", "/projects/helpdesk/prompts?split=test").json()
    assert told["count"] == 2 and {p["split"] for p in told["items"]} == {"test"}
    assert call(annotator, "GET", "/projects/helpdesk/prompts?limit=0").status_code == 422
    assert call(outsider, "GET", "/projects/helpdesk/prompts").status_code == 404


def test_prompts_are_imported_once_by_engineers(call, engineer, annotator, outsider):
    body = {"prompts": [{"prompt": "What is a tuple?", "cluster": "basics"}, {"prompt": "What is a set?"}]}
    path = "/projects/helpdesk/prompts"
    answer = call(engineer, "POST", path, body)
    assert answer.status_code == 201
    assert (answer.json()["created"], answer.json()["known"]) == (2, 0)
    assert call(engineer, "POST", path, body).json() == {"created": 0, "known": 2, "ids": answer.json()["ids"]}
    assert call(annotator, "POST", path, body).status_code == 403
    assert call(outsider, "POST", path, body).status_code == 404
    bad = call(
        engineer, "POST", path, {"prompts": [{"prompt": "What is a dict?"}, {"prompt": " "}], "source": "q.json"}
    )
    assert bad.status_code == 422 and "q.json, row 2" in bad.json()["detail"]
    assert Prompt.objects.count() == 2


def test_queues(call, annotator, outsider, rank_queue, write_queue):
    queues = call(annotator, "GET", "/queues?project=helpdesk").json()
    assert [(q["kind"], q["waiting"]) for q in queues] == [("rank", 4), ("demonstrate", 4)]
    assert call(outsider, "GET", "/queues").json() == []
    assert call(outsider, "GET", "/queues?project=helpdesk").status_code == 404


def test_closed_queues_are_for_engineers(call, annotator, engineer, outsider, rank_queue, write_queue):
    Queue.objects.filter(pk=rank_queue.pk).update(is_open=False)
    assert [q["id"] for q in call(annotator, "GET", "/queues").json()] == [write_queue.pk]
    assert [q["id"] for q in call(engineer, "GET", "/queues?project=helpdesk&closed=true").json()] == [rank_queue.pk]
    assert [q["id"] for q in call(engineer, "GET", "/queues?closed=true").json()] == [rank_queue.pk]
    assert call(annotator, "GET", "/queues?closed=true").json() == []
    assert call(annotator, "GET", "/queues?project=helpdesk&closed=true").status_code == 403
    assert call(engineer, "GET", "/queues?closed=perhaps").status_code == 422


def test_claim_tells_the_work_and_not_the_models(call, annotator, rank_queue, guideline):
    answer = call(annotator, "POST", f"/queues/{rank_queue.pk}/claim")
    claim = answer.json()
    assert answer.status_code == 200
    assert [a["id"] for a in claim["answers"]] == ["a", "b", "c"]
    assert claim["prompt"][0]["role"] == "user" and claim["guideline_version"] == 1
    assert claim["kind"] == "rank" and claim["draft"] is None
    assert set(claim["answers"][0]) == {"id", "text", "cut"}
    for name in ("Tortoise", "Hare", "Fox", "model", "temperature"):
        assert name not in answer.text
    assert call(annotator, "GET", f"/claims/{claim['id']}").json() == claim


def test_claim_when_there_is_nothing_or_no_right(call, annotator, outsider, rank_queue):
    rank_queue.slots.update(status="done")
    assert call(annotator, "POST", f"/queues/{rank_queue.pk}/claim").status_code == 204
    assert call(outsider, "POST", f"/queues/{rank_queue.pk}/claim").status_code == 404
    assert call(annotator, "POST", "/queues/999999/claim").status_code == 404
    assert call(annotator, "GET", f"/queues/{rank_queue.pk}/claim").status_code == 405


def test_submit_twice_counts_once(call, annotator, rank_queue):
    claim = claim_next(rank_queue, annotator)
    body = {"tiers": [["b"], ["a", "c"]], "strength": 2, "rationale": "It runs."}
    first = submit(call, annotator, claim.pk, body)
    again = submit(call, annotator, claim.pk, body)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json() and Comparison.objects.count() == 1
    assert submit(call, annotator, claim.pk, body | {"strength": 1}).status_code == 422
    assert submit(call, annotator, claim.pk, body, key="another").status_code == 409


def test_submit_refuses_what_is_wrong(call, annotator, sme, outsider, rank_queue, write_queue):
    rank, write = claim_next(rank_queue, annotator), claim_next(write_queue, annotator)
    for body in (
        {},
        {"text": "x"},
        {"tiers": [["a"]]},
        {"tiers": "a"},
        {"tiers": [["a"], ["b"], ["c"]], "strength": 9},
    ):
        assert submit(call, annotator, rank.pk, body).status_code == 422, body
    for body in ({}, {"text": "  "}, {"tiers": [["a"]]}):
        assert submit(call, annotator, write.pk, body).status_code == 422, body
    whole = {"tiers": [["a"], ["b"], ["c"]]}
    for person in (sme, outsider):
        assert submit(call, person, rank.pk, whole).status_code == 404
    assert call(annotator, "POST", f"/claims/{rank.pk}/submit", whole).status_code == 422  # no key
    assert submit(call, annotator, rank.pk, whole).status_code == 201


def test_somebody_who_left_the_project_cannot_submit(call, annotator, rank_queue):
    claim = claim_next(rank_queue, annotator)
    annotator.memberships.all().delete()
    assert submit(call, annotator, claim.pk, {"tiers": [["a"], ["b"], ["c"]]}).status_code == 404


def test_demonstration(call, annotator, write_queue):
    claim = call(annotator, "POST", f"/queues/{write_queue.pk}/claim").json()
    assert claim["answers"] == []
    answer = submit(call, annotator, claim["id"], {"text": "Use `reversed()`.", "reasoning": "It copies nothing."})
    assert answer.status_code == 201 and answer.json()["kind"] == "demonstrate"


def test_release_and_draft(call, annotator, sme, write_queue):
    claim = claim_next(write_queue, annotator)
    path = f"/claims/{claim.pk}"
    assert call(annotator, "PUT", f"{path}/draft", {"content": {"text": "Use"}}).status_code == 200
    assert call(annotator, "GET", path).json()["draft"] == {"text": "Use"}
    assert call(annotator, "PUT", f"{path}/draft", {"content": "text"}).status_code == 422
    assert call(sme, "PUT", f"{path}/draft", {"content": {}}).status_code == 404
    assert call(sme, "POST", f"{path}/release", {}).status_code == 404
    assert call(annotator, "POST", f"{path}/release", {"reason": "Lunch"}).status_code == 204
    assert call(annotator, "POST", f"{path}/release").status_code == 409


def test_failure_examples_by_claim_and_by_completion(call, sme, annotator, outsider, rank_queue, answers):
    made = call(sme, "POST", "/projects/helpdesk/failure-classes", {"name": "Invents functions", "severity": 3})
    assert made.status_code == 201
    path = f"/failure-classes/{made.json()['id']}/examples"
    claim = claim_next(rank_queue, sme)
    example = {"claim": claim.pk, "answer": "b", "correction": "Use reversed().", "reasoning": "No such method."}
    assert call(sme, "POST", path, example).status_code == 201
    assert FailureExample.objects.get().completion_id == claim.letters["b"]
    assert call(sme, "POST", path, example).status_code == 422  # filed already
    assert call(sme, "POST", path, example | {"answer": "z"}).status_code == 422
    assert call(sme, "POST", path, {"completion": answers[5][0].pk, "correction": "Right."}).status_code == 201
    assert call(sme, "POST", path, {"completion": answers[5][0].pk, "correction": " "}).status_code == 422
    assert call(sme, "POST", path, {"completion": 999999, "correction": "Right."}).status_code == 404
    assert call(sme, "POST", path, {"completion": answers[5][1].pk, "correction": "x" * 100_001}).status_code == 422
    assert call(annotator, "POST", path, example).status_code == 403
    assert call(outsider, "POST", path, example).status_code == 404
    assert call(annotator, "GET", "/projects/helpdesk/failure-classes").json()["items"][0]["examples"] == 2


def test_failure_classes_come_in_pages(call, sme, annotator):
    for name in ("Invents functions", "Too short", "Off the topic"):
        assert call(sme, "POST", "/projects/helpdesk/failure-classes", {"name": name}).status_code == 201
    seen, after = [], 0
    while after is not None:
        page = call(annotator, "GET", f"/projects/helpdesk/failure-classes?limit=2&after={after}").json()
        seen.append([each["name"] for each in page["items"]])
        after = page["next"]
    assert seen == [["Invents functions", "Too short"], ["Off the topic"]]
    assert call(annotator, "GET", "/projects/helpdesk/failure-classes?limit=0").status_code == 422


def test_what_a_person_wrote_is_no_failure_of_a_model(call, sme, annotator, write_queue):
    """Filed by its id, an example would show others' demonstrations to whoever counts ids."""
    written = submit_demonstration(claim_next(write_queue, annotator), "Use reversed().").completion
    made = call(sme, "POST", "/projects/helpdesk/failure-classes", {"name": "Too short"}).json()
    body = {"completion": written.pk, "correction": "Longer."}
    assert call(sme, "POST", f"/failure-classes/{made['id']}/examples", body).status_code == 404
    Completion.objects.filter(pk=written.pk).update(author=sme)
    assert call(sme, "POST", f"/failure-classes/{made['id']}/examples", body).status_code == 201, "a text of their own"


def test_what_is_misspelt_is_refused(call, annotator, rank_queue):
    claim = claim_next(rank_queue, annotator)
    body = {"tiers": [["a"], ["b"], ["c"]], "rational": "It runs."}
    answer = call(annotator, "POST", f"/claims/{claim.pk}/submit", body, **{"Idempotency-Key": "k"})
    assert answer.status_code == 422 and "rational" in str(answer.json()["detail"])
    claim.refresh_from_db()
    assert claim.status == "live"


def test_failure_class_refusals(call, sme, annotator, outsider):
    path, body = "/projects/helpdesk/failure-classes", {"name": "Too long"}
    assert call(sme, "POST", path, body).status_code == 201
    assert call(sme, "POST", path, {"name": " too  LONG "}).status_code == 422
    assert call(annotator, "POST", path, body).status_code == 403
    assert call(outsider, "POST", path, body).status_code == 404
    assert FailureClass.objects.count() == 1


def test_the_api_describes_itself(client):
    document = client.get(f"{API}/openapi.json").json()
    assert f"{API}/queues/{{queue_id}}/claim" in document["paths"]


def test_text_that_no_database_stores_is_refused(call, engineer, sme, write_queue):
    nul, torn = "a\0b", "\ud800"  # a lone surrogate is no character
    claim = claim_next(write_queue, sme)
    for text in (nul, torn):
        assert submit(call, sme, claim.pk, {"text": text}).status_code == 422
        assert call(sme, "PUT", f"/claims/{claim.pk}/draft", {"content": {"text": nul}}).status_code == 422
        assert call(engineer, "POST", "/projects/helpdesk/prompts", {"prompts": [{"prompt": text}]}).status_code == 422
        assert call(sme, "POST", "/projects/helpdesk/failure-classes", {"name": text}).status_code == 422
    assert call(sme, "GET", "/queues?project=%00").status_code == 422


def test_code_that_names_the_character_is_no_nul(call, sme, engineer, write_queue):
    claim = claim_next(write_queue, sme)
    content = {"fields": {"text": ["In Python write '\\u0000'."]}}
    assert call(sme, "PUT", f"/claims/{claim.pk}/draft", {"content": content}).status_code == 200
    assert call(sme, "GET", f"/claims/{claim.pk}").json()["draft"] == content
    row = {"prompt": "What is '\\u0000'?", "tags": ["\\u0000"], "reference": {"terms": ["\\u0000"]}}
    assert call(engineer, "POST", "/projects/helpdesk/prompts", {"prompts": [row]}).status_code == 201


@pytest.mark.parametrize("deep", [101, 900, 5000])
def test_json_that_is_nested_too_deep(call, sme, write_queue, deep):
    claim = claim_next(write_queue, sme)
    token = ApiToken.issue(sme, "deep")[1]
    body = '{"content": {"a": ' + "[" * deep + "]" * deep + "}}"
    answer = Client().put(
        f"/api/v1/claims/{claim.pk}/draft", body, "application/json", headers={"Authorization": f"Bearer {token}"}
    )
    assert answer.status_code in (400, 422), answer.content
