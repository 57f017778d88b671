from __future__ import annotations

import doctest

import pytest

from annotation import ordering
from annotation.models import Comparison, JournalEntry, Kind, Queue, RewardScore, Slot
from annotation.ordering import reorder, share_disputed
from annotation.queue import claim_next
from annotation.submit import submit_ranking
from annotation.tasks import add_demonstration_tasks, add_tasks, find_queue


def line(queue) -> list[int]:
    """The tasks as they stand in line."""
    return list(dict.fromkeys(Slot.objects.filter(queue=queue).order_by("place").values_list("task", flat=True)))


@pytest.fixture
def pairs(project, prompts, answers):
    """Three tasks of two answers each."""
    queue = find_queue(project, Kind.RANK, "pairs")
    return queue, add_tasks(queue, [(prompts[n], answers[n][:2]) for n in range(3)], overlap=2)


@pytest.fixture
def judge(make_artifact):
    return make_artifact("reward_model", "Judge")


def score(model, answers, *values):
    for pair, scores in zip(answers, values, strict=False):
        for completion, value in zip(pair, scores, strict=False):
            RewardScore.objects.create(model=model, completion=completion, value=value)


def test_the_arithmetic_in_the_docstrings():
    assert doctest.testmod(ordering).failed == 0


def test_least_sure_first_and_unscored_last(pairs, answers, judge, engineer):
    queue, (wide, none, narrow) = pairs
    score(judge, [answers[0], [], answers[2]], [0.0, 3.0], [], [1.0, 1.5])
    queue.order, queue.reward_model = Queue.Order.UNCERTAIN, judge
    assert reorder(queue, engineer) == 3
    assert line(queue) == [narrow.pk, wide.pk, none.pk]
    assert JournalEntry.objects.get().act == "ordered queue"
    assert Slot.objects.filter(task=wide).values("place").distinct().count() == 1  # all places of a task together


def test_what_people_and_reward_model_order_differently_comes_first(pairs, answers, judge, annotator, sme):
    queue, tasks = pairs
    for _ in tasks:
        claim = claim_next(queue, annotator)
        first = min(claim.letters, key=claim.letters.__getitem__)  # people prefer the first answer
        second = max(claim.letters, key=claim.letters.__getitem__)
        submit_ranking(claim, [[first], [second]])
    score(judge, answers[:3], [2.0, 1.0], [1.0, 2.0], [3.0, 1.0])
    queue.order, queue.reward_model = Queue.Order.DISPUTED, judge
    queue.save()
    reorder(queue)
    assert line(queue)[0] == tasks[1].pk
    assert claim_next(queue, sme).task == tasks[1]


def test_share_of_disputed_pairs():
    # 1 > 2 = 3 decides 1-2 and 1-3; the scores order 1-2 otherwise, 1-3 alike: 1 of 2
    assert share_disputed([1, 2, 3], {1: 1.0, 2: 2.0, 3: 0.0}, [[[1], [2, 3]]]) == 0.5
    assert share_disputed([1, 2], {1: 1.0, 2: 2.0}, [[[1, 2]]]) is None
    assert share_disputed([1, 2], {1: 1.0}, [[[1], [2]]]) is None


def test_most_different_answers_first(pairs, answers, engineer):
    queue, tasks = pairs
    for number, texts in enumerate([("same words", "same words!"), ("abc", "xyz"), ("abcd", "abxy")]):
        for completion, text in zip(answers[number][:2], texts, strict=True):
            completion.text = text
            completion.save()
    queue.order = Queue.Order.DIVERSE
    reorder(queue, engineer)
    assert line(queue) == [tasks[1].pk, tasks[2].pk, tasks[0].pk]


def test_oldest_first_and_new_work_behind(project, prompts, engineer):
    queue = find_queue(project, Kind.DEMONSTRATE)
    old = add_demonstration_tasks(queue, prompts[:3])
    queue.order = Queue.Order.OLDEST
    queue.save()
    reorder(queue, engineer)
    new = add_demonstration_tasks(queue, prompts[3:4])
    assert line(queue) == [task.pk for task in old + new]
    queue.order = Queue.Order.RANDOM
    reorder(queue, engineer)
    assert max(Slot.objects.filter(queue=queue).values_list("place", flat=True)) < 1


def test_without_scores_it_says_so(pairs, judge):
    queue, _ = pairs
    queue.order, queue.reward_model = Queue.Order.UNCERTAIN, judge
    with pytest.raises(ValueError, match="scored none of these answers"):
        reorder(queue)
    assert not Comparison.objects.exists()
