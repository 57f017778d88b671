"""The work of annotators: their first page, the queues, and the screen of a claim."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.utils import timezone

from annotation import queue, submit
from annotation.models import Claim, Comparison, Demonstration, FailureExample, Instrument, Review, Slot
from annotation.reviews import start_review
from studio.models import Guideline, Project

HOME = "/projects/helpdesk/annotate/"


def work_url(claim: Claim, act: str = "") -> str:
    return f"{HOME}work/{claim.pk}/{act}"


def claim_of(work, user) -> Claim:
    claim = queue.claim_next(work, user)
    assert claim is not None
    return claim


def ranking(claim: Claim, *places: str, **more) -> dict:
    places_of = {f"rank_{letter}": place for letter, place in zip("abc", places, strict=True)}
    return {"key": "one", "confirmed": "order", **places_of, **more}


def later(claim: Claim, seconds: float) -> None:
    """Pretend that the claim was taken that long ago."""
    Claim.objects.filter(pk=claim.pk).update(created_at=timezone.now() - timedelta(seconds=seconds))


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
            browser.get(HOME)


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
            browser.get(work_url(claim))


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


def test_review_work_names_no_model(client_for, annotator, project, engineer, answers):
    models = sorted({c.model for row in answers for c in row}, key=lambda m: m.pk)
    review = start_review(project, engineer, "Blind", models[:2])
    assert review.status == Review.Status.OPEN
    seen = client_for(annotator).get(work_url(claim_of(review.queue, annotator))).text
    assert "Tortoise" not in seen
    assert "Hare" not in seen
