"""Blind comparisons of models on a prompt set, and what they say: win rates with intervals, down to each judgement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from django.db import transaction
from django.db.models import QuerySet

from annotation.comparisons import outcome
from annotation.models import Comparison, Completion, Kind, Prompt, Queue, Review, Split
from annotation.statistics.intervals import Interval, win_rate
from annotation.tasks import LETTERS, add_tasks, withdraw_tasks
from studio.models import Project, Round, User
from studio.runs.models import Artifact


@dataclass(frozen=True)
class WinRate:
    """How often `first` was preferred to `second`; `rate` counts a tie as one half, its interval resamples prompts."""

    first: Artifact
    second: Artifact
    wins: int
    ties: int
    losses: int
    rate: Interval


@dataclass(frozen=True)
class Judgement:
    """One annotator's ranking with the models behind it: tiers of completions (with `.model`), best first."""

    comparison: Comparison
    tiers: list[list[Completion]]
    unrankable: list[Completion]


def start_review(
    project: Project,
    user: User,
    name: str,
    models: Sequence[Artifact],
    *,
    split: str = Split.TEST,
    prompts: QuerySet[Prompt] | None = None,
    completions: QuerySet[Completion] | None = None,
    per_prompt: int = 1,
    overlap: int = 1,
    round: Round | None = None,
) -> Review:
    """Queue a ranking of the models' completions for each prompt on which all of them have one.

    `per_prompt` tasks a prompt take the models' newest completions in turn; `completions` narrows which count (say,
    to one sampling run). Raises ValueError when there is too little to compare.
    """
    name = " ".join(name.split())
    if not 1 <= len(name) <= 120:
        raise ValueError("Give the review a name of at most 120 characters.")
    if not 2 <= len({m.pk for m in models}) == len(models) <= LETTERS:
        raise ValueError("Choose two or more different models to compare.")
    if any(m.project_id != project.pk or m.kind != Artifact.Kind.MODEL for m in models):
        raise ValueError("Choose models of this project.")
    if Queue.objects.filter(project=project, kind=Kind.REVIEW, name=name).exists():
        raise ValueError(f"There is a review '{name}' already: give this one another name.")
    work = _match(project, models, split, prompts, completions, per_prompt)
    with transaction.atomic():
        queue = Queue.objects.create(project=project, kind=Kind.REVIEW, name=name)
        review = Review.objects.create(
            project=project, name=name, split=split, per_prompt=per_prompt, overlap=overlap, queue=queue, round=round,
            created_by=user,
        )  # fmt: skip
        review.models.set(models)
        add_tasks(queue, work, overlap=overlap, round=round, review=review)
    return review


def _match(
    project: Project,
    models: Sequence[Artifact],
    split: str,
    prompts: QuerySet[Prompt] | None,
    completions: QuerySet[Completion] | None,
    per_prompt: int,
) -> list[tuple[Prompt, list[Completion]]]:
    chosen = Prompt.objects.filter(project=project, split=split) if prompts is None else prompts.filter(project=project)
    pool = Completion.objects.all() if completions is None else completions
    found: dict[int, dict[int, list[Completion]]] = {}
    for completion in pool.filter(prompt__in=chosen.values("pk"), model__in=models).order_by("-id"):
        found.setdefault(completion.prompt_id, {}).setdefault(completion.model_id, []).append(completion)
    work = []
    for prompt in chosen.filter(pk__in=found).order_by("id"):
        by_model = [found[prompt.pk].get(model.pk, []) for model in models]
        work += [(prompt, [own[i] for own in by_model]) for i in range(min(per_prompt, *map(len, by_model)))]
    if not work:
        lacking = [m.name for m in models if not any(m.pk in by_model for by_model in found.values())]
        who = ", ".join(lacking) or "Some model on each prompt"
        raise ValueError(
            f"There are no prompts to compare on. Without completions there: {who}. "
            "Sample all models on one prompt set first."
        )
    return work


def close_review(review: Review) -> None:
    """Take what still waits out of the queue; the judgements made so far, and those begun, are the result."""
    with transaction.atomic():
        withdraw_tasks(review.tasks.all())
        Queue.objects.filter(pk=review.queue_id).update(is_open=False)
        Review.objects.filter(pk=review.pk).update(status=Review.Status.CLOSED)
    review.refresh_from_db()


def judgements(review: Review) -> list[Judgement]:
    """Every judgement that counts, oldest first."""
    return judgements_by_review([review])[review.pk]


def judgements_by_review(reviews: Sequence[Review]) -> dict[int, list[Judgement]]:
    """Every judgement that counts by review id, oldest first; three queries for any number of reviews."""
    counted = Comparison.objects.filter(review__in=reviews, withdrawn_at=None, surplus=False)
    found: dict[int, list[Judgement]] = {review.pk: [] for review in reviews}
    related = counted.select_related("prompt", "annotator").prefetch_related("completions__model")
    for comparison in related.order_by("id"):
        by_id = {c.pk: c for c in comparison.completions.all()}
        tiers = [[by_id[pk] for pk in tier] for tier in comparison.tiers]
        found[comparison.review_id].append(Judgement(comparison, tiers, [by_id[pk] for pk in comparison.unrankable]))
    return found


def win_rates(review: Review, found: list[Judgement] | None = None) -> list[WinRate]:
    """Each pair of the review's models that was judged, later model first (as "PPO against SFT").

    Several judgements of one prompt are not independent, so the interval is a bootstrap over prompts.
    """
    found = judgements(review) if found is None else found
    models = list(review.models.order_by("id"))
    rates = [win_rate_of(found, first, second) for second, first in combinations(models, 2)]
    return [rate for rate in rates if rate is not None]


def win_rate_of(found: list[Judgement], first: Artifact, second: Artifact) -> WinRate | None:
    """`first` against `second` in these judgements; None when nobody ranked both."""
    outcomes, prompts = [], []
    for judgement in found:
        ids = {c.model_id: c.pk for tier in judgement.tiers for c in tier}
        if first.pk not in ids or second.pk not in ids:
            continue
        result = outcome(judgement.comparison.tiers, ids[first.pk], ids[second.pk])
        assert result is not None
        outcomes.append(result)
        prompts.append(judgement.comparison.prompt_id)
    if not outcomes:
        return None
    counts = [outcomes.count(value) for value in (1, 0.5, 0)]
    return WinRate(first, second, *counts, win_rate(outcomes, prompts))
