"""What labels do to a reward model: how well it foretells the comparisons that it was not trained on.

Held out for a reward model is a comparison whose conversation gave no row to the train split of any dataset that the
model came from. Of those the ones count that count for agreement (see `annotation.agreement`), so that the figures of
both pages are of the same labels. A ranking says every pair of answers from different tiers; ties say nothing. The
pairs of one prompt are not independent of one another, so intervals resample whole prompts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from itertools import combinations
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Exists, OuterRef, QuerySet

from annotation.agreement import counted
from annotation.comparisons import Tiers, outcome, pairs
from annotation.journal import record
from annotation.models import Comparison, Completion, DatasetItem, Kind, Prompt, Queue, Repeat, RewardScore, Split, Task
from annotation.statistics.intervals import Interval, win_rate
from annotation.tasks import add_tasks, find_queue
from studio.models import Project, User
from studio.runs.models import Artifact, RunInput

NEWEST = 20_000  # held-out comparisons that are read at most
RESAMPLES = 1000
SHOWN = 50  # rows of one table: those with the most pairs
WEEKS = 26  # a longer time is told by months
SECOND_OPINION = "Second opinion"
AGREEMENT = ("All agree", "Most agree", "Divided", "Judged once")


@dataclass(frozen=True)
class Effect:
    """How often the reward model prefers the answer that people prefer, on a part of the held-out comparisons."""

    label: str
    accuracy: Interval  # over pairs; `clusters` are prompts
    comparisons: int
    key: Any = None

    def as_dict(self) -> dict[str, Any]:
        return {"label": self.label, "comparisons": self.comparisons, **self.accuracy._asdict()}


@dataclass(frozen=True)
class Judged:
    """One held-out comparison with what the model says of its pairs."""

    pk: int
    prompt: int
    cluster: str
    annotator: int
    guideline: int | None  # version
    task: int | None
    at: datetime
    outcomes: tuple[float, ...]  # a pair: 1 the model agrees, 0 it does not, ½ it gives both the same
    margin: (
        float  # of the pair that it most strongly orders the other way: r_rejected - r_chosen; 0 where there is none
    )


@dataclass(frozen=True)
class Effects:
    """Everything that the page about one reward model shows."""

    overall: Effect | None
    by_annotator: list[Effect]
    by_slice: list[Effect]
    by_agreement: list[Effect]
    by_guideline: list[Effect]
    by_time: list[Effect]
    disputed: list[Judged] = field(repr=False)  # strongest first
    held_out: int  # comparisons
    unscored: int  # held-out comparisons of which no pair has both scores, or which hold nothing but ties
    trained_prompts: int  # conversations in its training data
    lineage_known: bool

    def as_dict(self) -> dict[str, Any]:
        parts = ("by_annotator", "by_slice", "by_agreement", "by_guideline", "by_time")
        return {
            "overall": self.overall.as_dict() if self.overall else None,
            **{name: [effect.as_dict() for effect in getattr(self, name)] for name in parts},
            "held_out": self.held_out,
            "unscored": self.unscored,
            "disputed": len(self.disputed),
        }


def scored_models(project: Project) -> QuerySet[Artifact]:
    """The project's reward models, newest first, each with whether any score of it is known (`has_scores`)."""
    scores = RewardScore.objects.filter(model=OuterRef("pk"))
    found = Artifact.objects.filter(project=project, kind=Artifact.Kind.REWARD_MODEL)
    return found.annotate(has_scores=Exists(scores)).order_by("-id")


def trained_roots(reward_model: Artifact) -> QuerySet[Any]:
    """The roots of the conversations whose comparisons the reward model, or what it came from, was trained on."""
    items = DatasetItem.objects.filter(artifact__in=_inputs_behind(reward_model), split=Split.TRAIN)
    return items.exclude(comparison=None).order_by().values("comparison__prompt__root")


def _inputs_behind(reward_model: Artifact) -> set[int]:
    """Ids of what went into it: the inputs of the run that made it, of the runs that made those, and so on."""
    used: dict[int, set[int]] = {}
    edges = RunInput.objects.filter(run__project=reward_model.project_id).exclude(run__outputs=None)
    for product, source in edges.order_by().values_list("run__outputs", "artifact"):
        used.setdefault(product, set()).add(source)
    found: set[int] = set()
    frontier = {reward_model.pk}
    while frontier:
        frontier = {source for product in frontier for source in used.get(product, ())} - found
        found |= frontier
    return found


