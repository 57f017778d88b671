"""Where each task of a queue stands in line: its places' `place`, lowest first, for the order that the queue asks for.

`reorder` is asked for by a lead: after the order was chosen, and when new scores or judgements have come. It goes
through the queue in batches while people work on.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations

from django.db import transaction
from django.db.models import Case, FloatField, Value, When
from rapidfuzz.distance import Indel

from annotation.comparisons import outcome
from annotation.journal import record
from annotation.models import Comparison, Completion, Queue, RewardScore, Slot, Task, TaskCompletion
from annotation.tasks import batched
from studio.models import User

BATCH = 300  # tasks a transaction
COMPARED = 2000  # characters of an answer that are compared: bounds the cost, and answers differ early
LAST = 1e6  # tasks of which nothing is known come behind all others, at random

Answers = Mapping[int, Sequence[int]]  # task: its completions


def reorder(queue: Queue, by: User | None = None) -> int:
    """Put the waiting tasks of the queue into its order; returns how many.

    Raises ValueError when the order needs a reward model's scores and there are none.
    """
    check_scores(queue)
    find_places = _PLACES[Queue.Order(queue.order)]
    waiting = queue.tasks.filter(status__in=[Task.Status.OPEN, Task.Status.HELD]).order_by("pk")
    tasks = list(waiting.values_list("pk", flat=True))
    for some in batched(tasks, BATCH):
        places = find_places(queue, some)
        whens = [When(task=task, then=Value(places.get(task, LAST + random.random()))) for task in some]
        undone = Slot.objects.filter(task__in=some).exclude(status=Slot.Status.DONE)
        undone.update(place=Case(*whens, output_field=FloatField()))
    with transaction.atomic():
        record(queue.project_id, by, "ordered queue", queue=queue.pk, order=queue.order, tasks=len(tasks))
    return len(tasks)


def check_scores(queue: Queue) -> None:
    """Raise ValueError when the order goes by a reward model's scores, and it has given none."""
    if queue.order in (Queue.Order.UNCERTAIN, Queue.Order.DISPUTED):
        scored = RewardScore.objects.filter(model=queue.reward_model, completion__offered_in__task__queue=queue)
        if not scored.exists():
            raise ValueError("The reward model has scored none of these answers yet: score them first.")


def _at_random(queue: Queue, tasks: Sequence[int]) -> dict[int, float]:
    return {task: random.random() for task in tasks}


def _by_age(queue: Queue, tasks: Sequence[int]) -> dict[int, float]:
    return {task: float(task) for task in tasks}


def _uncertainty(queue: Queue, tasks: Sequence[int]) -> dict[int, float]:
    """The mean margin of the reward model between two answers: small where it is least sure."""
    answers = _answers(tasks)
    scores = _scores(queue, answers)
    return {
        task: mean_margin([scores[pk] for pk in completions])
        for task, completions in answers.items()
        if all(pk in scores for pk in completions)
    }


def _dispute(queue: Queue, tasks: Sequence[int]) -> dict[int, float]:
    """One less the share of people's decided pairs that the reward model orders the other way round."""
    answers = _answers(tasks)
    scores, rankings = _scores(queue, answers), _rankings(answers)
    shares = {task: share_disputed(answers[task], scores, rankings[task]) for task in answers}
    return {task: 1 - share for task, share in shares.items() if share is not None}


def _diversity(queue: Queue, tasks: Sequence[int]) -> dict[int, float]:
    """One less the mean distance of two answers' texts."""
    answers = _answers(tasks)
    texts = _texts(answers)
    return {task: 1 - mean_distance([texts[pk] for pk in completions]) for task, completions in answers.items()}


def mean_margin(scores: Sequence[float]) -> float:
    """|a - b|, averaged over all pairs.

    >>> mean_margin([1.0, 3.0, 4.0])  # (2 + 3 + 1) / 3
    2.0
    """
    gaps = [abs(a - b) for a, b in combinations(scores, 2)]
    return sum(gaps) / len(gaps)


def mean_distance(texts: Sequence[str]) -> float:
    """The normalised Indel distance (insertions and deletions; 0 equal, 1 nothing in common), averaged over all pairs.

    >>> mean_distance(["abc", "abc", "xyz"])  # (0 + 1 + 1) / 3, to two places
    0.67
    """
    gaps = [Indel.normalized_distance(a[:COMPARED], b[:COMPARED]) for a, b in combinations(texts, 2)]
    return round(sum(gaps) / len(gaps), 2)


def share_disputed(
    completions: Sequence[int], scores: Mapping[int, float], rankings: Sequence[Sequence[Sequence[int]]]
) -> float | None:
    """Share of the pairs decided in these rankings (tiers) that the scores order the other way; None without one."""
    decided = disputed = 0
    for tiers in rankings:
        for a, b in combinations(completions, 2):
            preferred = outcome(tiers, a, b)
            if preferred in (None, 0.5) or a not in scores or b not in scores:
                continue
            decided += 1
            disputed += (scores[a] > scores[b]) != (preferred == 1)
    return disputed / decided if decided else None


def _answers(tasks: Sequence[int]) -> dict[int, list[int]]:
    found: dict[int, list[int]] = defaultdict(list)
    for task, completion in TaskCompletion.objects.filter(task__in=tasks).values_list("task", "completion"):
        found[task].append(completion)
    return {task: completions for task, completions in found.items() if len(completions) > 1}


def _flat(answers: Answers) -> set[int]:
    return {pk for completions in answers.values() for pk in completions}


def _scores(queue: Queue, answers: Answers) -> dict[int, float]:
    found = RewardScore.objects.filter(model=queue.reward_model, completion__in=_flat(answers))
    return dict(found.values_list("completion", "value"))


def _texts(answers: Answers) -> dict[int, str]:
    return dict(Completion.objects.filter(pk__in=_flat(answers)).values_list("pk", "text"))


def _rankings(answers: Answers) -> dict[int, list[list[list[int]]]]:
    """For each task the standing rankings that people gave of any of its answers, in this task or another."""
    flat = _flat(answers)
    through = Comparison.completions.through.objects.filter(completion__in=flat, comparison__withdrawn_at=None)
    by_completion: dict[int, set[int]] = defaultdict(set)
    for completion, comparison in through.values_list("completion", "comparison"):
        by_completion[completion].add(comparison)
    wanted = set().union(*by_completion.values()) if by_completion else set()
    tiers = dict(Comparison.objects.filter(pk__in=wanted).values_list("pk", "tiers"))
    return {
        task: [tiers[pk] for pk in set().union(*(by_completion[c] for c in completions)) if pk in tiers]
        for task, completions in answers.items()
    }


_PLACES: dict[str, Callable[[Queue, Sequence[int]], dict[int, float]]] = {
    Queue.Order.RANDOM: _at_random,
    Queue.Order.OLDEST: _by_age,
    Queue.Order.UNCERTAIN: _uncertainty,
    Queue.Order.DISPUTED: _dispute,
    Queue.Order.DIVERSE: _diversity,
}
