"""What else is done on the screen of a claim: skip, undo, pause, file a failure."""

from __future__ import annotations

import re

from annotation import queue, submit
from annotation.models import Claim, Comparison, FailureExample
from tests.annotation.work_screen import claim_of, ranking, work_url


class TestRelease:
    def test_left_to_others_it_does_not_come_back(self, client_for, annotator, rank_queue):
        claim = claim_of(rank_queue, annotator)
        answer = client_for(annotator).post(work_url(claim, "release/"), {"skip": "others", "reason": "Not my subject"})
        claim.refresh_from_db()
        assert (claim.status, claim.skip, claim.reason) == ("released", "others", "Not my subject")
        following = Claim.objects.get(annotator=annotator, status="live")
        assert answer.url == work_url(following)
        assert following.task_id != claim.task_id

    def test_put_off_for_later(self, client_for, annotator, rank_queue):
        claim = claim_of(rank_queue, annotator)
        answer = client_for(annotator).post(work_url(claim, "release/"), {"skip": "later"}, follow=True)
        claim.refresh_from_db()
        assert (claim.status, claim.skip) == ("released", "later")
        assert "Put off." in answer.text

    def test_not_usable_needs_a_reason_and_sets_the_task_aside(self, client_for, annotator, rank_queue):
        claim = claim_of(rank_queue, annotator)
        browser = client_for(annotator)
        refused = browser.post(work_url(claim, "release/"), {"skip": "unusable"}, follow=True)
        assert "Nothing was skipped. Say why nobody should judge it" in refused.text
        browser.post(work_url(claim, "release/"), {"skip": "unusable", "reason": "The prompt is empty"})
        claim.refresh_from_db()
        assert (claim.skip, claim.task.status) == ("unusable", "held")

    def test_bad_input_changes_nothing(self, client_for, annotator, rank_queue):
        claim = claim_of(rank_queue, annotator)
        for data in ({}, {"skip": "burn"}, {"skip": "later", "reason": "x" * 201}):
            answer = client_for(annotator).post(work_url(claim, "release/"), data, follow=True)
            assert "Nothing was skipped." in answer.text
        claim.refresh_from_db()
        assert claim.status == "live"

    def test_over_already(self, client_for, annotator, rank_queue):
        claim = claim_of(rank_queue, annotator)
        submit.submit_ranking(claim, [["a", "b", "c"]])
        answer = client_for(annotator).post(work_url(claim, "release/"), {"skip": "later"}, follow=True)
        assert "not yours any more" in answer.text

    def test_others_and_wrong_method(self, client_for, annotator, sme, rank_queue):
        claim = claim_of(rank_queue, annotator)
        assert client_for(sme).post(work_url(claim, "release/"), {"skip": "later"}).status_code == 404
        assert client_for(annotator).get(work_url(claim, "release/")).status_code == 405


class TestUndo:
    def test_the_screen_comes_back_as_it_was_handed_in(self, client_for, annotator, rank_queue):
        claim = claim_of(rank_queue, annotator)
        browser = client_for(annotator)
        browser.post(work_url(claim), ranking(claim, "2", "1", "2", rationale="It runs."))
        answer = browser.post(work_url(claim, "undo/"), follow=True)
        assert "Taken back. It does not count until you hand it in again." in answer.text
        checked = re.findall(r'<input type="radio" name="(rank_\w)" value="(\w+)"[^>]* checked', answer.text)
        assert checked == [("rank_a", "2"), ("rank_b", "1"), ("rank_c", "2")]
        assert Comparison.objects.get().is_withdrawn
        browser.post(work_url(claim), ranking(claim, "1", "2", "2", key="two"))
        made = Comparison.objects.get()
        assert (made.is_withdrawn, made.revision, len(made.tiers[0])) == (False, 2, 1)

    def test_what_cannot_be_undone_says_why(self, client_for, annotator, rank_queue):
        claim = claim_of(rank_queue, annotator)
        answer = client_for(annotator).post(work_url(claim, "undo/"), follow=True)
        assert "This cannot be undone. Only what you have handed in" in answer.text

    def test_others_and_wrong_method(self, client_for, annotator, sme, rank_queue):
        claim = claim_of(rank_queue, annotator)
        submit.submit_ranking(claim, [["a", "b", "c"]])
        assert client_for(sme).post(work_url(claim, "undo/")).status_code == 404
        assert client_for(annotator).get(work_url(claim, "undo/")).status_code == 405


