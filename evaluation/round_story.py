"""What a round did and what is next, step by step, for its page and for the list."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Count, Q

from annotation.blindness import hides_result
from annotation.datasets import usable
from annotation.models import Comparison, Review, Split, Task
from annotation.reviews import Judgement, WinRate, judgements_by_review, win_rate_of, win_rates
from evaluation.rounds import OPEN
from studio.models import Membership, Project, Round
from studio.runs.models import Run
from studio.runs.progress import Progress, read_progress


@dataclass(frozen=True)
class Measured:
    """An estimate with its 95 % interval, as a run reported it."""

    value: float
    low: float | None
    high: float | None

    @classmethod
    def read(cls, result: dict[str, Any], name: str, value: float | None = None) -> Measured | None:
        """`result[name]` (or `value`) with `result[name + "_ci"]`; None where the run did not report it."""
        value = result.get(name) if value is None else value
        if not isinstance(value, int | float):
            return None
        low, high = result.get(f"{name}_ci") or (None, None)
        return cls(value, low, high)


def accuracy_of(run: Run | None) -> Measured | None:
    """A reward model's accuracy on held-out comparisons."""
    return Measured.read(run.result, "accuracy") if run else None


def reward_gain_of(run: Run | None) -> Measured | None:
    """PPO's mean reward on held-out prompts, after minus before."""
    if run is None or not {"reward_before", "reward_after"} <= set(run.result):
        return None
    return Measured.read(run.result, "reward_gain", run.result["reward_after"] - run.result["reward_before"])


@dataclass(frozen=True)
class Step:
    """One step: its runs (newest last), how far it is, and whether it is waiting, live, open, failed, done or left."""

    state: str
    runs: list[Run] = field(default_factory=list)
    progress: Progress | None = None
    tasks: int = 0
    tasks_done: int = 0

    @property
    def run(self) -> Run | None:
        return self.runs[-1] if self.runs else None

    @property
    def succeeded(self) -> Run | None:
        return next((run for run in reversed(self.runs) if run.status == Run.Status.SUCCEEDED), None)


@dataclass(frozen=True)
class Story:
    """Everything that a round's page says. `next` names what is to be done: wait, resume, compare, train, judge or
    nothing more."""

    round: Round
    draw: Step
    compare: Step
    reward_model: Step
    ppo: Step
    review_draw: Step
    review: Step
    comparisons: int  # made in this round
    trainable: int  # in the whole project: what the reward model would learn from
    reviewed: Review | None
    judged: int
    rates: list[WinRate]
    is_hidden: bool  # the rates are kept from this reader
    next: str
    stopped: Run | None  # the failed or cancelled run that holds the round up

    @property
    def is_live(self) -> bool:
        return any(run.is_live for step in self._with_runs for run in step.runs)

    @property
    def _with_runs(self) -> tuple[Step, ...]:
        return (self.draw, self.reward_model, self.ppo, self.review_draw)

    @property
    def accuracy(self) -> Measured | None:
        return accuracy_of(self.reward_model.succeeded)

    @property
    def reward_gain(self) -> Measured | None:
        return reward_gain_of(self.ppo.succeeded)

    @property
    def main_rate(self) -> WinRate | None:
        """The new policy against the one that the round started from."""
        pair = {self.round.start_policy_id, self.round.final_policy_id}
        return next((rate for rate in self.rates if {rate.first.pk, rate.second.pk} == pair), None)

    @property
    def version(self) -> str:
        """Changes whenever the page has something to announce."""
        states = [s.state for s in (*self._with_runs, self.compare, self.review)]
        return f"{self.round.status}-{'.'.join(states)}"


def tell(round: Round, membership: Membership) -> Story:
    """Nine queries, whatever the round's size. Who may still judge its review is not told how it stands."""
    runs = list(round.runs.order_by("id"))
    for run in runs:
        run.project = round.project
    tasks = _task_counts(round)
    reviewed = Review.objects.filter(round=round).select_related("queue").order_by("-id").first()
    is_hidden = reviewed is not None and hides_result(membership, reviewed)
    found = judgements_by_review([reviewed])[reviewed.pk] if reviewed else []
    is_over = round.status not in OPEN
    draw = _run_step((r for r in runs if _draws(r, Split.TRAIN)), is_over)
    reward_model = _run_step((r for r in runs if r.recipe_name == "reward_model"), is_over)
    ppo = _run_step((r for r in runs if r.recipe_name == "ppo"), is_over)
    review_draw = _run_step((r for r in runs if _draws(r, Split.TEST)), is_over)
    compare = _work_step(tasks["to_rank"], tasks["ranked"], round.status == Round.Status.COLLECTING, is_over)
    review = _work_step(tasks["to_review"], tasks["reviewed"], round.status == Round.Status.REVIEWING, is_over)
    stopped = _stopped([draw, reward_model, ppo, review_draw]) if not is_over else None
    comparisons = Comparison.objects.filter(round=round, review=None, withdrawn_at=None, surplus=False).count()
    trainable = trainable_comparisons(round.project) if round.status == Round.Status.COLLECTING else 0
    return Story(
        round=round,
        draw=draw,
        compare=compare,
        reward_model=reward_model,
        ppo=ppo,
        review_draw=review_draw,
        review=review,
        comparisons=comparisons,
        trainable=trainable,
        reviewed=reviewed,
        judged=len(found),
        rates=win_rates(reviewed, found) if reviewed and not is_hidden else [],
        is_hidden=is_hidden,
        next=_next(round, runs, stopped, trainable, len(found)),
        stopped=stopped,
    )