def held_out(project: Project, roots: QuerySet[Any]) -> QuerySet[Comparison]:
    """The comparisons that count and are of none of these conversations (the `trained_roots` of a reward model)."""
    return counted(project).exclude(prompt__root__in=roots)


def effects_of(reward_model: Artifact) -> Effects:
    """How well a reward model does on held-out comparisons, in all and by their parts."""
    project = reward_model.project
    scores = dict(RewardScore.objects.filter(model=reward_model).values_list("completion", "value"))
    roots = trained_roots(reward_model)
    rows = list(
        held_out(project, roots)
        .order_by("-id")
        .values_list(
            "pk", "prompt", "prompt__cluster", "annotator", "guideline__version", "task", "created_at", "tiers"
        )[:NEWEST]
    )
    judged = [found for row in rows if (found := _judge(row, scores)) is not None]
    levels = agreement_levels((row[5], row[7]) for row in rows)
    names = dict(User.objects.filter(pk__in={j.annotator for j in judged}).values_list("pk", "username"))
    trained = roots.distinct().count()
    return Effects(
        overall=effect("All", judged) if judged else None,
        by_annotator=_parts(judged, lambda j: j.annotator, lambda key: names[key]),
        by_slice=_parts(judged, lambda j: j.cluster, lambda key: key or "No cluster"),
        by_agreement=_parts(judged, lambda j: levels.get(j.task, AGREEMENT[3]), str, AGREEMENT.index),
        by_guideline=_parts(
            judged, lambda j: j.guideline or 0, lambda key: f"Version {key}" if key else "None", lambda key: -key
        ),
        by_time=_periods(judged),
        disputed=sorted((j for j in judged if j.margin > 0), key=lambda j: (-j.margin, -j.pk)),
        held_out=len(rows),
        unscored=len(rows) - len(judged),
        trained_prompts=trained,
        lineage_known=trained > 0,
    )


def _judge(row: tuple[Any, ...], scores: dict[int, float]) -> Judged | None:
    """None where no pair has both scores: unscored, or nothing but ties."""
    pk, prompt, cluster, annotator, guideline, task, at, tiers = row
    differences = [scores[a] - scores[b] for a, b in pairs(tiers) if a in scores and b in scores]
    if not differences:
        return None
    outcomes = tuple(1.0 if d > 0 else 0.5 if d == 0 else 0.0 for d in differences)
    return Judged(pk, prompt, cluster, annotator, guideline, task, at, outcomes, max(0.0, -min(differences)))


def effect(label: str, judged: Sequence[Judged], key: Any = None) -> Effect:
    """The accuracy over these comparisons' pairs, whole prompts resampled (`intervals.win_rate`)."""
    outcomes = [value for j in judged for value in j.outcomes]
    prompts: list[Hashable] = [j.prompt for j in judged for _ in j.outcomes]
    return Effect(label, win_rate(outcomes, prompts, resamples=RESAMPLES), len(judged), key)


def _parts(
    judged: Sequence[Judged],
    key_of: Callable[[Judged], Any],
    label: Callable[[Any], str],
    order: Callable[[Any], Any] | None = None,
) -> list[Effect]:
    """An effect for each key, in `order`, or else those with the most comparisons first."""
    groups: dict[Any, list[Judged]] = {}
    for j in judged:
        groups.setdefault(key_of(j), []).append(j)
    keys = sorted(groups, key=order or (lambda key: (-len(groups[key]), str(key))))
    return [effect(label(key), groups[key], key) for key in keys[:SHOWN]]


