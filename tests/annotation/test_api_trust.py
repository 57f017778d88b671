"""Disagreements, second looks, stale labels and effects on reward models over the API."""

from __future__ import annotations

import pytest

from annotation.models import Comparison, Demonstration, JournalEntry, Task
from annotation.queue import claim_next, claim_task
from annotation.submit import submit_demonstration, submit_ranking
from studio.models import Guideline
from studio.runs.models import Run
from tests.annotation.test_effects import compare, give_scores

PROJECT = "/projects/helpdesk"


def rank(task: Task, user, order: list[int], **fields) -> Comparison:
    """`order` names completions, best first, whatever was shown."""
    claim = claim_task(task, user)
    letters = {pk: letter for letter, pk in claim.letters.items()}
    return submit_ranking(claim, [[letters[pk]] for pk in order], **fields)


@pytest.fixture
def disputed(rank_queue, annotator, sme, answers) -> Task:
    """One task on which two people say the reverse, and one on which they agree."""
    first, second = rank_queue.tasks.order_by("pk")[:2]
    for number, task in enumerate((first, second)):
        order = [c.pk for c in answers[number]]
        rank(task, annotator, order)
        rank(task, sme, order if number else order[::-1])
    return first


class TestDisagreements:
    def test_listed_and_sent_to_somebody_else(self, call, engineer, sme, disputed, answers):
        found = call(engineer, "GET", f"{PROJECT}/disagreements").json()
        assert (found["tasks"], found["disputed"], found["next"]) == (2, 1, None)
        (item,) = found["items"]
        assert (item["task"], item["disagreement"], item["adjudication"]) == (disputed.pk, 1.0, None)
        order = [[c.pk] for c in answers[0]]
        assert {j["annotator"]: j["tiers"] for j in item["judgements"]} == {"annotator": order, "sme": order[::-1]}
        assert found["slices"] == [{"cluster": "lists", "tasks": 2, "disputed": 1, "mean": 0.5}]

        made = call(engineer, "POST", f"{PROJECT}/adjudications", {"tasks": [disputed.pk], "priority": 7})
        assert made.status_code == 201, made.text
        task = Task.objects.get(pk=made.json()[0]["id"])
        assert (task.adjudicates, task.priority) == (disputed, 7)
        assert call(engineer, "GET", f"{PROJECT}/disagreements").json()["items"] == []
        rank(task, engineer, [c.pk for c in answers[0]])
        (sent,) = call(engineer, "GET", f"{PROJECT}/disagreements?show=sent").json()["items"]
        assert (sent["adjudication"], sent["settled"]["tiers"], sent["settled"]["annotator"]) == (
            task.pk, order, "engineer",
        )  # fmt: skip

    def test_bad_input(self, call, engineer, disputed, rank_queue):
        unjudged = rank_queue.tasks.order_by("pk").last().pk
        call(engineer, "POST", f"{PROJECT}/adjudications", {"tasks": [disputed.pk]})
        for tasks, sentence in [
            ([], ""),
            ([unjudged], "no two judgements"),
            ([disputed.pk], "sent to adjudication already"),
        ]:
            refused = call(engineer, "POST", f"{PROJECT}/adjudications", {"tasks": tasks})
            assert refused.status_code == 422 and sentence in str(refused.json()["detail"])
        assert Task.objects.filter(adjudicates__isnull=False).count() == 1


class TestSecondLooks:
    @pytest.fixture
    def doubted(self, rank_queue, write_queue, annotator) -> tuple[Comparison, Demonstration]:
        ranking = submit_ranking(claim_next(rank_queue, annotator), [["a"], ["b"], ["c"]], second_look="b is close")
        return ranking, submit_demonstration(claim_next(write_queue, annotator), "So.", second_look="Is it so?")

    def test_in_pages(self, call, engineer, doubted):
        first = call(engineer, "GET", f"{PROJECT}/second-looks?limit=1").json()
        second = call(engineer, "GET", f"{PROJECT}/second-looks?limit=1&offset={first['next']}").json()
        found = [(i["kind"], i["label"], i["asked"]) for i in first["items"] + second["items"]]
        assert found == [
            ("demonstration", doubted[1].pk, "Is it so?"), ("comparison", doubted[0].pk, "b is close"),
        ]  # fmt: skip

    def test_decided_once(self, call, engineer, doubted):
        ranking, demonstration = doubted
        path = f"/demonstrations/{demonstration.pk}/second-look"
        refused = call(engineer, "POST", path, {"act": "settle"})
        assert refused.status_code == 422 and "Only a ranking" in refused.json()["detail"]
        assert call(engineer, "POST", path, {"act": "withdraw"}).status_code == 422  # without a reason
        assert call(engineer, "POST", path, {"act": "withdraw", "note": "It is not so."}).status_code == 204
        assert Demonstration.objects.get(pk=demonstration.pk).withdrawn_reason == "It is not so."
        path = f"/comparisons/{ranking.pk}/second-look"
        assert call(engineer, "POST", path, {"act": "settle"}).status_code == 204
        assert Task.objects.get(adjudicates=ranking.task)
        again = call(engineer, "POST", path, {"act": "done"})
        assert again.status_code == 422 and "somebody was faster" in again.json()["detail"]
        assert call(engineer, "GET", f"{PROJECT}/second-looks").json()["items"] == []
        assert [i["label"] for i in call(engineer, "GET", f"{PROJECT}/second-looks?done=true").json()["items"]] == [
            ranking.pk
        ]


