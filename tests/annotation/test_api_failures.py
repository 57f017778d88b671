"""Failure classes and probes over the API: curated by SMEs and engineers, without the models behind answers."""

from __future__ import annotations

import pytest

from annotation import failures
from annotation.models import Comparison, Demonstration, FailureClass, FailureExample, JournalEntry, Probe


@pytest.fixture
def failure_class(project, sme) -> FailureClass:
    """Owned by the SME."""
    return failures.add_class(project, "Invents a function", sme)


@pytest.fixture
def other_class(project, engineer) -> FailureClass:
    return failures.add_class(project, "Calls what is not there", engineer)


class TestClasses:
    def test_changed_where_something_is_given(self, call, sme, failure_class):
        path = f"/failure-classes/{failure_class.pk}"
        changed = call(sme, "PATCH", path, {"severity": 3, "suggested_prompts": ["How do I sort?", " "]})
        assert changed.status_code == 200, changed.text
        found = changed.json()
        assert (found["severity"], found["suggested_prompts"]) == (3, ["How do I sort?"])
        assert (found["name"], found["owner"], found["merged_into"]) == ("Invents a function", "sme", None)
        assert call(sme, "PATCH", path, {"owner": None}).json()["owner"] is None
        assert JournalEntry.objects.filter(act="edited", actor=sme).count() == 2

    @pytest.mark.parametrize(
        ("wrong", "sentence"),
        [
            ({"name": "Calls what is not there"}, "There is a failure class"),
            ({"owner": "annotator"}, "no SME, engineer or owner"),
            ({"owner": "nobody"}, "not a member"),
            ({"severity": 4}, ""),
        ],
    )
    def test_bad_input(self, call, sme, annotator, failure_class, other_class, wrong, sentence):
        refused = call(sme, "PATCH", f"/failure-classes/{failure_class.pk}", wrong)
        assert refused.status_code == 422 and sentence in str(refused.json()["detail"])
        assert FailureClass.objects.get(pk=failure_class.pk).severity == 2

    def test_how_models_fare(self, call, engineer, failure_class, answers, make_artifact):
        model, path = answers[0][0].model, f"/failure-classes/{failure_class.pk}"
        for state in ("open", "fixed"):
            made = call(engineer, "POST", f"{path}/statuses", {"model": model.pk, "state": state})
            assert made.status_code == 201, made.text
        (now,) = call(engineer, "GET", path).json()["statuses"]
        assert (now["model"], now["model_name"], now["state"], now["by"]) == (model.pk, model.name, "fixed", "engineer")
        dataset = make_artifact("dataset", "No model")
        for wrong in (dataset.pk, 999_999):
            refused = call(engineer, "POST", f"{path}/statuses", {"model": wrong, "state": "open"})
            assert refused.status_code == 422 and "model" in refused.json()["detail"]

    def test_merged_by_its_owner_and_taken_back(self, call, sme, failure_class, other_class, answers):
        example = failures.add_example(failure_class, answers[0][0], sme, correction="sorted()")
        path = f"/failure-classes/{failure_class.pk}"
        not_mine = call(sme, "POST", f"/failure-classes/{other_class.pk}/merge", {"into": failure_class.pk})
        assert not_mine.status_code == 403
        merged = call(sme, "POST", f"{path}/merge", {"into": other_class.pk, "reason": "The same"})
        assert (merged.status_code, merged.json()["examples"], merged.json()["reason"]) == (201, 1, "The same")
        found = call(sme, "GET", path).json()
        assert (found["merged_into"], found["examples"], found["merges"]) == (other_class.pk, 0, [merged.json()])
        again = call(sme, "POST", f"{path}/merge", {"into": other_class.pk})
        assert again.status_code == 422 and "merged into another class already" in again.json()["detail"]
        undo = f"/failure-merges/{merged.json()['id']}/undo"
        assert call(sme, "POST", undo).json() == {"examples": 1}
        assert FailureExample.objects.get(pk=example.pk).failure_class == failure_class
        assert call(sme, "POST", undo).status_code == 422
        for wrong, sentence in ((failure_class.pk, "into itself"), (999_999, "no failure class 999999")):
            refused = call(sme, "POST", f"{path}/merge", {"into": wrong})
            assert refused.status_code == 422 and sentence in refused.json()["detail"]

    def test_examples_do_not_say_whose_they_are(self, call, sme, engineer, failure_class, answers):
        mine = failures.add_example(failure_class, answers[0][0], sme, correction="sorted()")
        theirs = failures.add_example(failure_class, answers[0][1], engineer, correction="list.sort()")
        path = f"/failure-classes/{failure_class.pk}/examples"
        page = call(sme, "GET", path)
        assert [(e["id"], e["completion"], e["author"]) for e in page.json()["items"]] == [
            (mine.pk, answers[0][0].pk, "sme"), (theirs.pk, answers[0][1].pk, "engineer"),
        ]  # fmt: skip
        assert page.json()["items"][0]["text"] == answers[0][0].text
        assert "Tortoise" not in page.text and "model" not in page.text
        assert call(sme, "POST", f"/failure-examples/{theirs.pk}/withdraw", {"reason": "No"}).status_code == 403
        assert call(sme, "POST", f"/failure-examples/{mine.pk}/withdraw", {"reason": "It runs"}).status_code == 204
        assert call(sme, "POST", f"/failure-examples/{mine.pk}/withdraw", {"reason": "It runs"}).status_code == 422
        assert [e["withdrawn"] for e in call(sme, "GET", path).json()["items"]] == [True, False]

    def test_labels_are_made_of_an_example_once(self, call, sme, failure_class, answers):
        example = failures.add_example(failure_class, answers[0][0], sme, correction="sorted()", reasoning="It runs.")
        path = f"/failure-examples/{example.pk}"
        demonstration = Demonstration.objects.get(pk=call(sme, "POST", f"{path}/demonstration").json()["label"])
        assert (demonstration.completion.text, demonstration.draft_of) == ("sorted()", answers[0][0])
        comparison = Comparison.objects.get(pk=call(sme, "POST", f"{path}/comparison").json()["label"])
        assert comparison.tiers == [[demonstration.completion_id], [answers[0][0].pk]]
        for kind in ("demonstration", "comparison"):
            again = call(sme, "POST", f"{path}/{kind}")
            assert again.status_code == 422 and f"There is a {kind} from this example already" in again.json()["detail"]


