"""Who is given what: skills, places kept for a person, work put off or not usable, pauses, drafts that come back."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from annotation import progress
from annotation.models import Claim, JournalEntry, Kind, Queue, Skip, Slot, Task
from annotation.progress import progress_of, waiting_for
from annotation.queue import claim_next, claim_task, expire, go_on, pause, release
from annotation.standing import MayNotWork
from annotation.submit import save_draft, submit_demonstration, submit_ranking
from annotation.tasks import add_demonstration_tasks, find_queue, withdraw_tasks
from studio.models import Membership


def teach(project, user, *skills: str) -> None:
    Membership.objects.filter(project=project, user=user).update(skills=list(skills))


def test_work_that_asks_for_a_skill_goes_to_those_who_have_it(project, prompts, annotator, sme):
    queue = find_queue(project, Kind.DEMONSTRATE)
    (task,) = add_demonstration_tasks(queue, prompts[:1], skill="asyncio")
    assert claim_next(queue, annotator) is None and waiting_for([queue], annotator) == {}
    teach(project, sme, "asyncio", "typing")
    assert waiting_for([queue], sme) == {queue.pk: 1}
    assert claim_next(queue, sme).task == task


def test_priority_decides_between_lines(project, prompts, sme):
    queue = find_queue(project, Kind.DEMONSTRATE)
    teach(project, sme, "asyncio")
    add_demonstration_tasks(queue, prompts[:1])
    (urgent,) = add_demonstration_tasks(queue, prompts[1:2], skill="asyncio", priority=1)
    (kept,) = add_demonstration_tasks(queue, prompts[2:3], assignee=sme, skill="typing", priority=1)
    taken = []
    for _ in range(2):
        claim = claim_next(queue, sme)
        taken.append(claim.task)
        submit_demonstration(claim, "Use reversed().")
    assert taken == [kept, urgent]  # of equal priority, what is kept for this person, whatever they know


def test_a_queue_for_a_skill_or_for_some_people(project, write_queue, annotator, sme):
    Queue.objects.update(skill="asyncio")
    write_queue.refresh_from_db()
    with pytest.raises(MayNotWork, match="asks for the skill"):
        claim_next(write_queue, annotator)
    teach(project, annotator, "asyncio")
    assert claim_next(write_queue, annotator)
    write_queue.people.add(sme)
    teach(project, sme, "asyncio")
    assert waiting_for([write_queue], sme) == {write_queue.pk: 3}
    assert waiting_for([write_queue], annotator) == {write_queue.pk: 1}  # what was begun alone
    with pytest.raises(MayNotWork, match="kept for other people"):
        claim_next(write_queue, annotator)


def test_what_is_kept_for_others_is_not_given(project, prompts, annotator, sme):
    queue = find_queue(project, Kind.DEMONSTRATE)
    (task,) = add_demonstration_tasks(queue, prompts[:1], assignee=sme)
    assert claim_next(queue, annotator) is None and claim_task(task, annotator) is None
    release(claim_next(queue, sme), skip=Skip.OTHERS)  # who does not want it leaves it to all
    assert claim_next(queue, annotator).task == task


def test_what_somebody_leaves_to_others_asks_for_its_skill_again(project, prompts, annotator, sme, engineer):
    queue = find_queue(project, Kind.DEMONSTRATE)
    (task,) = add_demonstration_tasks(queue, prompts[:1], assignee=sme, skill="typing")
    release(claim_next(queue, sme), skip=Skip.OTHERS)
    assert claim_next(queue, annotator) is None
    teach(project, engineer, "typing")
    assert claim_next(queue, engineer).task == task


def test_what_was_put_off_comes_when_nothing_else_is_left(write_queue, annotator):
    first = claim_next(write_queue, annotator)
    release(first, skip=Skip.LATER)
    seen = []
    while claim := claim_next(write_queue, annotator):
        seen.append(claim.task_id)
        submit_demonstration(claim, "Use reversed().")
    assert len(seen) == 4 and seen[-1] == first.task_id


def test_what_is_not_usable_is_held_for_a_lead(rank_queue, annotator, sme, engineer):
    mine = claim_next(rank_queue, annotator)
    other = claim_task(mine.task, sme)
    release(mine, skip=Skip.UNUSABLE, reason="Both answers are empty.")
    task = Task.objects.get(pk=mine.task_id)
    assert task.status == Task.Status.HELD
    assert JournalEntry.objects.get().detail == {"reason": "Both answers are empty."}
    assert claim_task(task, engineer) is None
    release(other)  # given back after it was held: its place stays out too
    assert set(Slot.objects.filter(task=task).values_list("status", flat=True)) == {"withdrawn"}
    assert withdraw_tasks(Task.objects.filter(pk=task.pk)) == 1
    with pytest.raises(ValueError, match="must be one of"):
        release(mine, skip="never")


def test_a_draft_and_the_order_of_answers_come_back_with_the_task(rank_queue, annotator):
    first = claim_next(rank_queue, annotator)
    save_draft(first, {"fields": {"rationale": ["Clear."]}})
    Claim.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert expire() == 1
    again = claim_task(first.task, annotator)
    assert again.pk != first.pk and again.shown_order == first.shown_order
    assert Claim.objects.get(pk=again.pk).draft.content == {"fields": {"rationale": ["Clear."]}}


def test_typing_renews_the_lease_now_and_then(write_queue, annotator):
    claim = claim_next(write_queue, annotator)
    begun = claim.expires_at
    save_draft(claim, {"text": "U"})
    assert Claim.objects.get().expires_at == begun  # a tenth of the lease has not gone by
    Claim.objects.update(expires_at=timezone.now() + timedelta(minutes=3))
    save_draft(claim, {"text": "Use"})
    assert Claim.objects.get().expires_at > timezone.now() + timedelta(minutes=59)
    Claim.objects.update(status=Claim.Status.EXPIRED, expires_at=begun - timedelta(hours=2))
    save_draft(claim, {"text": "Use r"})
    assert Claim.objects.get().expires_at == begun - timedelta(hours=2)  # nobody's lease comes back by typing


def test_a_pause_keeps_the_place_for_a_day(write_queue, annotator, sme):
    claim = claim_next(write_queue, annotator)
    assert pause(claim) and not pause(claim)
    in_an_hour = timezone.now() + timedelta(hours=2)
    assert expire(now=in_an_hour) == 0 and expire(write_queue, now=in_an_hour) == 0
    assert go_on(claim) and not go_on(claim)
    assert Claim.objects.get().expires_at <= timezone.now() + timedelta(minutes=60)
    pause(claim)
    assert claim_next(write_queue, annotator).paused_at is None  # who comes back goes on
    pause(Claim.objects.get())
    assert expire(now=timezone.now() + timedelta(hours=25)) == 1


def test_counting_ends_at_the_bound(monkeypatch, project, rank_queue, write_queue, annotator):
    for name, value in (("MANY", 2), ("PLACES", 4)):
        monkeypatch.setattr(progress, name, value)
    monkeypatch.setattr(progress.BoundedCount.__init__, "__defaults__", (3, ""))
    places = progress_of([rank_queue, write_queue])
    assert (places[rank_queue.pk].free, places[write_queue.pk].free) == (3, 3)  # of 8 and 4: more than two
    assert places[rank_queue.pk].is_cut
    assert waiting_for([rank_queue], annotator) == {rank_queue.pk: 2}  # four places of overlap 2 were looked at


def test_few_statements_a_claim_and_an_answer(rank_queue, annotator, guideline, django_assert_max_num_queries):
    with django_assert_max_num_queries(9):
        claim = claim_next(rank_queue, annotator)
    with django_assert_max_num_queries(12):
        label = submit_ranking(claim, [["a"], ["b"], ["c"]])
    assert label.annotator == annotator
