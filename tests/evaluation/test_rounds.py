"""A round's way: who may start one and when, what each step leads to, what promotion and closing change."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connections

from annotation.models import Comparison, Kind, Task
from annotation.prompts import import_prompts
from annotation.tasks import find_queue
from evaluation import rounds
from studio.models import Project, Round
from studio.runs.models import Artifact, Run
from studio.runs.submit import submit_run
from tests import showcase
from tests.postgres import on_postgres, postgres_server  # noqa: F401
from tests.showcase import finish, rank_all

VALUES = {"completions_per_prompt": 3, "answers_per_task": 3}


@pytest.fixture
def policy(project, engineer) -> Artifact:
    """The project's policy, with eight training prompts and four held-out ones to answer."""
    return make_policy(project, engineer)


def make_policy(project: Project, engineer) -> Artifact:
    verbs = {
        "train": ("sort", "reverse", "copy", "slice", "join", "zip", "map", "sum"),
        "test": ("pop", "index", "fill", "cut"),
    }
    rows = [
        {"messages": [{"role": "user", "content": f"How do I {verb} a list?"}], "split": split}
        for split, some in verbs.items()
        for verb in some
    ]
    import_prompts(project, rows, engineer)
    model = finish(submit_run(project, engineer, "import_model", {"source": "builtin:smollm2"}, {}, "SmolLM2"))
    Project.objects.filter(pk=project.pk).update(policy=model)
    return model


@pytest.fixture
def round(project, policy, engineer) -> Round:
    return rounds.start_round(project, engineer, VALUES)


def to_review(round: Round, engineer, annotator) -> Round:
    """Draw, rank, train, and draw the review's answers."""
    finish(round.runs.get())
    rank_all(find_queue(round.project, Kind.RANK), annotator)
    finish(rounds.train_round(round, engineer))
    finish(round.runs.get(recipe_name="ppo"))
    finish(round.runs.filter(recipe_name="sample").latest("id"))
    round.refresh_from_db()
    return round


def test_a_round_starts_by_drawing_answers_of_the_policy_to_training_prompts(round, policy):
    run = round.runs.get()
    assert (round.number, round.status, round.start_policy) == (1, "collecting", policy)
    assert (run.recipe_name, run.config["split"], run.config["completions_per_prompt"]) == ("sample", "train", 3)
    assert [i.artifact for i in run.inputs.filter(role="models")] == [policy]


def test_without_a_policy_there_is_nothing_to_start_from(project, engineer):
    with pytest.raises(ValueError, match="Promote a model first"):
        rounds.start_round(project, engineer, {})


def test_one_round_at_a_time(round, project, engineer):
    with pytest.raises(ValueError, match="Round 1 is still under way"):
        rounds.start_round(project, engineer, VALUES)
    assert project.rounds.count() == 1 and Run.objects.filter(recipe_name="sample").count() == 1


def test_bad_values_and_foreign_models_are_named(project, policy, engineer):
    with pytest.raises(ValueError, match="Answers a ranking: 1 must be at least 2"):
        rounds.start_round(project, engineer, {"answers_per_task": 1})
    with pytest.raises(ValueError, match="there is no model artifact 987 in this project"):
        rounds.start_round(project, engineer, {"review_also": "987"})
    assert not project.rounds.exists()


