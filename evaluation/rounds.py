"""Rounds: collect comparisons on the promoted policy's answers → reward model → PPO → blind review → promotion.

A round moves on by itself where only a run has to end (`advance`, called inside the transaction that registers a
run's outputs) and waits where people decide: when enough has been compared, and whether to promote.
"""

from __future__ import annotations

import contextlib
import dataclasses
from dataclasses import dataclass
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from annotation import datasets, reviews
from annotation.models import Comparison, Kind, Review, Split, Task
from annotation.tasks import add_ranking_tasks, completions_of, find_queue, withdraw_tasks
from studio.models import Project, Round, User
from studio.policy import promote_policy
from studio.runs.contract import option, parse_config
from studio.runs.control import cancel_run
from studio.runs.models import Artifact, Run
from studio.runs.registry import find_recipe
from studio.runs.submit import submit_run


@dataclass(frozen=True)
class RoundConfig:
    """What the form that starts a round asks."""

    prompts: int = option(
        0, "Prompts", "Training prompts to compare answers on; 0: all.", minimum=0, group="Comparisons"
    )
    completions_per_prompt: int = option(
        4, "Answers drawn a prompt", "From the promoted policy.", minimum=2, maximum=26, group="Comparisons"
    )
    answers_per_task: int = option(
        4, "Answers a ranking", "Ranked side by side in one task.", minimum=2, maximum=9, group="Comparisons"
    )
    overlap: int = option(1, "Overlap", "People who rank each task.", minimum=1, maximum=20, group="Comparisons")
    temperature: float = option(
        1.0, "Temperature", "Of the answers to compare.", minimum=0.1, maximum=2, group="Comparisons"
    )
    max_tokens: int = option(48, "Longest answer", unit="tokens", minimum=1, maximum=4096, group="Comparisons")
    reward_model_epochs: float = option(1.5, "Epochs", minimum=0.1, maximum=100, group="Reward model")
    reward_model_learning_rate: float = option(3e-4, "Learning rate", minimum=0, maximum=1, group="Reward model")
    episodes: int = option(384, "Episodes", "Answers that PPO learns from.", minimum=1, group="PPO")
    ppo_learning_rate: float = option(1e-3, "Learning rate", minimum=0, maximum=1, group="PPO")
    kl_coef: float = option(0.05, "KL coefficient", "What leaving the reference costs.", minimum=0, group="PPO")
    review_answers: int = option(
        1,
        "Answers a prompt",
        "From each model; one of each at a time is compared.",
        minimum=1,
        maximum=26,
        group="Review",
    )
    review_overlap: int = option(1, "Overlap", "People who judge each pair.", minimum=1, maximum=20, group="Review")
    review_also: str = option(
        "", "Also review", "Artifact id of one more model, for example the untuned base.", group="Review"
    )


def start_round(project: Project, user: User, values: dict[str, Any]) -> Round:
    """Begin the next round from the promoted policy: draw answers on the training prompts.

    Raises ConfigError for bad values and ValueError when there is no policy yet or another round is under way.
    """
    config = parse_config(RoundConfig, values)
    if config.review_also:
        _other_model(project, config)
    try:
        with transaction.atomic():
            policy = Project.objects.select_related("policy").get(pk=project.pk).policy
            if policy is None:
                raise ValueError(
                    "Promote a model first: the policy that the round starts from. Its artifact page has the button."
                )
            # Read once: who begins between two reads would be overlooked. At the same moment, the number decides.
            newest = project.rounds.order_by("-number").first()
            if newest and newest.status in OPEN:
                raise ValueError(f"{newest} is still under way. Promote or close it first.")
            round = Round.objects.create(
                project=project,
                number=newest.number + 1 if newest else 1,
                start_policy=policy,
                config=dataclasses.asdict(config),
                created_by=user,
            )
            _draw_answers(round, config, [policy], Split.TRAIN, config.completions_per_prompt, config.prompts)
    except IntegrityError as error:
        raise ValueError("Somebody else started a round at the same moment. Look at it first.") from error
    return round


OPEN = (Round.Status.COLLECTING, Round.Status.TRAINING, Round.Status.REVIEWING)


def train_round(round: Round, user: User) -> Run:
    """Freeze the project's comparisons and train the reward model; PPO and the review's answers follow by themselves.

    Raises ValueError when the round is past that, answers are still being drawn, or there is nothing to train on.
    """
    with transaction.atomic():
        if round.runs.filter(status__in=Run.LIVE).exists():
            raise ValueError("Answers are still being drawn: wait for that run, or cancel it on its page.")
        _move(round, Round.Status.COLLECTING, Round.Status.TRAINING)
        config = config_of(round)
        dataset = datasets.freeze_comparisons(round.project, user, name=f"Comparisons up to round {round.number}")
        return _submit(
            round,
            user,
            "reward_model",
            {"epochs": config.reward_model_epochs, "learning_rate": config.reward_model_learning_rate},
            {"model": [round.start_policy], "dataset": [dataset]},
            f"Reward model of round {round.number}",
        )


