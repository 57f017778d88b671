"""People's figures, each counted by hand, and the trial rounds."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from annotation import gold
from annotation.gold_items import make_gold
from annotation.models import Claim, Comparison, GoldResult, Queue, Skip
from annotation.people import board, decisions_about, portrait, trials
from annotation.queue import claim_next, release
from annotation.standing import MayNotWork, check_may_work, let_repeat_trial
from annotation.submit import submit_ranking


def judge(queue, user, *, first_wins=True, seconds=20.0, tasks=4) -> None:
    for _ in range(tasks):
        claim = claim_next(queue, user)
        order = sorted(claim.letters) if first_wins else sorted(claim.letters, reverse=True)
        label = submit_ranking(claim, [[letter] for letter in order])
        Comparison.objects.filter(pk=label.pk).update(seconds=seconds, unchanged=first_wins)


def of(found, user):
    return next(person for person in found.people if person.user == user)


@pytest.fixture
def judged(rank_queue, annotator, sme) -> Queue:
    """The annotator always prefers what stands first, in 20 s; the SME what stands last, in 2 s."""
    judge(rank_queue, annotator)
    judge(rank_queue, sme, first_wins=False, seconds=2.5)
    return rank_queue


def test_the_board(judged, project, annotator, sme, engineer):
    found = board(project)
    assert [p.user for p in found.people][:2] == [annotator, sme]
    one, other = of(found, annotator), of(found, sme)
    assert (one.labels, one.week, one.handed_in, one.skips) == (4, 4, 4, 0)
    assert one.habits.first.value == 1 and other.habits.first.value == 0
    assert one.habits.first.n == 12  # four rankings of three answers: three pairs each
    assert one.habits.unchanged.value == 1 and other.habits.unchanged.value == 0
    # median of 4 × 20 s and 4 × 2.5 s: 11.25 s; a quarter: 2.8 s
    assert found.hasty_below == pytest.approx(2.8125)
    assert one.habits.hasty.value == 0 and other.habits.hasty.value == 1
    assert found.everybody.first.value == 0.5 and found.window == 8 and not found.is_cut
    assert of(found, engineer).labels == 0 and of(found, engineer).habits.rankings == 0
    assert one.agreement.percent.value == other.agreement.percent.value


def test_length_bias_uses_the_answers_lengths(rank_queue, project, annotator):
    for completion in rank_queue.tasks.first().completions.model.objects.all():
        type(completion).objects.filter(pk=completion.pk).update(text="x" * completion.pk)
    claim = claim_next(rank_queue, annotator)
    longest_first = sorted(claim.letters, key=lambda letter: -claim.letters[letter])
    submit_ranking(claim, [[longest_first[0]], longest_first[1:]])  # the longest wins two pairs; the rest is tied
    habits = of(board(project), annotator).habits
    assert habits.longer.value == 1 and habits.longer.n == 2 and habits.ties.value == 1 / 3


def test_skips_and_imported_labels(judged, project, annotator, sme, prompts, answers):
    judged.tasks.update(overlap=9)
    judged.tasks.first().slots.create(number=8, queue=judged)
    claim = Claim.objects.create(
        task=judged.tasks.last(),
        annotator=sme,
        project=project,
        status="released",
        skip=Skip.OTHERS,
        expires_at=timezone.now(),
    )
    a, b = answers[0][0].pk, answers[0][1].pk
    Comparison.objects.create(prompt=prompts[0], annotator=sme, tiers=[[a], [b]], shown_order=[a, b])  # imported
    found = of(board(project), sme)
    assert found.skip_rate.value == 1 / 5 and found.skip_rate.n == 5  # four handed in, one skipped
    assert found.labels == 5 and found.habits.rankings == 4  # it was never shown here, so it tells no habit
    assert claim.skip == "others"


def test_a_portrait(judged, project, annotator):
    old = Comparison.objects.filter(annotator=annotator).first()
    Comparison.objects.filter(pk=old.pk).update(created_at=timezone.now() - timedelta(weeks=2))
    found = portrait(project, annotator)
    assert [week.labels for week in found.weeks][-3:] in ([1, 0, 3], [1, 1, 2])
    assert found.weeks[-1].seconds == 20 and len(found.weeks) == 12
    assert dict(found.times)["20–40 s"] == 4
    assert found.person.agreement.percent is not None


@pytest.fixture
def trial_queue(rank_queue, engineer) -> Queue:
    """Four gold items, two of which make the trial round."""
    for task in rank_queue.tasks.filter(gold=None):
        make_gold(task, [[c.pk] for c in task.completions.order_by("pk")], engineer)
    Queue.objects.filter(pk=rank_queue.pk).update(calibration_items=2, gold_rate=0, gold_feedback=False)
    return Queue.objects.get(pk=rank_queue.pk)


def fail(queue, user) -> None:
    claim = gold.next_gold(queue, user)
    letters = sorted(claim.letters, key=claim.letters.get, reverse=True)
    label = submit_ranking(claim, [[letter] for letter in letters])
    gold.after_submit(claim, label)


def test_a_failed_trial_can_be_repeated_with_other_items(trial_queue, project, annotator, engineer):
    for _ in range(2):
        fail(trial_queue, annotator)
    (trial,) = trials(project)
    assert (trial.user, trial.done, trial.mean, trial.state) == (annotator, 2, 0, "failed")
    with pytest.raises(MayNotWork):
        check_may_work(trial_queue, annotator)
    met = set(Claim.objects.filter(annotator=annotator).values_list("task", flat=True))
    let_repeat_trial(trial_queue, annotator, engineer)
    check_may_work(trial_queue, annotator)
    assert gold.next_gold(trial_queue, annotator).task_id not in met
    assert gold.recent_accuracy(trial_queue, annotator) == (0, None)  # the failed round is not held against them
    (entry,) = decisions_about(project, annotator)
    assert (entry.act, entry.actor, entry.detail["done"]) == ("let repeat a trial round", engineer, 2)
    with pytest.raises(ValueError, match="not begun"):
        let_repeat_trial(trial_queue, annotator, engineer)


def test_own_figures_do_not_tell_silent_gold(trial_queue, project, annotator):
    fail(trial_queue, annotator)
    GoldResult.objects.update(is_calibration=False)
    assert portrait(project, annotator).person.gold.n == 1
    assert portrait(project, annotator, only_told=True).person.gold is None
    Queue.objects.update(gold_feedback=True)
    assert portrait(project, annotator, only_told=True).person.gold.n == 1


def test_giving_back_is_no_skip(rank_queue, project, annotator):
    release(claim_next(rank_queue, annotator))
    assert of(board(project), annotator).skips == 0