def agreement_levels(rankings: Iterable[tuple[int | None, Tiers]]) -> dict[int, str]:
    """How far the judges of each task agree: the share of (two judges, two answers) that have the same outcome.

    1: all agree; two thirds or more: most; less: divided. A task with one judgement is not in it.
    """
    by_task: dict[int, list[Tiers]] = {}
    for task, tiers in rankings:
        if task is not None:
            by_task.setdefault(task, []).append(tiers)
    levels = {}
    for task, found in by_task.items():
        same = [
            x == y
            for one, other in combinations(found, 2)
            for a, b in combinations(sorted({pk for tier in one for pk in tier}), 2)
            if (x := outcome(one, a, b)) is not None and (y := outcome(other, a, b)) is not None
        ]
        if same:
            share = sum(same) / len(same)
            levels[task] = AGREEMENT[0] if share == 1 else AGREEMENT[1] if share >= 2 / 3 else AGREEMENT[2]
    return levels


def _periods(judged: Sequence[Judged]) -> list[Effect]:
    """By the week in which the judgement was made, or by the month when it is more than half a year; oldest first."""
    if not judged:
        return []
    days = [j.at.date() for j in judged]
    by_month = (max(days) - min(days)).days > 7 * WEEKS

    def start(j: Judged) -> date:
        day = j.at.date()
        return day.replace(day=1) if by_month else day - timedelta(days=day.weekday())

    def label(day: date) -> str:
        return f"{day:%B %Y}" if by_month else f"Week of {day:%-d %B %Y}"

    return _parts(judged, start, label, lambda day: day)[-SHOWN:]


def probability(margin: float) -> float:
    """What the reward model gives the answer that people rejected: σ(r_rejected - r_chosen)."""
    return 1 / (1 + math.exp(-margin)) if margin > -700 else 0.0


# Asking people again


def strongest(reward_model: Artifact, count: int) -> list[int]:
    """Ids of the `count` comparisons that it disputes most, among those that were not sent to people before."""
    asked = set(Repeat.objects.filter(reward_model=reward_model).values_list("comparison", flat=True))
    return [j.pk for j in effects_of(reward_model).disputed if j.pk not in asked][:count]


def ask_again(reward_model: Artifact, comparisons: Iterable[int], user: User, *, overlap: int = 1) -> list[Task]:
    """Ask other people to rank the answers of these comparisons, which the model orders differently. All or none.

    The tasks stand in the queue "Second opinion"; those who made a comparison are not given its task. A comparison is
    asked again once for a reward model: those that were are passed over. Several comparisons of one task make one.

    Raises ValueError when none is left to be asked.
    """
    project = reward_model.project
    asked = Repeat.objects.filter(reward_model=reward_model, comparison=OuterRef("pk"))
    found = list(
        held_out(project, trained_roots(reward_model))
        .filter(~Exists(asked), pk__in=list(comparisons))
        .select_related("prompt")
        .prefetch_related("completions")
        .order_by("id")
    )
    if not found:
        raise ValueError("All of these were sent to people before, or are not held out. Choose others.")
    groups: dict[tuple[int, frozenset[int]], list[Comparison]] = {}
    for comparison in found:
        groups.setdefault((comparison.prompt_id, frozenset(c.pk for c in comparison.completions.all())), []).append(
            comparison
        )
    try:
        return _send(reward_model, list(groups.values()), user, overlap)
    except IntegrityError as error:
        raise ValueError("Somebody sends the same comparisons at this moment. Look again.") from error


@transaction.atomic
def _send(reward_model: Artifact, groups: list[list[Comparison]], user: User, overlap: int) -> list[Task]:
    """A task for each group of comparisons of the same answers, and what it asks again."""
    project = reward_model.project
    queue = second_opinion_queue(project)
    tasks = add_tasks(queue, [_work(group[0]) for group in groups], overlap=overlap)
    for task, group in zip(tasks, groups, strict=True):
        for comparison in group:
            Repeat.objects.create(task=task, comparison=comparison, reward_model=reward_model, created_by=user)
            record(project, user, "asked again", comparison, task=task.pk, reward_model=reward_model.pk)
    return tasks


def second_opinion_queue(project: Project) -> Queue:
    return find_queue(project, Kind.RANK, SECOND_OPINION)


def _work(comparison: Comparison) -> tuple[Prompt, list[Completion]]:
    by_id = {c.pk: c for c in comparison.completions.all()}
    return comparison.prompt, [by_id[pk] for pk in sorted(by_id)]
