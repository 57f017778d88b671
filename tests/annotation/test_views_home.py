"""The first page of annotators, and the way from a queue to a task."""

from __future__ import annotations

import pytest

from annotation import queue, submit
from annotation.models import Claim, Comparison
from studio.models import Guideline, Project
from tests.annotation.work_screen import HOME, claim_of, work_url


class TestHome:
    def test_shows_what_waits_and_what_was_done(self, client_for, annotator, rank_queue, guideline):
        submit.submit_ranking(claim_of(rank_queue, annotator), [["a"], ["b", "c"]])
        seen = client_for(annotator).get(HOME).text
        assert '<span class="num">3</span> waiting for you' in seen  # four tasks, one of them ranked
        assert "1 of 8" in seen  # four tasks for two people each
        assert "Comparison" not in seen
        assert f"/comparisons/{Comparison.objects.get().pk}/" in seen

    def test_work_that_was_begun_comes_first(self, client_for, annotator, rank_queue, write_queue):
        claim_of(write_queue, annotator)
        seen = client_for(annotator).get(HOME).text
        assert seen.index("Continue") < seen.index('aria-label="Continue Write a demonstration"')
        assert seen.index('aria-label="Continue Write') < seen.index('aria-label="Start Rank answers"')

    def test_tells_of_newer_guidelines(self, client_for, annotator, rank_queue, guideline, owner):
        submit.submit_ranking(claim_of(rank_queue, annotator), [["a", "b", "c"]])
        browser = client_for(annotator)
        assert "is in force" not in browser.get(HOME).text
        Guideline.publish(guideline.project, "Ties are fine.", owner)
        assert "?version=2&amp;against=1" in browser.get(HOME).text

    @pytest.mark.parametrize(
        ("who", "sentence"), [("annotator", "will appear here"), ("engineer", "Choose prompts to")]
    )
    def test_empty_page_teaches(self, client_for, request, project, who, sentence):
        user = request.getfixturevalue(who)
        assert sentence in client_for(user).get(HOME).text

    def test_outsider_and_wrong_method(self, client_for, outsider, annotator, project):
        assert client_for(outsider).get(HOME).status_code == 404
        assert client_for(annotator).post(HOME).status_code == 405

    def test_few_queries(self, client_for, annotator, rank_queue, write_queue, django_assert_max_num_queries):
        for _ in range(3):
            submit.submit_demonstration(claim_of(write_queue, annotator), "Slice it.")
        browser = client_for(annotator)
        with django_assert_max_num_queries(12):
            assert len(browser.get(HOME).context["recent"]) == 3


class TestQueue:
    def test_start_leads_to_the_task(self, client_for, annotator, rank_queue):
        answer = client_for(annotator).post(f"{HOME}queues/{rank_queue.pk}/")
        assert answer.url == work_url(Claim.objects.get(annotator=annotator))

    def test_nothing_left_is_said_kindly(self, client_for, annotator, rank_queue):
        while claim := queue.claim_next(rank_queue, annotator):
            submit.submit_ranking(claim, [["a", "b", "c"]])
        url = f"{HOME}queues/{rank_queue.pk}/"
        seen = client_for(annotator).post(url, follow=True)
        assert seen.redirect_chain == [(url, 302)]
        assert "Nothing left for you here" in seen.text
        assert "4 of 8 judgements" in seen.text

    def test_another_project_and_wrong_method(self, client_for, annotator, outsider, rank_queue):
        url = f"{HOME}queues/{rank_queue.pk}/"
        assert client_for(outsider).post(url).status_code == 404
        assert client_for(annotator).delete(url).status_code == 405
        other = Project.objects.create(slug="other", name="Other").queues.create(kind="rank", name="Theirs")
        assert client_for(annotator).post(f"{HOME}queues/{other.pk}/").status_code == 404
