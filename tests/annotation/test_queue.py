from datetime import timedelta

import pytest
from django.utils import timezone

from annotation.models import Claim, Comparison, Demonstration, Kind, Slot, Task
from annotation.progress import progress, waiting_for
from annotation.queue import claim_next, claim_task, expire, release
from annotation.submit import AlreadySubmitted, KeyReused, save_draft, submit_demonstration, submit_ranking
from annotation.tasks import add_demonstration_tasks, add_ranking_tasks, add_tasks, find_queue, withdraw_tasks
from studio.models import Guideline

ORDER = [["a"], ["b"], ["c"]]


def overdue(claim):
    Claim.objects.filter(pk=claim.pk).update(expires_at=timezone.now() - timedelta(seconds=1))


def test_claim_shows_the_answers_shuffled_and_remembers_the_order(rank_queue, annotator, guideline):
    claim = claim_next(rank_queue, annotator)
    assert sorted(claim.shown_order) == sorted(claim.task.completions.values_list("id", flat=True))
    assert list(claim.letters) == ["a", "b", "c"]
    assert claim.guideline == guideline
    assert timedelta(minutes=59) < claim.expires_at - timezone.now() <= timedelta(minutes=60)


def test_what_was_begun_comes_first_and_no_task_comes_twice(rank_queue, annotator):
    first = claim_next(rank_queue, annotator)
    assert claim_next(rank_queue, annotator).pk == first.pk
    seen = set()
    while claim := claim_next(rank_queue, annotator):
        seen.add(claim.task_id)
        submit_ranking(claim, ORDER)
    assert len(seen) == 4 == Comparison.objects.count()
    assert progress(rank_queue) == {"free": 4, "claimed": 0, "done": 4, "away": 0, "withdrawn": 0}


def test_overlap_is_never_exceeded(rank_queue, annotator, sme, engineer):
    for user in (annotator, sme):
        while claim := claim_next(rank_queue, user):
            submit_ranking(claim, ORDER)
    assert claim_next(rank_queue, engineer) is None
    assert set(Task.objects.values_list("status", flat=True)) == {"closed"}


def test_higher_priority_first(project, prompts, annotator):
    queue = find_queue(project, Kind.DEMONSTRATE)
    add_demonstration_tasks(queue, prompts[:3])
    (urgent,) = add_demonstration_tasks(queue, prompts[3:4], priority=5)
    assert claim_next(queue, annotator).task == urgent


def test_expiry_returns_the_place(write_queue, annotator, sme):
    claims = [claim_next(write_queue, annotator)]
    withdraw_tasks(Task.objects.exclude(pk=claims[0].task_id))
    assert claim_next(write_queue, sme) is None  # the one task left is taken
    overdue(claims[0])
    assert claim_next(write_queue, sme).task_id == claims[0].task_id
    claims[0].refresh_from_db()
    assert claims[0].status == Claim.Status.EXPIRED


def test_a_late_answer_counts_while_a_place_is_free(write_queue, annotator):
    claim = claim_next(write_queue, annotator)
    overdue(claim)
    assert expire(write_queue) == 1
    label = submit_demonstration(claim, "Use reversed().")
    assert not label.surplus
    assert Slot.objects.get(claim=claim).status == Slot.Status.DONE


def test_an_answer_after_its_time_but_before_anybody_noticed_counts(write_queue, annotator):
    claim = claim_next(write_queue, annotator)
    overdue(claim)
    assert not submit_demonstration(claim, "Use reversed().").surplus


def test_a_late_answer_is_kept_as_surplus_when_the_place_is_taken(write_queue, annotator, sme):
    claim = claim_next(write_queue, annotator)
    overdue(claim)
    expire(write_queue)
    other = claim_task(claim.task, sme)
    late = submit_demonstration(claim, "Late.")
    in_time = submit_demonstration(other, "In time.")
    assert (late.surplus, in_time.surplus) == (True, False)
    assert Claim.objects.get(pk=claim.pk).surplus
    assert Slot.objects.filter(task=claim.task).count() == 1


def test_a_late_answer_replaces_the_later_claim_of_the_same_person(write_queue, annotator):
    first = claim_next(write_queue, annotator)
    overdue(first)
    expire(write_queue)
    again = claim_task(first.task, annotator)
    assert again.pk != first.pk
    assert not submit_demonstration(first, "From the first tab.").surplus
    again.refresh_from_db()
    assert again.status == Claim.Status.RELEASED
    with pytest.raises(AlreadySubmitted):
        submit_demonstration(again, "From the second tab.")
    assert Demonstration.objects.count() == 1


def test_released_work_goes_back_and_skipped_work_to_others(write_queue, annotator, sme):
    claim = claim_next(write_queue, annotator)
    assert release(claim, reason="Lunch")
    assert not release(claim)
    assert waiting_for([write_queue], annotator) == {write_queue.pk: 4}
    release(claim_task(claim.task, annotator), skip="others")
    assert waiting_for([write_queue], annotator) == {write_queue.pk: 3}
    assert waiting_for([write_queue], sme) == {write_queue.pk: 4}
    assert {claim_next(write_queue, annotator).task_id for _ in range(10)} != {claim.task_id}


