"""Second thoughts: undoing a submission, changing it later, and what is kept of what it said."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from annotation import queue, submit
from annotation.models import Claim, Comparison, Completion, Demonstration, JournalEntry, Slot, Task
from annotation.reviews import close_review, start_review
from annotation.revise import reopen, revise
from annotation.revisions import ChangedMeanwhile, history, rewrite
from annotation.tasks import add_demonstration_tasks, add_tasks, find_queue
from tests.annotation.test_concurrency import in_threads, make_work


def ranked(work, user, tiers=(("a",), ("b", "c")), **more) -> Claim:
    claim = queue.claim_next(work, user)
    submit.submit_ranking(claim, tiers, key="one", **more)
    return claim


class TestUndo:
    def test_the_claim_lives_again_and_hands_in_the_same_label(self, annotator, rank_queue):
        claim = ranked(rank_queue, annotator, strength=2, ratings={"a": 7}, flags={"b": ["opinion"]}, rationale="Runs.")
        label = claim.comparison
        reopen(claim, annotator)
        label.refresh_from_db()
        assert (claim.status, claim.slot.status, claim.finished_at) == ("live", "claimed", None)
        assert (label.withdrawn_reason, label.withdrawn_by) == ("Undone", annotator)
        assert claim.draft.content["fields"] == {
            "rank_a": ["1"], "rank_b": ["2"], "rank_c": ["2"], "strength": ["2"], "rating_a": ["7"],
            "flags_b": ["opinion"], "rationale": ["Runs."], "second_look": [""],
        }  # fmt: skip
        again = submit.submit_ranking(claim, [["b"], ["a", "c"]], key="two")
        assert again.pk == label.pk
        a, b, c = claim.shown_order
        assert (again.tiers, again.revision, again.is_withdrawn) == ([[b], [a, c]], 2, False)
        kept = again.revisions.get()
        assert (kept.number, kept.content["tiers"], kept.content["strength"]) == (1, [[a], [b, c]], 2)
        assert claim.slot.status == Slot.Status.DONE or Slot.objects.get(claim=claim).status == "done"
        assert Comparison.objects.count() == 1
        assert JournalEntry.objects.filter(act="undone", comparison=label).count() == 1

    def test_handed_in_the_same_again_is_no_revision(self, annotator, rank_queue):
        claim = ranked(rank_queue, annotator)
        reopen(claim, annotator)
        again = submit.submit_ranking(claim, [["a"], ["b", "c"]], key="two")
        assert (again.revision, again.is_withdrawn, again.revisions.count()) == (1, False, 0)

    def test_the_time_in_between_is_nobodys(self, annotator, rank_queue):
        claim = ranked(rank_queue, annotator)
        Claim.objects.filter(pk=claim.pk).update(
            created_at=timezone.now() - timedelta(seconds=100), finished_at=timezone.now() - timedelta(seconds=60)
        )
        claim.refresh_from_db()
        reopen(claim, annotator)
        assert 39 < submit.submit_ranking(claim, [["a", "b", "c"]]).seconds < 45  # 100 s less the 60 s it was handed in

    def test_a_task_that_this_answer_closed_opens_again(self, annotator, write_queue):
        claim = queue.claim_next(write_queue, annotator)
        submit.submit_demonstration(claim, "Slice it.", reasoning="Hm.")
        assert Task.objects.get(pk=claim.task_id).status == "closed"
        claim.task.refresh_from_db()
        reopen(claim, annotator)
        assert Task.objects.get(pk=claim.task_id).status == "open"
        assert claim.draft.content["fields"]["text"] == ["Slice it."]
        submit.submit_demonstration(claim, "Slice it, or reverse it.")
        assert Task.objects.get(pk=claim.task_id).status == "closed"
        assert Completion.objects.filter(author=annotator).count() == 1

    def test_not_after_others_have_closed_the_task(self, annotator, sme, project, prompts, answers):
        work = find_queue(project, "rank")
        add_tasks(work, [(prompts[0], answers[0])], overlap=2)
        mine, theirs = ranked(work, annotator), ranked(work, sme)
        mine.task.refresh_from_db()
        with pytest.raises(ValueError, match="Others have finished this task"):
            reopen(mine, annotator)
        theirs.refresh_from_db()
        assert reopen(theirs, sme).status == "live"  # the last one may

    def test_not_by_others_nor_twice_nor_surplus_nor_withdrawn(self, annotator, sme, rank_queue):
        claim = ranked(rank_queue, annotator)
        with pytest.raises(ValueError, match="Only what you have handed in"):
            reopen(claim, sme)
        reopen(claim, annotator)
        with pytest.raises(ValueError, match="once"):
            reopen(claim, annotator)
        submit.submit_ranking(claim, [["a", "b", "c"]])
        Claim.objects.filter(pk=claim.pk).update(surplus=True)
        claim.refresh_from_db()
        with pytest.raises(ValueError, match="not counted"):
            reopen(claim, annotator)
        Task.objects.update(status=Task.Status.WITHDRAWN)
        Claim.objects.filter(pk=claim.pk).update(surplus=False)
        with pytest.raises(ValueError, match="taken out of the queue"):
            reopen(Claim.objects.get(pk=claim.pk), annotator)

    def test_not_after_the_review_is_closed(self, annotator, project, engineer, answers):
        review = start_review(project, engineer, "Blind", [c.model for c in answers[0][:2]])
        claim = queue.claim_next(review.queue, annotator)
        submit.submit_ranking(claim, [["a"], ["b"]])
        close_review(review)
        claim = Claim.objects.get(pk=claim.pk)
        with pytest.raises(ValueError, match="closed|taken out"):
            reopen(claim, annotator)
        with pytest.raises(ValueError, match="result stands"):
            revise(claim.comparison, annotator, tiers=[["b"], ["a"]])

    def test_undone_and_left_the_place_is_for_others(self, annotator, sme, write_queue):
        claim = queue.claim_next(write_queue, annotator)
        submit.submit_demonstration(claim, "Slice it.")
        claim.task.refresh_from_db()
        reopen(claim, annotator)
        assert queue.release(claim)
        assert Slot.objects.get(task=claim.task_id).status == "free"
        assert Demonstration.objects.get().withdrawn_reason == "Undone"
        assert queue.claim_task(claim.task, sme) is not None


class TestRevise:
    def test_a_ranking_changes_and_keeps_what_it_said(self, annotator, rank_queue, guideline):
        label = ranked(rank_queue, annotator).comparison
        assert revise(label, annotator, tiers=[["a"], ["b"], ["c"]], rationale="Shorter.") is True
        a, b, c = label.shown_order
        assert (label.tiers, label.rationale, label.revision, label.unchanged) == ([[a], [b], [c]], "Shorter.", 2, True)
        assert label.guideline == guideline
        rows = history(label)
        assert [(row["number"], row["content"]["tiers"]) for row in rows] == [(1, [[a], [b, c]]), (2, [[a], [b], [c]])]
        assert {row["by"] for row in rows} == {annotator}
        entry = JournalEntry.objects.get(act="edited")
        assert (entry.comparison, entry.detail) == (label, {"revision": 2, "before": 1})
        assert revise(label, annotator, tiers=[["a"], ["b"], ["c"]], rationale="Shorter.") is False
        assert label.revisions.count() == 1

    def test_a_demonstration_keeps_its_distance_from_the_draft(self, annotator, write_queue, answers):
        claim = queue.claim_next(write_queue, annotator)
        draft = claim.task.prompt.completions.first()
        label = submit.submit_demonstration(claim, draft.text + "!", draft_of=draft.pk)
        assert (label.draft_of, label.edit_distance) == (draft, 1)
        revise(label, annotator, text=draft.text, second_look="Is that so?")
        assert (label.edit_distance, label.second_look, label.completion.text) == (0, "Is that so?", draft.text)
        assert history(label)[0]["content"]["text"] == draft.text + "!"

    def test_an_answer_that_others_judged_stays_as_it_was(self, annotator, sme, write_queue, rank_queue, answers):
        claim = queue.claim_next(write_queue, annotator)
        label = submit.submit_demonstration(claim, "Slice it.")
        seen = label.completion
        add_tasks(rank_queue, [(claim.task.prompt, [seen, claim.task.prompt.completions.first()])])
        revise(label, annotator, text="Reverse it.")
        seen.refresh_from_db()
        assert (seen.text, label.completion.text) == ("Slice it.", "Reverse it.")

    def test_only_ones_own_standing_judgements_and_what_the_project_takes(self, annotator, sme, rank_queue):
        label = ranked(rank_queue, annotator).comparison
        with pytest.raises(ValueError, match="judged yourself"):
            revise(label, sme, tiers=[["a", "b", "c"]])
        with pytest.raises(ValueError, match="not ranked yet"):
            revise(label, annotator, tiers=[["a"]])
        label.withdrawn_at = timezone.now()
        with pytest.raises(ValueError, match="withdrawn"):
            revise(label, annotator, tiers=[["a", "b", "c"]])

    def test_two_tabs_do_not_overwrite_each_other(self, annotator, rank_queue):
        label = ranked(rank_queue, annotator).comparison
        stale = Comparison.objects.get(pk=label.pk)
        revise(label, annotator, tiers=[["a", "b", "c"]])
        with pytest.raises(ChangedMeanwhile):
            rewrite(stale, annotator, {"rationale": "Late."})
        assert Comparison.objects.get().rationale == ""


class TestDraftOf:
    def test_only_a_models_answer_to_this_prompt(self, annotator, write_queue, answers, prompts):
        claim = queue.claim_next(write_queue, annotator)
        for wrong in (999_999, prompts[5].completions.first().pk):
            with pytest.raises(ValueError, match="not one of a model"):
                submit.submit_demonstration(claim, "Slice it.", draft_of=wrong)


class TestUnchanged:
    def test_the_order_of_the_screen_is_marked(self, annotator, rank_queue):
        assert ranked(rank_queue, annotator, (("a",), ("b",), ("c",))).comparison.unchanged is True
        claim = queue.claim_next(rank_queue, annotator)
        assert submit.submit_ranking(claim, [["a"], ["b", "c"]]).unchanged is False


def test_pausing_stops_the_clock(annotator, write_queue):
    claim = queue.claim_next(write_queue, annotator)
    assert queue.pause(claim) is True
    assert queue.pause(claim) is False
    now = timezone.now()
    Claim.objects.update(created_at=now - timedelta(seconds=100), paused_at=now - timedelta(seconds=70))
    assert queue.go_on(claim) is True
    assert queue.go_on(claim) is False
    claim = Claim.objects.get()
    assert 29 < submit.submit_demonstration(claim, "Slice it.").seconds < 35


def test_undo_of_one_of_many(annotator, write_queue, prompts):
    """Only the claim's own place is taken again."""
    add_demonstration_tasks(write_queue, prompts[4:])
    first = queue.claim_next(write_queue, annotator)
    submit.submit_demonstration(first, "One.")
    second = queue.claim_next(write_queue, annotator)
    submit.submit_demonstration(second, "Two.")
    first.task.refresh_from_db()
    reopen(first, annotator)
    assert Slot.objects.filter(status="done").count() == 1
    assert Demonstration.objects.filter(withdrawn_at=None).count() == 1


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("where", ["sqlite", "postgres"])
def test_undo_races_with_undo_and_with_others(where, request):
    """Of four undos at once one wins; people who hand in meanwhile never make more judgements than places."""
    if where == "postgres":
        request.getfixturevalue("on_postgres")
    work, users = make_work(tasks=6, overlap=2, people=4)
    claims = []
    for user in users:
        while claim := queue.claim_next(work, user):
            claims.append((user, claim))
            if len(claims) % 2:
                submit.submit_ranking(claim, [["a"], ["b"]])
            else:
                break

    def act(pair) -> str:
        user, claim = pair
        try:
            reopen(Claim.objects.get(pk=claim.pk), user)
        except ValueError:
            try:
                submit.submit_ranking(Claim.objects.get(pk=claim.pk), [["b"], ["a"]])
            except ValueError:
                return "refused"
            return "submitted"
        return "undone"

    outcomes = in_threads(act, claims * 2)
    assert outcomes.count("undone") >= 1
    for task in Task.objects.all():
        held = task.claims.filter(status__in=["live", "submitted"], surplus=False).count()
        assert held <= task.overlap
        slots = Slot.objects.filter(task=task).select_related("claim")
        assert {(s.status, s.claim.status if s.claim else None) for s in slots} <= {
            ("free", None), ("claimed", "live"), ("done", "submitted"),
        }  # fmt: skip
    for label in Comparison.objects.select_related("claim"):
        assert label.is_withdrawn == (label.claim.status == "live")


def test_a_pause_that_ran_when_it_was_handed_in_stays_a_pause(write_queue, annotator):
    claim = queue.claim_next(write_queue, annotator)
    now = timezone.now()
    Claim.objects.filter(pk=claim.pk).update(
        created_at=now - timedelta(hours=5), paused_at=now - timedelta(hours=5) + timedelta(seconds=30)
    )
    claim.refresh_from_db()
    first = submit.submit_demonstration(claim, "One.")
    again = submit.submit_demonstration(reopen(claim, annotator), "Two.")
    assert first.seconds == pytest.approx(30, abs=5) and again.seconds == pytest.approx(30, abs=5)
