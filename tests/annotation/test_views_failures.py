"""Failure classes: list, detail, new, examples and how models fare."""

from __future__ import annotations

import pytest

from annotation.failures import add_class, add_example, set_status
from annotation.merging import merge
from annotation.models import FailureClass, FailureExample, FailureMerge, FailureStatus

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

    def test_what_others_wrote_is_not_shown(self, client_for, annotator, sme, prompts):
        written = prompts[0].completions.create(text="Mine alone.", author=annotator)
        url = f"{self.url}?completion={written.pk}"
        assert client_for(sme).get(url).status_code == 404
        written.author = sme
        written.save()
        assert "Mine alone." in client_for(sme).get(url).text

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


class TestEdit:
    def test_changes_and_history(self, client_for, sme, engineer, rambles):
        data = {
            "name": "Rambles on", "description": "Ends late.", "severity": 2, "owner": engineer.pk,
            "suggested_prompts": "What is len?\n\nExplain lists.",
        }  # fmt: skip
        seen = client_for(sme).post(f"{URL}{rambles.pk}/edit/", data, follow=True).text
        for part in ("Rambles on", "Owned by engineer", "What is len?", "<del>Never **ends**.</del>"):
            assert part in seen
        assert "What is len?\nExplain lists." in client_for(sme).get(f"{URL}{rambles.pk}/edit/").text

    def test_bad_input(self, client_for, sme, annotator, rambles):
        add_class(rambles.project, "Invents", sme)
        for change in ({"name": "invents"}, {"name": ""}, {"severity": 9}, {"owner": annotator.pk}):
            data = {"name": "Rambles", "severity": 3} | change
            assert client_for(sme).post(f"{URL}{rambles.pk}/edit/", data).status_code == 422

    def test_wrong_role_and_method(self, client_for, sme, annotator, rambles):
        assert client_for(annotator).get(f"{URL}{rambles.pk}/edit/").status_code == 403
        assert client_for(sme).put(f"{URL}{rambles.pk}/edit/").status_code == 405


class TestMerge:
    def test_merges_and_takes_back(self, client_for, engineer, sme, example):
        rambles = example.failure_class
        target = add_class(rambles.project, "Goes on", sme)
        answer = client_for(engineer).post(
            f"{URL}{rambles.pk}/merge/", {"target": target.pk, "reason": "Same"}, follow=True
        )
        assert "1 example moved" in answer.text and "Merged into this" in answer.text
        old = client_for(sme).get(f"{URL}{rambles.pk}/").text
        assert "Merged into" in old and "File an example" not in old
        assert "Rambles" not in client_for(sme).get(URL).text
        assert "merged into Goes on" in client_for(sme).get(f"{URL}?merged=on").text
        url = f"{URL}merges/{FailureMerge.objects.get().pk}/undo/"
        assert "of its own again, with 1 example" in client_for(engineer).post(url, follow=True).text
        assert "taken back already" in client_for(engineer).post(url, follow=True).text

    def test_bad_input(self, client_for, engineer, rambles):
        for target in ("", 999, rambles.pk):
            assert client_for(engineer).post(f"{URL}{rambles.pk}/merge/", {"target": target}).status_code == 422
        assert not FailureMerge.objects.exists()

    def test_wrong_role_and_method(self, client_for, engineer, annotator, sme, rambles):
        theirs = add_class(rambles.project, "Of engineers", engineer)
        assert client_for(sme).get(f"{URL}{theirs.pk}/merge/").status_code == 403  # not its owner
        assert client_for(sme).get(f"{URL}{rambles.pk}/merge/").status_code == 200
        assert client_for(annotator).get(f"{URL}{rambles.pk}/merge/").status_code == 403
        assert client_for(sme).put(f"{URL}{rambles.pk}/merge/").status_code == 405
        done = merge(theirs, rambles, engineer)
        assert client_for(sme).post(f"{URL}merges/{done.pk}/undo/").status_code == 403
        assert client_for(engineer).get(f"{URL}merges/{done.pk}/undo/").status_code == 405


class TestUse:
    def test_a_demonstration_and_a_comparison(self, client_for, sme, example):
        url = f"{URL}examples/{example.pk}/use/"
        for kind in ("demonstration", "comparison"):
            seen = client_for(sme).post(url, {"kind": kind}, follow=True).text
            assert f"{kind.capitalize()} 1 is made of it." in seen
        seen = client_for(sme).get(f"{URL}{example.failure_class_id}/").text
        assert "Demonstration 1" in seen and "Comparison 1" in seen and "Make a" not in seen

    def test_held_out_prompts_are_named(self, client_for, sme, rambles, answers):
        held_out = add_example(rambles, answers[5][0], sme, correction="Use reverse().")
        seen = client_for(sme).post(f"{URL}examples/{held_out.pk}/use/", {"kind": "comparison"}, follow=True).text
        assert "will never train a model" in seen

    def test_bad_input(self, client_for, sme, example):
        url = f"{URL}examples/{example.pk}/use/"
        assert client_for(sme).post(url, {"kind": "poem"}).status_code == 404
        client_for(sme).post(url, {"kind": "comparison"})
        assert "already" in client_for(sme).post(url, {"kind": "comparison"}, follow=True).text

    def test_wrong_role_and_method(self, client_for, annotator, sme, example):
        url = f"{URL}examples/{example.pk}/use/"
        assert client_for(annotator).post(url, {"kind": "comparison"}).status_code == 403
        assert client_for(sme).get(url).status_code == 405


class TestDialog:
    """Asked for by htmx, the last step of filing is the content of a dialog."""

    def test_form_errors_and_success(self, client_for, sme, example, answers):
        browser = client_for(sme)
        url = f"{URL}file/?completion={answers[1][0].pk}"
        asked = {"headers": {"HX-Request": "true"}}
        assert "<html" not in browser.get(url, **asked).text
        assert "Choose a class" in browser.post(url, {"correction": "No."}, **asked).text
        seen = browser.post(url, {"correction": "No.", "name": "Invents"}, **asked).text
        assert "Filed under" in seen and FailureClass.objects.filter(name="Invents").exists()


def test_filters_and_few_queries(client_for, sme, engineer, example, answers, django_assert_max_num_queries):
    rambles = example.failure_class
    set_status(rambles, answers[0][0].model, "fixed", engineer)
    add_class(rambles.project, "Invents", sme, severity=1)
    browser = client_for(engineer)
    with django_assert_max_num_queries(15):
        assert "Invents" not in browser.get(f"{URL}?q=use way&severity=3&owner={sme.pk}&state=fixed").text
    assert "No class like that" in browser.get(f"{URL}?state=regressed").text
    assert browser.get(f"{URL}?severity=x&owner=y&state=z&page=w").status_code == 200
    with django_assert_max_num_queries(15):
        browser.get(f"{URL}{rambles.pk}/")