class TestProbes:
    @pytest.fixture
    def asked(self, call, engineer, failure_class, answers) -> dict:
        body = {"failure_class": failure_class.pk, "model": answers[0][0].model_id, "wanted": 2}
        made = call(engineer, "POST", "/projects/helpdesk/probes", body)
        assert made.status_code == 201, made.text
        return made.json()

    def test_taken_once_and_concluded(self, call, sme, engineer, failure_class, answers, asked):
        assert (asked["status"], asked["assignee"], asked["found"], asked["wanted"]) == ("open", None, 0, 2)
        path = f"/probes/{asked['id']}"
        assert call(sme, "POST", f"{path}/take").json()["assignee"] == "sme"
        late = call(engineer, "POST", f"{path}/take")
        assert late.status_code == 409 and "quicker" in late.json()["detail"]
        failures.add_example(failure_class, answers[0][0], sme, correction="sorted()")
        assert call(sme, "GET", path).json()["found"] == 1
        not_mine = call(engineer, "POST", f"{path}/conclude", {"conclusion": "It holds."})
        assert not_mine.status_code == 422 and "not yours" in not_mine.json()["detail"]
        done = call(sme, "POST", f"{path}/conclude", {"conclusion": "It still does.", "state": "regressed"}).json()
        assert (done["status"], done["conclusion"], done["found"]) == ("done", "It still does.", 1)
        (status,) = call(sme, "GET", f"/failure-classes/{failure_class.pk}").json()["statuses"]
        assert (status["state"], status["by"]) == ("regressed", "sme")
        assert call(engineer, "POST", f"{path}/withdraw").status_code == 409

    def test_given_up_and_withdrawn(self, call, sme, engineer, asked):
        path = f"/probes/{asked['id']}"
        assert call(sme, "POST", f"{path}/give-up").status_code == 409
        call(sme, "POST", f"{path}/take")
        assert call(sme, "POST", f"{path}/give-up").status_code == 204
        assert Probe.objects.get().assignee is None
        assert call(engineer, "POST", f"{path}/withdraw").status_code == 204
        assert call(sme, "GET", "/projects/helpdesk/probes").json() == {"items": [], "next": None}
        listed = call(engineer, "GET", "/projects/helpdesk/probes").json()["items"]
        assert [(each["id"], each["status"]) for each in listed] == [(asked["id"], "withdrawn")]

    def test_bad_input(self, call, engineer, annotator, failure_class, answers):
        body = {"failure_class": failure_class.pk, "model": answers[0][0].model_id}
        for wrong, sentence in [
            ({"failure_class": 999_999}, "no failure class 999999"),
            ({"model": 999_999}, "no model 999999"),
            ({"assignee": "annotator"}, "no SME, engineer or owner"),
            ({"wanted": 101}, ""),
        ]:
            refused = call(engineer, "POST", "/projects/helpdesk/probes", body | wrong)
            assert refused.status_code == 422 and sentence in str(refused.json()["detail"])
        assert not Probe.objects.exists()
