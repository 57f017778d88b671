"""Failure classes: list, detail, new, examples and how models fare."""

from __future__ import annotations

import pytest

from annotation.failures import add_class, add_example, set_status
from annotation.models import FailureClass, FailureExample, FailureStatus

URL = "/projects/helpdesk/failure-classes/"


@pytest.fixture
def rambles(project, sme) -> FailureClass:
    return add_class(project, "Rambles", sme, description="Never **ends**.", severity=3)


@pytest.fixture
def example(rambles, answers, sme) -> FailureExample:
    return add_example(rambles, answers[0][0], sme, correction="Use `reverse`.", reasoning="One call is enough.")


class TestList:
    def test_severity_examples_and_newest_state(self, client_for, sme, engineer, example, answers):
        tortoise = answers[0][0].model
        set_status(example.failure_class, tortoise, "open", engineer)
        set_status(example.failure_class, tortoise, "fixed", engineer)
        seen = client_for(sme).get(URL).text
        for part in ("Rambles", "Critical", "Tortoise", "Fixed</span>"):
            assert part in seen
        assert "Open</span>" not in seen
        assert '<td class="num" data-label="Examples">1</td>' in seen

    def test_empty_page_teaches(self, client_for, sme, project):
        assert "New failure class" in client_for(sme).get(URL).text

    def test_wrong_role_and_method(self, client_for, annotator, outsider, sme, project):
        assert client_for(annotator).get(URL).status_code == 403
        assert client_for(outsider).get(URL).status_code == 404
        assert client_for(sme).post(URL).status_code == 405


class TestNew:
    def test_adds_a_class(self, client_for, sme, project):
        answer = client_for(sme).post(f"{URL}new/", {"name": "Invents", "description": "A function.", "severity": 3})
        made = FailureClass.objects.get()
        assert (made.name, made.severity, made.created_by) == ("Invents", 3, sme)
        assert answer.url == f"{URL}{made.pk}/"

    def test_leads_back_to_the_answer_it_was_made_for(self, client_for, sme, answers):
        answer = client_for(sme).post(f"{URL}new/?completion={answers[0][0].pk}", {"name": "Invents", "severity": 1})
        made = FailureClass.objects.get()
        assert answer.url == f"{URL}file/?class={made.pk}&completion={answers[0][0].pk}"
        assert f'<option value="{made.pk}" selected>' in client_for(sme).get(answer.url).text

    @pytest.mark.parametrize(
        ("data", "sentence"),
        [
            ({"name": "", "severity": 1}, "This field is required"),
            ({"name": "RAMBLES", "severity": 1}, "already: add your example to it"),
            ({"name": "New", "severity": 9}, "not one of the available choices"),
        ],
    )
    def test_bad_input(self, client_for, sme, rambles, data, sentence):
        answer = client_for(sme).post(f"{URL}new/", data)
        assert answer.status_code == 422
        assert sentence in answer.text
        assert FailureClass.objects.get() == rambles

    def test_wrong_role_and_method(self, client_for, annotator, sme, project):
        assert client_for(annotator).post(f"{URL}new/", {"name": "New", "severity": 1}).status_code == 403
        assert client_for(sme).put(f"{URL}new/").status_code == 405


class TestDetail:
    def test_examples_beside_their_corrections(self, client_for, sme, example):
        seen = client_for(sme).get(f"{URL}{example.failure_class_id}/").text
        for part in ("<strong>ends</strong>", example.completion.text, "<code>reverse</code>", "One call is enough."):
            assert part in seen
        assert "How a model fares now" not in seen

    def test_wrong_role_method_and_project(self, client_for, annotator, sme, rambles):
        assert client_for(annotator).get(f"{URL}{rambles.pk}/").status_code == 403
        assert client_for(sme).post(f"{URL}{rambles.pk}/").status_code == 405
        assert client_for(sme).get(f"{URL}999/").status_code == 404