def test_each_step_leads_to_the_next(round, policy, engineer, annotator):
    finish(round.runs.get())
    # 8 training prompts, 3 answers each, 3 a task: one task a prompt, none about the held-out ones.
    tasks = Task.objects.filter(round=round, review=None)
    assert tasks.count() == 8 and set(tasks.values_list("prompt__split", flat=True)) == {"train"}
    rank_all(find_queue(round.project, Kind.RANK), annotator, leave=2)
    reward_model = rounds.train_round(round, engineer)
    frozen = reward_model.inputs.get(role="dataset").artifact
    assert frozen.items.exclude(comparison=None).values("comparison").distinct().count() <= 6
    finish(reward_model)
    ppo = round.runs.get(recipe_name="ppo")
    assert ppo.inputs.get(role="reward_model").artifact == reward_model.outputs.get()
    assert ppo.inputs.get(role="model").artifact == policy
    finish(ppo)
    round.refresh_from_db()
    assert round.final_policy == ppo.outputs.get() and round.status == "training"
    draw = round.runs.filter(recipe_name="sample").latest("id")
    assert draw.config["split"] == "test"
    assert [i.artifact for i in draw.inputs.filter(role="models")] == [policy, round.final_policy]
    finish(draw)
    round.refresh_from_db()
    assert round.status == "reviewing" and round.reviews.get().tasks.count() == 4  # the held-out prompts


def test_several_answers_a_prompt_are_judged_one_of_each_model_at_a_time(project, policy, engineer, annotator):
    round = rounds.start_round(project, engineer, VALUES | {"review_answers": 3})
    to_review(round, engineer, annotator)
    draw = round.runs.filter(recipe_name="sample").latest("id")
    assert (draw.config["split"], draw.config["completions_per_prompt"]) == ("test", 3)
    tasks = round.reviews.get().tasks.prefetch_related("completions")
    assert tasks.count() == 12, "4 held-out prompts"
    assert all({c.model for c in task.completions.all()} == {policy, round.final_policy} for task in tasks)
    assert len({c.pk for task in tasks for c in task.completions.all()}) == 24


def test_training_needs_comparisons_and_leaves_the_round_as_it_was(round, engineer):
    finish(round.runs.get())
    with pytest.raises(ValueError, match="no comparison to freeze"):
        rounds.train_round(round, engineer)
    round.refresh_from_db()
    assert round.status == "collecting" and round.runs.count() == 1


def test_training_waits_for_the_answers_being_drawn(round, engineer):
    with pytest.raises(ValueError, match="Answers are still being drawn"):
        rounds.train_round(round, engineer)


def test_training_twice_is_refused(round, engineer, annotator):
    finish(round.runs.get())
    rank_all(find_queue(round.project, Kind.RANK), annotator)
    seen_by_another = Round.objects.get(pk=round.pk)
    finish(rounds.train_round(round, engineer))
    Run.objects.filter(round=round).update(status="succeeded")
    with pytest.raises(ValueError, match="Round 1 is training now; reload the page"):
        rounds.train_round(seen_by_another, engineer)
    assert round.runs.filter(recipe_name="reward_model").count() == 1


def test_promotion_makes_the_new_policy_the_next_rounds_start(round, project, engineer, annotator):
    to_review(round, engineer, annotator)
    rounds.promote(round, engineer)
    project.refresh_from_db()
    assert project.policy == round.final_policy and round.status == "promoted"
    choice = project.policy_choices.get()
    assert (choice.policy, choice.round, choice.chosen_by) == (round.final_policy, round, engineer)
    assert choice.replaced == round.start_policy
    assert not Task.objects.filter(round=round, status="open").exists()  # nobody is asked to judge any more
    second = rounds.start_round(project, engineer, VALUES)
    assert (second.number, second.start_policy) == (2, round.final_policy)
    with pytest.raises(ValueError, match="Round 1 is promoted now"):
        rounds.promote(round, engineer)


def test_a_round_is_promoted_only_in_review(round, engineer, project, policy):
    with pytest.raises(ValueError, match="Round 1 is collecting comparisons now"):
        rounds.promote(round, engineer)
    project.refresh_from_db()
    assert project.policy == policy


