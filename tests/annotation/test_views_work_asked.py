"""What the screen of a claim asks for: what the project wants, and questions before an answer counts."""

from __future__ import annotations

from annotation import submit
from annotation.models import Comparison, Demonstration, Instrument
from tests.annotation.work_screen import claim_of, ranking, work_url


class TestWhatTheProjectAsks:
    def test_controls_that_are_off_are_not_shown_nor_taken(self, client_for, annotator, rank_queue, project):
        Instrument.objects.create(
            project=project, strength="off", ratings="off", flags="off", rationale="off", unrankable=False
        )
        claim = claim_of(rank_queue, annotator)
        browser = client_for(annotator)
        seen = browser.get(work_url(claim)).text
        for absent in ("How much better", "Rate", "Hallucination", "Why this order", "Not rankable"):
            assert absent not in seen
        browser.post(work_url(claim), ranking(claim, "2", "1", "2", strength="1", rating_a="3", rationale="So."))
        made = Comparison.objects.get()
        assert (made.strength, made.ratings, made.flags, made.rationale) == (None, {}, {}, "")

    def test_what_is_required_is_asked_for(self, client_for, annotator, rank_queue, project):
        Instrument.objects.create(project=project, ratings="required", rationale="required", ties=False)
        claim = claim_of(rank_queue, annotator)
        browser = client_for(annotator)
        assert "This field is required" in browser.post(work_url(claim), ranking(claim, "2", "1", "3")).text
        data = ranking(claim, "2", "1", "3", rationale="Runs.")
        assert "Rate every answer" in browser.post(work_url(claim), data).text
        data = ranking(claim, "2", "1", "2", rationale="Runs.", rating_a="1", rating_b="2", rating_c="3")
        assert "takes no ties" in browser.post(work_url(claim), data).text
        assert not Comparison.objects.exists()

    def test_length_of_a_demonstration(self, client_for, annotator, write_queue, project):
        Instrument.objects.create(project=project, answer_min=20, reasoning="off")
        claim = claim_of(write_queue, annotator)
        browser = client_for(annotator)
        seen = browser.get(work_url(claim)).text
        assert "at least 20" in seen
        assert "Think aloud" not in seen
        answer = browser.post(work_url(claim), {"key": "k", "text": "Slice it."})
        assert "has 9 characters; this project asks for 20" in answer.text


class TestUnchangedOrder:
    def test_is_asked_about_once(self, client_for, annotator, rank_queue):
        claim = claim_of(rank_queue, annotator)
        browser = client_for(annotator)
        data = ranking(claim, "1", "2", "3", confirmed="")
        answer = browser.post(work_url(claim), data)
        assert answer.status_code == 422
        assert "This is the order in which you were shown the answers" in answer.text
        assert 'name="confirmed" value="order"' in answer.text
        assert not Comparison.objects.exists()
        browser.post(work_url(claim), data | {"confirmed": "order"})
        assert Comparison.objects.get().unchanged is True

    def test_another_order_is_not(self, client_for, annotator, rank_queue):
        claim = claim_of(rank_queue, annotator)
        client_for(annotator).post(work_url(claim), ranking(claim, "1", "3", "2", confirmed=""))
        assert Comparison.objects.get().unchanged is False


class TestTwins:
    TEXT = "Take a slice of the list with a step of minus one."

    def test_a_near_duplicate_is_asked_about(self, client_for, annotator, sme, write_queue):
        earlier = submit.submit_demonstration(claim_of(write_queue, sme), self.TEXT)
        claim = claim_of(write_queue, annotator)
        browser = client_for(annotator)
        data = {"key": "k", "text": self.TEXT + "."}  # 1 of 51 characters differs
        answer = browser.post(work_url(claim), data)
        assert answer.status_code == 422
        assert "98% the same as a demonstration to another one" in answer.text
        assert f"demonstrations/{earlier.pk}/" not in answer.text  # annotators do not see others' answers
        assert Demonstration.objects.count() == 1
        browser.post(work_url(claim), data | {"confirmed": "twin"})
        assert Demonstration.objects.count() == 2

    def test_others_are_not(self, client_for, annotator, sme, write_queue):
        submit.submit_demonstration(claim_of(write_queue, sme), self.TEXT)
        client_for(annotator).post(work_url(claim_of(write_queue, annotator)), {"key": "k", "text": "Call reversed()."})
        assert Demonstration.objects.count() == 2


class TestStartingFromADraft:
    def test_where_the_project_lets_it(self, client_for, annotator, write_queue, answers, project):
        claim = claim_of(write_queue, annotator)
        browser = client_for(annotator)
        assert "Start from a model" not in browser.get(work_url(claim)).text
        Instrument.objects.create(project=project, start_from_draft=True)
        assert "Start from a model" in browser.get(work_url(claim)).text
        draft = claim.task.prompt.completions.last()
        seen = browser.get(work_url(claim) + "?start=draft").text
        assert f"{draft.text}</textarea>" in seen
        assert f'name="draft_of" value="{draft.pk}"' in seen
        assert not any(name in seen for name in ("Tortoise", "Hare", "Fox"))
        browser.post(work_url(claim), {"key": "k", "text": draft.text + " Or not.", "draft_of": draft.pk})
        made = Demonstration.objects.get()
        assert (made.draft_of, made.edit_distance) == (draft, len(" Or not."))

    def test_what_was_typed_is_not_overwritten(self, client_for, annotator, write_queue, answers, project):
        Instrument.objects.create(project=project, start_from_draft=True)
        claim = claim_of(write_queue, annotator)
        submit.save_draft(claim, {"fields": {"text": ["Mine."]}})
        assert "Mine.</textarea>" in client_for(annotator).get(work_url(claim) + "?start=draft").text