def trainable_comparisons(project: Project) -> int:
    """How many comparisons the next reward model learns from: all of the project's that may train."""
    return usable(Comparison.objects.filter(prompt__project=project, review=None)).count()


def _draws(run: Run, split: str) -> bool:
    return run.recipe_name == "sample" and run.config.get("split") == split


def _task_counts(round: Round) -> dict[str, int]:
    closed, withdrawn = Q(status=Task.Status.CLOSED), Q(status=Task.Status.WITHDRAWN)
    rank, review = Q(review=None), Q(review__isnull=False)
    return Task.objects.filter(round=round).aggregate(
        ranked=Count("pk", filter=rank & closed),
        to_rank=Count("pk", filter=rank & ~withdrawn),
        reviewed=Count("pk", filter=review & closed),
        to_review=Count("pk", filter=review & ~withdrawn),
    )


def _run_step(runs: Iterable[Run], is_over: bool) -> Step:
    found = list(runs)
    if not found:
        return Step("left" if is_over else "waiting")
    newest = found[-1]
    if newest.is_live:
        return Step(newest.status, found, read_progress(newest))
    succeeded = any(run.status == Run.Status.SUCCEEDED for run in found)
    return Step("done" if succeeded else newest.status, found)


def _work_step(tasks: int, done: int, is_open: bool, is_over: bool) -> Step:
    if tasks and done == tasks:
        state = "done"
    elif tasks and is_open:
        state = "open"
    elif tasks:
        state = "done" if done else "left"
    else:
        state = "left" if is_over else "waiting"
    return Step(state, tasks=tasks, tasks_done=done)


def _stopped(steps: list[Step]) -> Run | None:
    """The newest run of a step that ended badly and was not made good by another one."""
    bad = (Run.Status.FAILED, Run.Status.CANCELLED)
    return next((step.run for step in reversed(steps) if step.run and step.state in bad), None)


def _next(round: Round, runs: list[Run], stopped: Run | None, trainable: int, judged: int) -> str:
    if round.status not in OPEN:
        return "over"
    if any(run.is_live for run in runs):
        return "wait"
    if stopped:
        return "resume"
    if round.status == Round.Status.COLLECTING:
        return "train" if trainable else "compare"
    if round.status == Round.Status.REVIEWING:
        return "promote" if judged else "judge"
    return "wait"


@dataclass(frozen=True)
class Line:
    """A round in the list."""

    round: Round
    comparisons: int
    accuracy: Measured | None
    reward_gain: Measured | None
    rate: WinRate | None


def lines(rounds: list[Round], membership: Membership) -> list[Line]:
    """Figures of many rounds at once; six queries."""
    runs = Run.objects.filter(round__in=rounds, status=Run.Status.SUCCEEDED).order_by("id")
    newest = {(run.round_id, run.recipe_name): run for run in runs}
    made = Comparison.objects.filter(round__in=rounds, review=None, withdrawn_at=None, surplus=False).order_by()
    comparisons = dict(made.values_list("round").annotate(n=Count("pk")))
    judged = _judged(rounds, membership)
    return [
        Line(
            round,
            comparisons.get(round.pk, 0),
            accuracy_of(newest.get((round.pk, "reward_model"))),
            reward_gain_of(newest.get((round.pk, "ppo"))),
            _rate(round, judged.get(round.pk, [])),
        )
        for round in rounds
    ]


def _judged(rounds: list[Round], membership: Membership) -> dict[int, list[Judgement]]:
    reviews = Review.objects.filter(round__in=rounds).order_by("id")
    reviews = [review for review in reviews if not hides_result(membership, review)]
    found = judgements_by_review(reviews) if reviews else {}
    return {review.round_id: found[review.pk] for review in reviews}


def _rate(round: Round, found: list[Judgement]) -> WinRate | None:
    return win_rate_of(found, round.final_policy, round.start_policy) if round.final_policy else None