class TestStatus:
    def test_engineers_record_how_a_model_fares(self, client_for, engineer, rambles, answers):
        model = answers[0][0].model
        url = f"{URL}{rambles.pk}/status/"
        client_for(engineer).post(url, {"model": model.pk, "state": "fixed", "note": "After round 2"})
        answer = client_for(engineer).post(url, {"model": model.pk, "state": "regressed"}, follow=True)
        assert [s.state for s in FailureStatus.objects.order_by("id")] == ["fixed", "regressed"]
        assert "Earlier states" in answer.text
        assert "After round 2" in answer.text

    def test_bad_input(self, client_for, engineer, rambles, answers, make_artifact):
        corpus = make_artifact("corpus", "Text")
        for data in ({"model": corpus.pk, "state": "open"}, {"model": answers[0][0].model_id, "state": "gone"}, {}):
            assert client_for(engineer).post(f"{URL}{rambles.pk}/status/", data).status_code == 422
        assert not FailureStatus.objects.exists()

    def test_wrong_role_and_method(self, client_for, sme, engineer, rambles):
        assert client_for(sme).post(f"{URL}{rambles.pk}/status/", {}).status_code == 403
        assert client_for(engineer).get(f"{URL}{rambles.pk}/status/").status_code == 405


class TestFile:
    url = f"{URL}file/"

    def test_three_steps(self, client_for, sme, rambles, answers):
        browser = client_for(sme)
        completion = answers[1][2]
        first = browser.get(f"{self.url}?class={rambles.pk}&q=number 1").text
        assert f"?class={rambles.pk}&amp;prompt={completion.prompt_id}" in first
        assert "list number 2" not in first
        second = browser.get(f"{self.url}?class={rambles.pk}&prompt={completion.prompt_id}").text
        assert f"?class={rambles.pk}&amp;completion={completion.pk}" in second
        assert "Fox" not in second
        third = f"{self.url}?class={rambles.pk}&completion={completion.pk}"
        assert f'<option value="{rambles.pk}" selected>' in browser.get(third).text
        browser.post(third, {"failure_class": rambles.pk, "correction": "Use reverse().", "reasoning": "Shorter."})
        made = FailureExample.objects.get()
        assert (made.completion, made.correction, made.author) == (completion, "Use reverse().", sme)

    def test_bad_input(self, client_for, sme, example):
        url = f"{self.url}?completion={example.completion_id}"
        for data, sentence in (
            ({"failure_class": example.failure_class_id, "correction": ""}, "This field is required"),
            ({"failure_class": 999, "correction": "x"}, "not one of the available choices"),
            ({"failure_class": example.failure_class_id, "correction": "x"}, "You have filed this completion"),
        ):
            answer = client_for(sme).post(url, data)
            assert answer.status_code == 422
            assert sentence in answer.text
        assert FailureExample.objects.get() == example

    @pytest.mark.parametrize("query", ["completion=0", "completion=x", "prompt=99999", "prompt=-1"])
    def test_addresses_that_lead_nowhere(self, client_for, sme, project, query):
        assert client_for(sme).get(f"{self.url}?{query}").status_code == 404

    def test_wrong_role_and_method(self, client_for, annotator, sme, example):
        url = f"{self.url}?completion={example.completion_id}"
        assert client_for(annotator).get(url).status_code == 403
        assert client_for(sme).put(url).status_code == 405
        assert client_for(sme).post(self.url, {}).status_code == 404  # no answer was chosen


class TestWithdrawExample:
    def url(self, example: FailureExample) -> str:
        return f"{URL}examples/{example.pk}/withdraw/"

    def test_keeps_it_with_the_reason(self, client_for, sme, example):
        answer = client_for(sme).post(self.url(example), {"reason": "It is fine"}, follow=True)
        assert "It is fine" in answer.text
        assert '<td class="num" data-label="Examples">0</td>' in client_for(sme).get(URL).text

    def test_needs_a_reason(self, client_for, sme, example):
        assert "Say in at most 300" in client_for(sme).post(self.url(example), {"reason": " "}, follow=True).text
        example.refresh_from_db()
        assert example.withdrawn_at is None

    def test_wrong_role_and_method(self, client_for, sme, annotator, engineer, answers, rambles):
        theirs = add_example(rambles, answers[0][1], engineer, correction="No.")
        assert client_for(sme).post(self.url(theirs), {"reason": "Mine"}).status_code == 403
        assert client_for(annotator).post(self.url(theirs), {"reason": "Mine"}).status_code == 403
        assert client_for(engineer).get(self.url(theirs)).status_code == 405
