"""Comparisons and demonstrations: lists, each in full, and withdrawal."""

from __future__ import annotations

import pytest

from annotation import queue, submit
from annotation.datasets import freeze_comparisons, freeze_demonstrations
from annotation.models import Comparison, Demonstration
from annotation.reviews import close_review, start_review
from studio.models import User
from studio.runs.models import Run

URL = "/projects/helpdesk/comparisons/"


@pytest.fixture
def comparison(rank_queue, annotator, guideline) -> Comparison:
    claim = queue.claim_next(rank_queue, annotator)
    return submit.submit_ranking(
        claim, [["b"], ["a"]], unrankable=["c"], strength=2, ratings={"b": 6}, flags={"a": ["opinion"]},
        rationale="It **runs**.",
    )  # fmt: skip


@pytest.fixture
def demonstration(write_queue, annotator) -> Demonstration:
    claim = queue.claim_next(write_queue, annotator)
    return submit.submit_demonstration(claim, "Slice it.", reasoning="A slice copies.")


def url_of(label, act: str = "") -> str:
    folder = "demonstrations/" if isinstance(label, Demonstration) else ""
    return f"{URL}{folder}{label.pk}/{act}"


class TestLists:
    def test_comparisons_say_who_and_how(self, client_for, sme, comparison):
        seen = client_for(sme).get(URL).text
        assert "B › A (C not rankable)" in seen
        assert "version 1" in seen
        assert "Scripted" not in seen

    def test_scripted_people_are_marked(self, client_for, sme, annotator, comparison):
        User.objects.filter(pk=annotator.pk).update(is_scripted=True)
        assert "Scripted</span>" in client_for(sme).get(URL).text

    def test_demonstrations(self, client_for, sme, demonstration):
        assert "Slice it." in client_for(sme).get(f"{URL}demonstrations/").text

    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ({}, True), ({"by": "annotator"}, True), ({"by": "sme"}, False), ({"state": "standing"}, True),
            ({"state": "withdrawn"}, False), ({"state": "surplus"}, False), ({"q": "reverse list"}, True),
            ({"q": "tuple"}, False), ({"for": "training"}, True), ({"for": "review"}, False), ({"state": "mad"}, True),
            ({"q": "\0"}, True),
        ],
    )  # fmt: skip
    def test_filters(self, client_for, sme, comparison, query, found):
        assert ("B › A" in client_for(sme).get(URL, query).text) is found

    def test_wrong_role_and_method(self, client_for, annotator, sme, outsider, project):
        for url in (URL, f"{URL}demonstrations/"):
            assert client_for(annotator).get(url).status_code == 403
            assert client_for(outsider).get(url).status_code == 404
            assert client_for(sme).post(url).status_code == 405

    def test_queries_do_not_grow(self, client_for, sme, engineer, rank_queue, django_assert_max_num_queries):
        for user in (sme, engineer):
            while claim := queue.claim_next(rank_queue, user):
                submit.submit_ranking(claim, [["a"], ["b", "c"]])
        browser = client_for(sme)
        with django_assert_max_num_queries(8):
            browser.get(URL)