class TestPause:
    def test_pauses_and_goes_on(self, client_for, annotator, rank_queue):
        claim = claim_of(rank_queue, annotator)
        browser = client_for(annotator)
        assert "Paused" in browser.post(work_url(claim, "pause/"), follow=True).text
        claim.refresh_from_db()
        assert claim.paused_at is not None
        assert "answer-a" in browser.post(work_url(claim, "pause/"), follow=True).text
        claim.refresh_from_db()
        assert claim.paused_at is None

    def test_over_already_others_and_wrong_method(self, client_for, annotator, sme, rank_queue):
        claim = claim_of(rank_queue, annotator)
        assert client_for(sme).post(work_url(claim, "pause/")).status_code == 404
        assert client_for(annotator).get(work_url(claim, "pause/")).status_code == 405
        submit.submit_ranking(claim, [["a", "b", "c"]])
        assert "not yours any more" in client_for(annotator).post(work_url(claim, "pause/"), follow=True).text


class TestFailureOfTheTask:
    DATA = {"name": "Invents a function", "correction": "Use reverse()."}

    def test_the_dialog_shows_the_answer_of_that_letter_and_no_model(self, client_for, sme, rank_queue):
        claim = claim_of(rank_queue, sme)
        browser = client_for(sme)
        for headers in ({"HX-Request": "true"}, {}):  # as a dialog, and as a page of its own
            seen = browser.get(work_url(claim, "failure/?answer=b"), headers=headers).text
            assert "What it should have said" in seen
            assert queue.shown_answers(claim)["b"].text in seen
            assert not re.search("Tortoise|Hare|Fox", seen)
        assert f"?completion={claim.letters['b']}" not in browser.get(work_url(claim)).text

    def test_expert_files_an_answer_by_its_letter(self, client_for, sme, rank_queue):
        claim = claim_of(rank_queue, sme)
        answer = client_for(sme).post(work_url(claim, "failure/?answer=b"), self.DATA, headers={"HX-Request": "true"})
        made = FailureExample.objects.get()
        assert made.completion_id == claim.letters["b"]
        assert made.failure_class.name == "Invents a function"
        assert ">Invents a function</a>" in answer.text

    def test_without_scripts_it_leads_back_to_the_work(self, client_for, sme, rank_queue):
        claim = claim_of(rank_queue, sme)
        answer = client_for(sme).post(work_url(claim, "failure/?answer=b"), self.DATA)
        assert (answer.status_code, answer.url) == (302, work_url(claim))
        assert FailureExample.objects.get().completion_id == claim.letters["b"]

    def test_bad_input_gets_a_sentence(self, client_for, sme, rank_queue):
        claim = claim_of(rank_queue, sme)
        browser = client_for(sme)
        for change, sentence in (
            ({"name": ""}, "Choose a class, or give a new one a name."),
            ({"correction": ""}, "This field is required."),
        ):
            answer = browser.post(work_url(claim, "failure/?answer=b"), self.DATA | change)
            assert answer.status_code == 422
            assert sentence in answer.text
        assert browser.post(work_url(claim, "failure/?answer=z"), self.DATA).status_code == 404
        assert not FailureExample.objects.exists()

    def test_a_refused_example_leaves_no_class_behind(self, client_for, sme, rank_queue, project):
        claim = claim_of(rank_queue, sme)
        browser = client_for(sme)
        browser.post(work_url(claim, "failure/?answer=b"), self.DATA)
        taken = browser.post(work_url(claim, "failure/?answer=b"), self.DATA)
        assert taken.status_code == 422
        assert "There is a failure class" in taken.text
        assert project.failure_classes.count() == 1

    def test_annotators_may_not(self, client_for, annotator, rank_queue):
        claim = claim_of(rank_queue, annotator)
        browser = client_for(annotator)
        assert browser.post(work_url(claim, "failure/?answer=b"), self.DATA).status_code == 403
        assert "File a failure" not in browser.get(work_url(claim)).text

    def test_nobody_files_from_the_work_of_another(self, client_for, sme, engineer, rank_queue):
        claim = claim_of(rank_queue, engineer)
        assert client_for(sme).get(work_url(claim, "failure/?answer=b")).status_code == 404

    def test_wrong_method(self, client_for, sme, rank_queue):
        assert client_for(sme).put(work_url(claim_of(rank_queue, sme), "failure/?answer=b")).status_code == 405