def advance(run: Run) -> None:
    """What a round does when one of its runs has ended well; nothing in a round that is past that step."""
    if run.round is None:
        return
    round, config = Round.objects.select_related("project", "start_policy").get(pk=run.round_id), config_of(run.round)
    if run.recipe_name == "sample" and round.status == Round.Status.COLLECTING:
        try:
            add_ranking_tasks(
                find_queue(round.project, Kind.RANK),
                completions_of(run.outputs.get()),
                answers=config.answers_per_task,
                overlap=config.overlap,
                priority=round.number,
                round=round,
                seed=round.number,
            )
        except ValueError as error:  # the run did its work: the answers are kept, the round is over
            close(round, str(error))
    elif round.status != Round.Status.TRAINING:
        return
    elif run.recipe_name == "reward_model":
        if round.runs.filter(recipe_name="ppo", status__in=(*Run.LIVE, Run.Status.SUCCEEDED)).exists():
            return  # a repeated run: the round goes on with the first
        _submit(
            round,
            run.created_by,
            "ppo",
            {"episodes": config.episodes, "learning_rate": config.ppo_learning_rate, "kl_coef": config.kl_coef,
             "temperature": config.temperature, "response_length": config.max_tokens},
            {"model": [round.start_policy], "reward_model": [run.outputs.get()], "prompts": [_prompts(round)]},
            f"PPO of round {round.number}",
        )  # fmt: skip
    elif run.recipe_name == "ppo":
        policy = run.outputs.get()
        if not Round.objects.filter(pk=round.pk, final_policy=None).update(final_policy=policy):
            return  # a repeated run: only the first one's policy is reviewed, so only it may be promoted
        models = [round.start_policy, policy]
        if config.review_also:
            models.insert(0, _other_model(round.project, config))
        _draw_answers(round, config, models, Split.TEST, config.review_answers, 0)
    elif run.recipe_name == "sample" and run.config["split"] == Split.TEST:
        _move(round, Round.Status.TRAINING, Round.Status.REVIEWING)
        reviews.start_review(
            round.project,
            run.created_by,
            f"Review of round {round.number}",
            [i.artifact for i in run.inputs.filter(role="models").select_related("artifact")],
            completions=completions_of(run.outputs.get()),
            per_prompt=config.review_answers,
            overlap=config.review_overlap,
            round=round,
        )


def promote(round: Round, user: User) -> None:
    """Make the round's policy the project's: the next round starts from it. Raises ValueError outside the review."""
    with transaction.atomic():
        _move(round, Round.Status.REVIEWING, Round.Status.PROMOTED, finished_at=timezone.now())
        promote_policy(round, user)
        _stop_work(round)


def close(round: Round, note: str) -> None:
    """End the round without promotion: live runs are cancelled and waiting tasks withdrawn; what was made stays.

    Raises ValueError when it is over already.
    """
    open_round = Round.objects.filter(pk=round.pk, status__in=OPEN)
    with transaction.atomic():
        if not open_round.update(status=Round.Status.CLOSED, note=note.strip(), finished_at=timezone.now()):
            raise ValueError(f"{round} is over already.")
        for run in round.runs.filter(status__in=Run.LIVE):
            with contextlib.suppress(ValueError):  # it ended this moment
                cancel_run(run)
        _stop_work(round)


def _stop_work(round: Round) -> None:
    """Nobody is asked to judge for a round that is over."""
    withdraw_tasks(Task.objects.filter(round=round))
    for review in round.reviews.filter(status=Review.Status.OPEN):
        reviews.close_review(review)


def config_of(round: Round) -> RoundConfig:
    return RoundConfig(**round.config)


@dataclass(frozen=True)
class RoundState:
    """What a round has done so far, for its page."""

    runs: list[Run]
    tasks: int
    tasks_done: int
    comparisons: int
    review: Review | None

    @property
    def sampled(self) -> bool:
        return self.tasks > 0


def state_of(round: Round) -> RoundState:
    tasks = Task.objects.filter(round=round, review=None)
    return RoundState(
        runs=list(round.runs.select_related("created_by").order_by("id")),
        tasks=tasks.count(),
        tasks_done=tasks.filter(status=Task.Status.CLOSED).count(),
        comparisons=Comparison.objects.filter(round=round, review=None, withdrawn_at=None).count(),
        review=Review.objects.filter(round=round).first(),
    )


def _draw_answers(
    round: Round, config: RoundConfig, models: list[Artifact], split: str, per_prompt: int, prompts: int
) -> Run:
    what = "answers to compare" if split == Split.TRAIN else "answers to review"
    return _submit(
        round,
        round.created_by,
        "sample",
        {
            "split": split,
            "max_prompts": prompts,
            "completions_per_prompt": per_prompt,
            "temperatures": [config.temperature],
            "max_tokens": config.max_tokens,
            "seed": round.number,
        },
        {"models": models, "prompts": [_prompts(round)]},
        f"Round {round.number}: {what}",
    )


def _prompts(round: Round) -> Artifact:
    """The round's frozen prompt set, made at its start; later steps of the round use the same one."""
    first = round.runs.filter(recipe_name="sample").order_by("id").first()
    if first is not None:
        return first.inputs.get(role="prompts").artifact
    return datasets.freeze_prompts(round.project, round.created_by, name=f"Prompts of round {round.number}")


def _other_model(project: Project, config: RoundConfig) -> Artifact:
    found = Artifact.objects.filter(project=project, kind=Artifact.Kind.MODEL, pk=int(config.review_also)).first() \
        if config.review_also.isdecimal() else None  # fmt: skip
    if found is None:
        raise ValueError(f"Also review: there is no model artifact {config.review_also} in this project.")
    return found


def _submit(
    round: Round, user: User, recipe: str, values: dict[str, Any], inputs: dict[str, list[Artifact]], title: str
) -> Run:
    find_recipe(recipe)
    return submit_run(round.project, user, recipe, values, inputs, title, round=round)


def _move(round: Round, old: str, new: str, **values: Any) -> None:
    """Change the status by conditional UPDATE. Raises ValueError when somebody else did so meanwhile."""
    if not Round.objects.filter(pk=round.pk, status=old).update(status=new, **values):
        round.refresh_from_db()
        raise ValueError(f"{round} is {round.get_status_display().lower()} now; reload the page.")
    round.status = new