def test_closing_keeps_the_policy_and_labels_and_stops_the_work(round, project, policy, engineer, annotator):
    finish(round.runs.get())
    rank_all(find_queue(project, Kind.RANK), annotator, leave=3)
    reward_model = rounds.train_round(round, engineer)
    rounds.close(round, "The answers were too short to compare. ")
    round.refresh_from_db()
    project.refresh_from_db()
    reward_model.refresh_from_db()
    assert (round.status, round.note, project.policy) == ("closed", "The answers were too short to compare.", policy)
    assert reward_model.status == "cancelled"
    assert Comparison.objects.filter(round=round).count() == 5  # 8 tasks, 3 left
    assert Task.objects.filter(round=round, status="withdrawn").count() == 3
    with pytest.raises(ValueError, match="Round 1 is over already"):
        rounds.close(round, "again")


def test_a_run_that_ends_after_its_round_leads_nowhere(round, engineer, annotator):
    """A running recipe may finish before it hears of the cancellation."""
    finish(round.runs.get())
    rank_all(find_queue(round.project, Kind.RANK), annotator)
    reward_model = rounds.train_round(round, engineer)
    rounds.close(round, "Enough.")
    finish(reward_model)
    assert not round.runs.filter(recipe_name="ppo").exists()


def start_together(project: Project, user, times: int = 2) -> list[str]:
    """What each of several simultaneous starts said."""
    barrier = threading.Barrier(times)

    def start(_: int) -> str:
        barrier.wait()
        try:
            return str(rounds.start_round(Project.objects.get(pk=project.pk), user, VALUES))
        except ValueError as error:
            return str(error)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(times) as pool:
        return list(pool.map(start, range(times)))


@pytest.mark.django_db(transaction=True)
def test_of_two_people_who_start_at_once_one_does(project, policy, engineer):
    check_one_started(project, start_together(project, engineer))


@pytest.mark.slow
@pytest.mark.postgres
def test_of_two_people_who_start_at_once_one_does_on_postgres(on_postgres):  # noqa: F811
    from studio.models import User

    project = Project.objects.create(slug="helpdesk", name="Helpdesk")
    engineer = User.objects.create_user("engineer")
    make_policy(project, engineer)
    check_one_started(project, start_together(project, engineer))


def check_one_started(project: Project, said: list[str]) -> None:
    assert project.rounds.count() == 1 and Run.objects.filter(recipe_name="sample").count() == 1
    refused = next(text for text in said if text != "Round 1")
    assert "Round 1" in said and ("at the same moment" in refused or "still under way" in refused)


def test_a_repeated_run_does_not_replace_what_is_reviewed(round, engineer, annotator):
    """Only the first PPO's policy is in the review, so only that one may be promoted."""
    finish(round.runs.get())
    rank_all(find_queue(round.project, Kind.RANK), annotator)
    reward_run = rounds.train_round(round, engineer)
    finish(reward_run)
    first = round.runs.get(recipe_name="ppo")
    again = repeat(first, engineer)
    policy = finish(first)
    finish(again)
    finish(repeat(reward_run, engineer))
    round.refresh_from_db()
    assert round.final_policy == policy
    assert round.runs.filter(recipe_name="sample").count() == 2  # to compare, and to review once
    assert round.runs.filter(recipe_name="ppo").count() == 2  # the repeated reward model led to none


def repeat(run: Run, user) -> Run:
    inputs: dict[str, list[Artifact]] = {}
    for given in run.inputs.all():
        inputs.setdefault(given.role, []).append(given.artifact)
    return submit_run(run.project, user, run.recipe_name, run.config, inputs, round=run.round, repeat_of=run)


def test_answers_too_alike_to_rank_end_the_round_and_keep_the_run(project, policy, engineer, monkeypatch):
    monkeypatch.setattr("tests.showcase._completions", alike(showcase._completions))
    round = rounds.start_round(project, engineer, VALUES)
    drawn = finish(round.runs.get())
    round.refresh_from_db()
    assert (round.status, drawn.kind) == (Round.Status.CLOSED, "completions")
    assert "No prompt has 3 different completions to rank" in round.note


def alike(completions):
    return lambda directory: ({**row, "completion": "The same."} for row in completions(directory))
