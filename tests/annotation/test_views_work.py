"""The screen of a claim: demonstrations and rankings are handed in, late ones too."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.utils import timezone

from annotation import queue, submit
from annotation.models import Claim, Comparison, Demonstration, Review, Slot
from annotation.reviews import start_review
from tests.annotation.work_screen import claim_of, ranking, work_url


def later(claim: Claim, seconds: float) -> None:
    """Pretend that the claim was taken that long ago."""
    Claim.objects.filter(pk=claim.pk).update(created_at=timezone.now() - timedelta(seconds=seconds))


class TestDemonstrate:
    def test_is_handed_in_and_the_next_task_comes(self, client_for, annotator, write_queue):
        first = claim_of(write_queue, annotator)
        later(first, 90)
        answer = client_for(annotator).post(
            work_url(first), {"key": "k", "text": "Use `items[::-1]`.", "reasoning": "A slice copies."}, follow=True
        )
        made = Demonstration.objects.get()
        assert (made.completion.text, made.reasoning) == ("Use `items[::-1]`.", "A slice copies.")
        assert answer.redirect_chain[-1][0] == work_url(Claim.objects.get(status="live"))
        assert "Saved. <button" in answer.text
        assert f'formaction="{work_url(first, "undo/")}"' in answer.text

    def test_lines_end_the_same_way_however_they_are_sent(self, client_for, annotator, write_queue):
        client_for(annotator).post(work_url(claim_of(write_queue, annotator)), {"key": "k", "text": "One.\r\nTwo."})
        assert Demonstration.objects.get().completion.text == "One.\nTwo."

    def test_empty_answer_keeps_the_reasoning(self, client_for, annotator, write_queue):
        claim = claim_of(write_queue, annotator)
        answer = client_for(annotator).post(work_url(claim), {"key": "k", "text": " \n", "reasoning": "Because."})
        assert answer.status_code == 422
        assert "The answer is empty." in answer.text
        assert "Because." in answer.text
        assert not Demonstration.objects.exists()

    def test_draft_is_restored(self, client_for, annotator, write_queue):
        claim = claim_of(write_queue, annotator)
        submit.save_draft(claim, {"fields": {"text": ["Half an ans"], "reasoning": ["Hm."]}})
        seen = client_for(annotator).get(work_url(claim)).text
        assert "Half an ans</textarea>" in seen
        assert "restored" in seen

    @pytest.mark.parametrize(
        "draft", [{"fields": 3}, {"fields": {"text": [1]}}, {"fields": {"text": []}}, {"tiers": []}]
    )
    def test_drafts_of_programs_do_not_break_the_page(self, client_for, annotator, write_queue, draft):
        claim = claim_of(write_queue, annotator)
        submit.save_draft(claim, draft)
        assert client_for(annotator).get(work_url(claim)).status_code == 200

    def test_untrusted_markdown_is_shown_safely(self, client_for, annotator, write_queue, prompts):
        type(prompts[0]).objects.update(messages=[{"role": "user", "content": "<script>alert(1)</script> **bold**"}])
        seen = client_for(annotator).get(work_url(claim_of(write_queue, annotator))).text
        assert "<script>alert" not in seen
        assert "<strong>bold</strong>" in seen


class TestRank:
    def test_places_become_tiers(self, client_for, annotator, rank_queue):
        claim = claim_of(rank_queue, annotator)
        later(claim, 60)
        data = ranking(
            claim, "2", "1", "2", strength="3", rationale="It runs.", rating_b="7", flags_a=["hallucination"]
        )
        client_for(annotator).post(work_url(claim), data)
        made = Comparison.objects.get()
        a, b, c = claim.shown_order
        assert made.tiers == [[b], [a, c]]
        assert (made.strength, made.rationale) == (3, "It runs.")
        assert made.ratings == {str(b): 7}
        assert made.flags == {str(a): ["hallucination"]}

    def test_gaps_and_unrankable(self, client_for, annotator, rank_queue):
        claim = claim_of(rank_queue, annotator)
        client_for(annotator).post(work_url(claim), ranking(claim, "3", "x", "1", strength="1"))
        made = Comparison.objects.get()
        a, b, c = claim.shown_order
        assert (made.tiers, made.unrankable, made.strength) == ([[c], [a]], [b], 1)

    def test_strength_says_nothing_about_three_tiers(self, client_for, annotator, rank_queue):
        claim = claim_of(rank_queue, annotator)
        client_for(annotator).post(work_url(claim), ranking(claim, "1", "2", "3", strength="2"))
        assert Comparison.objects.get().strength is None

    def test_missing_place_is_named(self, client_for, annotator, rank_queue):
        claim = claim_of(rank_queue, annotator)
        answer = client_for(annotator).post(work_url(claim), {"key": "k", "rank_a": "1", "rank_c": "1"})
        assert answer.status_code == 422
        assert "Give answer B a place, or mark it as not rankable." in answer.text
        assert not Comparison.objects.exists()

    def test_sent_twice_counts_once(self, client_for, annotator, rank_queue):
        claim = claim_of(rank_queue, annotator)
        browser = client_for(annotator)
        for _ in range(2):
            assert browser.post(work_url(claim), ranking(claim, "1", "2", "2")).status_code == 302
        assert Comparison.objects.count() == 1

    def test_another_answer_from_another_tab_is_not_kept(self, client_for, annotator, rank_queue):
        claim = claim_of(rank_queue, annotator)
        submit.submit_ranking(claim, [["a", "b", "c"]], key="one")
        answer = client_for(annotator).post(work_url(claim), ranking(claim, "1", "2", "3", key="two"), follow=True)
        assert "This task has your answer already: the first one counts" in answer.text
        assert len(Comparison.objects.get().tiers) == 1

    def test_another_answer_from_the_same_page_is_the_next_version(self, client_for, annotator, rank_queue):
        claim = claim_of(rank_queue, annotator)
        submit.submit_ranking(claim, [["a", "b", "c"]], key="one")
        answer = client_for(annotator).post(work_url(claim), ranking(claim, "1", "2", "3"), follow=True)
        assert "This one is its second version." in answer.text
        made = Comparison.objects.get()
        assert (len(made.tiers), made.revision) == (3, 2)

    def test_haste_is_warned_about_and_still_counts(self, client_for, annotator, rank_queue):
        claim = claim_of(rank_queue, annotator)
        answer = client_for(annotator).post(work_url(claim), ranking(claim, "1", "2", "3"), follow=True)
        assert "If you did not read it all, take it back" in answer.text
        assert not Comparison.objects.get().surplus

    def test_nobody_learns_whose_answers_these_are(self, client_for, annotator, sme, engineer, rank_queue):
        for user in (annotator, sme, engineer):
            queue.release(claim_of(rank_queue, user))
            seen = client_for(user).get(work_url(claim_of(rank_queue, user))).text
            assert not any(name in seen for name in ("Tortoise", "Hare", "Fox"))

    def test_answers_stand_in_the_stored_order(self, client_for, annotator, rank_queue):
        claim = claim_of(rank_queue, annotator)
        Claim.objects.filter(pk=claim.pk).update(shown_order=claim.shown_order[::-1])
        seen = client_for(annotator).get(work_url(claim)).text
        texts = {
            pk: completion.text
            for pk, completion in rank_queue.tasks.get(pk=claim.task_id).completions.in_bulk().items()
        }
        assert [seen.index(texts[pk]) for pk in claim.shown_order] == sorted(
            (seen.index(text) for text in texts.values()), reverse=True
        )

    def test_cut_answers_are_marked(self, client_for, annotator, rank_queue):
        claim = claim_of(rank_queue, annotator)
        assert "Cut off" not in client_for(annotator).get(work_url(claim)).text
        claim.task.completions.update(finish_reason="length")
        assert client_for(annotator).get(work_url(claim)).text.count("Cut off") == 3

    def test_draft_is_restored(self, client_for, annotator, rank_queue):
        claim = claim_of(rank_queue, annotator)
        submit.save_draft(
            claim, {"fields": {"rank_b": ["1"], "flags_c": ["opinion", "sexual"], "rationale": ["So far"]}}
        )
        seen = client_for(annotator).get(work_url(claim)).text
        checked = re.findall(r'<input type="\w+" name="(\w+)" value="(\w+)"[^>]* checked', seen)
        assert checked == [("rank_b", "1"), ("flags_c", "sexual"), ("flags_c", "opinion")]
        assert "So far</textarea>" in seen

    def test_judged_claim_leads_to_its_judgement(self, client_for, annotator, rank_queue):
        claim = claim_of(rank_queue, annotator)
        made = submit.submit_ranking(claim, [["a", "b", "c"]])
        assert client_for(annotator).get(work_url(claim)).url == f"/projects/helpdesk/comparisons/{made.pk}/"

    def test_others_and_wrong_method(self, client_for, annotator, sme, outsider, rank_queue):
        claim = claim_of(rank_queue, annotator)
        assert client_for(sme).get(work_url(claim)).status_code == 404
        assert client_for(sme).post(work_url(claim), ranking(claim, "1", "2", "3")).status_code == 404
        assert client_for(outsider).get(work_url(claim)).status_code == 404
        assert client_for(annotator).put(work_url(claim)).status_code == 405

    def test_few_queries(self, client_for, sme, rank_queue, guideline, django_assert_max_num_queries):
        claim = claim_of(rank_queue, sme)
        browser = client_for(sme)
        with django_assert_max_num_queries(10):
            assert browser.get(work_url(claim)).status_code == 200


class TestAfterTheLease:
    @pytest.fixture
    def late(self, annotator, rank_queue) -> Claim:
        claim = claim_of(rank_queue, annotator)
        Claim.objects.filter(pk=claim.pk).update(expires_at=timezone.now() - timedelta(minutes=1))
        return claim

    def test_banner_says_so(self, client_for, annotator, late):
        banner = '<div class="notice warn" id="lease-over">'
        assert banner in client_for(annotator).get(work_url(late)).text
        Claim.objects.filter(pk=late.pk).update(expires_at=timezone.now() + timedelta(minutes=1))
        assert banner not in client_for(annotator).get(work_url(late)).text

    def test_answer_counts_while_there_is_a_place(self, client_for, annotator, rank_queue, late):
        queue.expire(rank_queue)
        client_for(annotator).post(work_url(late), ranking(late, "1", "2", "3"))
        assert not Comparison.objects.get().surplus

    def test_answer_without_a_place_is_kept_and_told(self, client_for, annotator, rank_queue, late):
        queue.expire(rank_queue)
        Slot.objects.filter(task=late.task_id).update(status=Slot.Status.DONE)  # both judged by others meanwhile
        answer = client_for(annotator).post(work_url(late), ranking(late, "1", "2", "3"), follow=True)
        assert "kept, but not counted" in answer.text
        assert Comparison.objects.get().surplus


def test_a_second_look_is_asked_for(client_for, annotator, rank_queue):
    claim = claim_of(rank_queue, annotator)
    client_for(annotator).post(work_url(claim), ranking(claim, "1", "2", "2", second_look="Is b dangerous?"))
    assert Comparison.objects.get().second_look == "Is b dangerous?"


class TestJson:
    """What the page's own script gets, so that it can send again when the connection was lost."""

    def send(self, browser, claim, data):
        return browser.post(work_url(claim), data, headers={"Accept": "application/json"})

    def test_next_address_also_the_second_time(self, client_for, annotator, rank_queue):
        claim = claim_of(rank_queue, annotator)
        browser = client_for(annotator)
        first = self.send(browser, claim, ranking(claim, "1", "2", "2"))
        again = self.send(browser, claim, ranking(claim, "1", "2", "2"))
        following = Claim.objects.get(status="live")
        assert first.json() == again.json() == {"next": work_url(following)}
        assert Comparison.objects.count() == 1

    def test_errors(self, client_for, annotator, rank_queue):
        claim = claim_of(rank_queue, annotator)
        answer = self.send(client_for(annotator), claim, {"key": "k"})
        assert answer.status_code == 422
        assert "Give answer A a place" in answer.json()["errors"]["rank_a"][0]


def test_review_work_names_no_model(client_for, annotator, project, engineer, answers):
    models = sorted({c.model for row in answers for c in row}, key=lambda m: m.pk)
    review = start_review(project, engineer, "Blind", models[:2])
    assert review.status == Review.Status.OPEN
    seen = client_for(annotator).get(work_url(claim_of(review.queue, annotator))).text
    assert "Tortoise" not in seen
    assert "Hare" not in seen