def test_the_same_answer_again_gives_the_same_label(rank_queue, annotator):
    claim = claim_next(rank_queue, annotator)
    first = submit_ranking(claim, ORDER, rationale="Clear.", key="k1")
    again = submit_ranking(Claim.objects.get(pk=claim.pk), ORDER, rationale="Clear.", key="k1")
    assert again == first and Comparison.objects.count() == 1
    with pytest.raises(KeyReused):
        submit_ranking(claim, ORDER[::-1], rationale="Clear.", key="k1")
    with pytest.raises(AlreadySubmitted):
        submit_ranking(claim, ORDER, rationale="Clear.", key="k2")
    with pytest.raises(KeyReused):  # nor may another claim use it
        submit_ranking(claim_next(rank_queue, annotator), ORDER, key="k1")
    assert Comparison.objects.count() == 1


def test_a_ranking_is_stored_by_completion_with_what_was_shown(rank_queue, annotator, guideline, owner):
    claim = claim_next(rank_queue, annotator)
    Guideline.publish(claim.task.prompt.project, "New.", owner)  # shown to nobody yet
    a, b, c = claim.shown_order
    label = submit_ranking(
        claim, [["b"], ["a"]], unrankable=["c"], strength=3, ratings={"b": 6}, flags={"a": ["opinion"]}
    )
    label.refresh_from_db()
    assert label.tiers == [[b], [a]] and label.unrankable == [c] and label.shown_order == [a, b, c]
    assert label.ratings == {str(b): 6} and label.flags == {str(a): ["opinion"]}
    assert label.guideline == guideline and label.prompt == claim.task.prompt
    assert set(label.completions.values_list("id", flat=True)) == {a, b, c}


@pytest.mark.parametrize(
    ("tiers", "more", "says"),
    [
        ([["a"], ["b"]], {}, "not ranked yet"),
        ([["a"], ["b"], ["c"], ["a"]], {}, "ranked twice"),
        ([["a"], ["b"], ["d"]], {}, "There is no answer 'd'"),
        ([["a"], [], ["b", "c"]], {}, "empty"),
        (ORDER, {"strength": 4}, "Strength"),
        ([["a", "b", "c"]], {"strength": 1}, "Strength"),
        (ORDER, {"ratings": {"a": 8}}, "1 to 7"),
        (ORDER, {"flags": {"a": ["silly"]}}, "Unknown flag 'silly'"),
        (ORDER, {"rationale": "x\0"}, "NUL"),
    ],
)
def test_a_bad_ranking_is_refused_and_the_claim_stays(rank_queue, annotator, tiers, more, says):
    claim = claim_next(rank_queue, annotator)
    with pytest.raises(ValueError, match=says):
        submit_ranking(claim, tiers, **more)
    claim.refresh_from_db()
    assert claim.status == Claim.Status.LIVE and not Comparison.objects.exists()


def test_a_draft_is_kept_until_the_answer(write_queue, annotator):
    claim = claim_next(write_queue, annotator)
    save_draft(claim, {"text": "Use"})
    save_draft(claim, {"text": "Use rev"})
    claim.refresh_from_db()
    assert claim.draft.content == {"text": "Use rev"}
    submit_demonstration(claim, "Use reversed().")
    with pytest.raises(AlreadySubmitted):
        save_draft(claim, {"text": "more"})


def test_ranking_tasks_from_completions(project, prompts, answers):
    from annotation.models import Completion

    queue = find_queue(project, Kind.RANK, "samples")
    duplicate = answers[0][0]
    Completion.objects.create(prompt=duplicate.prompt, text=f" {duplicate.text}\n", model=duplicate.model)
    tasks = add_ranking_tasks(queue, Completion.objects.all(), answers=2, per_prompt=5)
    assert len(tasks) == 4  # four train prompts with three different texts each: one pair, one left over
    for task in tasks:
        texts = list(task.completions.values_list("text", flat=True))
        assert len(set(texts)) == 2 and task.prompt.split == "train"
    with pytest.raises(ValueError, match="No prompt has 4 different completions"):
        add_ranking_tasks(queue, Completion.objects.all(), answers=4)


def test_work_that_does_not_fit_is_refused(project, prompts, answers):
    rank, write = find_queue(project, Kind.RANK), find_queue(project, Kind.DEMONSTRATE)
    with pytest.raises(ValueError, match="nothing to make tasks from"):
        add_tasks(rank, [])
    with pytest.raises(ValueError, match="2 to 26"):
        add_tasks(rank, [(prompts[0], answers[0][:1])])
    with pytest.raises(ValueError, match="one prompt only"):
        add_tasks(rank, [(prompts[0], [answers[0][0], answers[1][0]])])
    with pytest.raises(ValueError, match="takes no completions"):
        add_tasks(write, [(prompts[0], answers[0])])
    with pytest.raises(ValueError, match="Overlap"):
        add_tasks(write, [(prompts[0], ())], overlap=0)
    assert not Task.objects.exists()