class TestStaleLabels:
    def test_asked_for_again_once(self, call, engineer, owner, annotator, guideline, project, rank_queue):
        claim = claim_next(rank_queue, annotator)
        label = submit_ranking(claim, [["a"], ["b"], ["c"]])
        assert call(engineer, "GET", f"{PROJECT}/stale-labels").json() == {"guideline_version": 1, "groups": []}
        Guideline.publish(project, "Prefer the shorter.", owner, "Shorter")
        found = call(engineer, "GET", f"{PROJECT}/stale-labels").json()
        group = {"kind": "comparison", "version": 1, "queue": rank_queue.pk, "labels": 1, "asked": 0}
        assert found["guideline_version"] == 2 and found["groups"] == [group | {"key": found["groups"][0]["key"]}]
        body = {"groups": [found["groups"][0]["key"]], "same_people": True}
        asked = call(engineer, "POST", f"{PROJECT}/stale-labels/ask-again", body)
        assert (asked.status_code, asked.json()) == (201, {"labels": 1, "tasks": 1})
        task = Task.objects.get(repeats__comparison=label)
        assert (task.assignee, task.prompt) == (annotator, label.prompt)
        again = call(engineer, "POST", f"{PROJECT}/stale-labels/ask-again", body)
        assert again.status_code == 422 and "Nothing is left" in again.json()["detail"]

    def test_bad_input(self, call, engineer, guideline, write_queue):
        for body, sentence in [
            ({"groups": ["comparison-1-1"]}, "Nothing is left"),
            ({"groups": ["x"], "queue": 999_999}, "no queue 999999"),
            ({"groups": []}, ""),
        ]:
            refused = call(engineer, "POST", f"{PROJECT}/stale-labels/ask-again", body)
            assert refused.status_code == 422 and sentence in str(refused.json()["detail"])


class TestEffects:
    @pytest.fixture
    def judge(self, make_artifact, annotator, sme, answers):
        """A reward model without a lineage: it has the annotator's pairs right and the SME's wrong."""
        judge = make_artifact("reward_model", "Judge")
        compare(annotator, answers[2], "a>b=c")
        compare(sme, answers[3], "c>b=a")
        for n in (2, 3):
            give_scores(judge, answers[n], 2.0, 1.0, 1.0)
        return judge

    def test_accuracy_and_what_is_disputed(self, call, engineer, judge, answers):
        (model,) = call(engineer, "GET", f"{PROJECT}/reward-models").json()
        assert (model["id"], model["name"], model["has_scores"]) == (judge.pk, "Judge", True)
        found = call(engineer, "GET", f"/reward-models/{judge.pk}/effects").json()
        # the annotator's a>b and a>c are right; of the SME's, c>b is a draw and c>a wrong: 2.5 of 4
        assert (found["overall"]["value"], found["overall"]["n"]) == (pytest.approx(0.625), 4)
        assert {e["label"]: e["value"] for e in found["by_annotator"]} == {"annotator": 1.0, "sme": 0.25}
        assert (found["disputed"], found["held_out"], found["lineage_known"]) == (1, 2, False)
        (strongest,) = found["strongest"]
        assert (strongest["prompt"], strongest["margin"], strongest["task"]) == (answers[3][0].prompt_id, 1.0, None)
        assert strongest["probability"] == pytest.approx(0.7311, abs=1e-4)  # 1 / (1 + 1/e)

    def test_people_are_asked_once(self, call, engineer, judge, sme):
        asked = call(engineer, "POST", f"/reward-models/{judge.pk}/ask-again", {"overlap": 2})
        assert asked.status_code == 201 and [task["overlap"] for task in asked.json()] == [2]
        found = call(engineer, "GET", f"/reward-models/{judge.pk}/effects").json()
        assert found["strongest"][0]["task"] == asked.json()[0]["id"]
        again = call(engineer, "POST", f"/reward-models/{judge.pk}/ask-again", {})
        assert again.status_code == 422 and "sent to people before" in again.json()["detail"]
        assert JournalEntry.objects.filter(act="asked again", actor=engineer).count() == 1

    def test_scores_are_asked_for_once(self, call, engineer, judge, annotator, answers):
        full = call(engineer, "POST", f"/reward-models/{judge.pk}/scores")
        assert full.status_code == 422 and "scored every answer" in full.json()["detail"]
        compare(annotator, answers[0], "a>b>c")
        assert call(engineer, "GET", f"/reward-models/{judge.pk}/effects").json()["missing_scores"] == 3
        queued = call(engineer, "POST", f"/reward-models/{judge.pk}/scores")
        assert queued.status_code == 202, queued.text
        assert Run.objects.get(pk=queued.json()["run"]).recipe_name == "score"
        again = call(engineer, "POST", f"/reward-models/{judge.pk}/scores")
        assert again.status_code == 422 and "already" in again.json()["detail"]

    def test_other_artifacts_have_none(self, call, engineer, make_artifact):
        model = make_artifact("model", "Hare")
        assert call(engineer, "GET", f"/reward-models/{model.pk}/effects").status_code == 404
