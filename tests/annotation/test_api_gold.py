"""Gold items over the API: made of judged tasks, listed with how people do on them, retired."""

from __future__ import annotations

import pytest

from annotation import gold
from annotation.models import Gold, JournalEntry, Queue
from annotation.queue import claim_next, claim_task
from annotation.submit import submit_ranking
from annotation.tasks import add_tasks

LIST = "/projects/helpdesk/gold"


@pytest.fixture
def made(call, engineer, rank_queue, answers) -> dict:
    """The first answer to the first prompt is best, the others are tied."""
    best, *others = [c.pk for c in answers[0]]
    task = rank_queue.tasks.get(prompt=answers[0][0].prompt)
    body = {"task": task.pk, "tiers": [[best], others], "explanation": "It **runs**.", "is_attention": True}
    answer = call(engineer, "POST", LIST, body)
    assert answer.status_code == 201, answer.text
    return answer.json()


def test_made_of_a_task_and_listed(call, engineer, made, rank_queue, answers):
    item = Gold.objects.get(pk=made["id"])
    assert (made["tiers"], made["explanation"], made["is_attention"]) == (item.tiers, "It **runs**.", True)
    assert (made["queue"], made["prompt"], made["created_by"]) == (rank_queue.pk, answers[0][0].prompt_id, "engineer")
    assert (made["met"], made["accuracy"], made["retired_at"]) == (0, None, None)
    assert call(engineer, "GET", LIST).json() == {"items": [made], "next": None}
    assert call(engineer, "GET", f"{LIST}?queue={rank_queue.pk}&retired=false").json()["items"] == [made]
    assert call(engineer, "GET", f"{LIST}?retired=true").json()["items"] == []


def test_bad_input(call, engineer, made, rank_queue, write_queue, answers):
    first, second, third = [c.pk for c in answers[1]]
    task = rank_queue.tasks.get(prompt=answers[1][0].prompt).pk
    for wrong, sentence in [
        ({"task": 999_999, "tiers": [[first]]}, "no task 999999"),
        ({"task": task, "tiers": [[first, second, third]]}, "at least one answer above another"),
        ({"task": task, "tiers": [[first], [answers[2][0].pk]]}, ""),  # an answer to another prompt
        ({"task": task, "tiers": [[first], [second]], "queue": 999_999}, "no queue 999999"),
        ({"task": task, "tiers": [[first], [second]], "queue": write_queue.pk}, "no right order"),
        ({"task": made["task"], "tiers": made["tiers"]}, "already"),
    ]:
        refused = call(engineer, "POST", LIST, wrong)
        assert refused.status_code == 422 and sentence in str(refused.json()["detail"]), refused.text
    assert Gold.objects.count() == 1


def test_how_people_do(call, engineer, annotator, sme, made, rank_queue):
    Queue.objects.filter(pk=rank_queue.pk).update(gold_rate=1)
    best = made["tiers"][0][0]
    for person, best_first in ((annotator, True), (sme, False)):
        claim = claim_next(Queue.objects.get(pk=rank_queue.pk), person)
        assert claim.task_id == made["task"]
        letters = sorted(claim.letters, key=lambda letter: (claim.letters[letter] == best) != best_first)
        gold.after_submit(claim, submit_ranking(claim, [[letter] for letter in letters]))
    item = call(engineer, "GET", f"/gold/{made['id']}").json()
    # two pairs: the best above each of the others; one person has both right, the other none
    assert {(r["annotator"], r["accuracy"]) for r in item["results"]} == {("annotator", 1.0), ("sme", 0.0)}
    assert (item["met"], item["accuracy"]["value"], item["accuracy"]["n"]) == (2, 0.5, 2)
    for person in (annotator, sme):
        assert call(person, "GET", f"/gold/{made['id']}").status_code == 403


def test_what_would_make_more(call, engineer, owner, annotator, sme, rank_queue, prompts, answers):
    (task,) = add_tasks(rank_queue, [(prompts[0], answers[0])], overlap=3)
    order = [[c.pk] for c in answers[0]]
    for person in (annotator, sme, owner):
        claim = claim_task(task, person)
        by_id = {pk: letter for letter, pk in claim.letters.items()}
        submit_ranking(claim, [[by_id[pk]] for (pk,) in order])
    (candidate,) = call(engineer, "GET", "/projects/helpdesk/gold-candidates").json()
    assert (candidate["task"], candidate["tiers"], candidate["judges"]) == (task.pk, order, 3)
    assert call(engineer, "POST", LIST, {"task": task.pk, "tiers": order}).status_code == 201
    assert call(engineer, "GET", "/projects/helpdesk/gold-candidates").json() == []


def test_retired_once(call, engineer, made):
    retired = call(engineer, "POST", f"/gold/{made['id']}/retire")
    assert retired.status_code == 200 and retired.json()["retired_at"]
    again = call(engineer, "POST", f"/gold/{made['id']}/retire")
    assert again.status_code == 422 and "retired already" in again.json()["detail"]
    assert JournalEntry.objects.filter(act="retired gold", actor=engineer).count() == 1