class TestDetail:
    def test_comparison_in_the_order_it_was_shown(self, client_for, engineer, comparison):
        seen = client_for(engineer).get(url_of(comparison)).text
        texts = [c.text for c in map(comparison.completions.in_bulk().get, comparison.shown_order)]
        assert [seen.index(text) for text in texts] == sorted(seen.index(text) for text in texts)
        for part in ("Place 1", "Place 2", "Not rankable", "Expresses an opinion", "<strong>runs</strong>", "Better"):
            assert part in seen
        assert "Tortoise" in seen

    def test_annotators_see_their_own_without_models(self, client_for, annotator, comparison):
        seen = client_for(annotator).get(url_of(comparison)).text
        assert "B › A" in seen
        assert not any(name in seen for name in ("Tortoise", "Hare", "Fox"))

    def test_and_nobody_elses(self, client_for, annotator, sme, rank_queue, write_queue):
        for made in (
            submit.submit_ranking(queue.claim_next(rank_queue, sme), [["a", "b", "c"]]),
            submit.submit_demonstration(queue.claim_next(write_queue, sme), "Slice it."),
        ):
            assert client_for(annotator).get(url_of(made)).status_code == 403
            assert client_for(annotator).post(url_of(made, "withdraw/"), {"reason": "No"}).status_code == 403

    def test_models_of_an_open_review_stay_hidden_from_experts(self, client_for, sme, engineer, project, answers):
        review = start_review(project, engineer, "Blind", [c.model for c in answers[0][:2]])
        made = submit.submit_ranking(queue.claim_next(review.queue, sme), [["a"], ["b"]])
        assert "Tortoise" not in client_for(sme).get(url_of(made)).text
        assert "Tortoise" in client_for(engineer).get(url_of(made)).text
        close_review(review)
        assert "Tortoise" in client_for(sme).get(url_of(made)).text

    def test_says_which_datasets_and_models_used_it(
        self, client_for, engineer, project, comparison, make_artifact, django_assert_max_num_queries
    ):
        dataset = freeze_comparisons(project, engineer, name="Frozen in May")
        run = Run.objects.create(project=project, created_by=engineer, recipe_name="reward_model", config={})
        run.inputs.create(role="dataset", artifact=dataset)
        make_artifact("reward_model", "Judge of May", produced_by=run)
        browser = client_for(engineer)
        with django_assert_max_num_queries(15):
            seen = browser.get(url_of(comparison)).text
        assert "Frozen in May" in seen
        assert "Judge of May" in seen

    def test_demonstration(self, client_for, annotator, demonstration):
        seen = client_for(annotator).get(url_of(demonstration)).text
        assert "Slice it." in seen
        assert "A slice copies." in seen

    def test_unknown_and_wrong_method(self, client_for, sme, comparison, demonstration):
        assert client_for(sme).get(f"{URL}999/").status_code == 404
        for label in (comparison, demonstration):
            assert client_for(sme).post(url_of(label)).status_code == 405


class TestWithdraw:
    def test_own_label_with_a_reason(self, client_for, annotator, demonstration, comparison):
        for label in (demonstration, comparison):
            answer = client_for(annotator).post(url_of(label, "withdraw/"), {"reason": "I misread it"}, follow=True)
            assert "Withdrawn by annotator" in answer.text
            assert "I misread it" in answer.text
            label.refresh_from_db()
            assert label.withdrawn_by == annotator

    def test_bad_input(self, client_for, annotator, comparison):
        browser = client_for(annotator)
        for reason in ("", "x" * 301):
            answer = browser.post(url_of(comparison, "withdraw/"), {"reason": reason}, follow=True)
            assert "Say in at most 300 characters why" in answer.text
        browser.post(url_of(comparison, "withdraw/"), {"reason": "Wrong"})
        again = browser.post(url_of(comparison, "withdraw/"), {"reason": "Wrong"}, follow=True)
        assert "withdrawn already" in again.text

    def test_what_used_it_before_is_still_named(self, client_for, engineer, project, demonstration):
        freeze_demonstrations(project, engineer, name="Frozen in May")
        answer = client_for(engineer).post(url_of(demonstration, "withdraw/"), {"reason": "Wrong"}, follow=True)
        assert "Frozen in May" in answer.text
        assert "It had been used before" in answer.text

    def test_wrong_role_and_method(self, client_for, sme, engineer, comparison):
        assert client_for(sme).post(url_of(comparison, "withdraw/"), {"reason": "No"}).status_code == 403
        assert client_for(engineer).get(url_of(comparison, "withdraw/")).status_code == 405
        comparison.refresh_from_db()
        assert not comparison.is_withdrawn
