"""Runs through real Redis, Celery and recipe processes; workers are killed in the middle."""

import json
import re

import pytest
from django.core.management import CommandError, call_command

from studio.models import Membership, Project, Role, User
from studio.runs import registry
from studio.runs.contract import ConfigError
from studio.runs.control import cancel_run, resume_run
from studio.runs.directory import read_jsonl
from studio.runs.models import Artifact, Run
from studio.runs.submit import submit_run
from tests import counting
from tests.workers import Workers, private_redis, wait_for

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def counted(monkeypatch):
    monkeypatch.setattr(registry, "recipes", lambda: {"count": counting.RECIPE})


@pytest.fixture
def project():
    return Project.objects.create(slug="counting", name="Counting")


@pytest.fixture
def user():
    return User.objects.create_user("somebody")


def reach(run: Run, *statuses: str, seconds: float = 60, workers: Workers | None = None) -> Run:
    def there() -> bool:
        run.refresh_from_db()
        return run.status in statuses

    try:
        wait_for(there, seconds)
    except AssertionError:
        raise AssertionError(f"{run.status}: {run.error}\n{workers.log() if workers else ''}") from None
    return run


def steps(run: Run) -> list[int]:
    return [row["step"] for row in read_jsonl(run.directory / "metrics.jsonl")]


def test_a_run_ends_with_metrics_and_a_registered_output(counted, project, user, workers):
    run = submit_run(project, user, "count", {"steps": "4"}, {})
    reach(run, Run.Status.SUCCEEDED, Run.Status.FAILED, workers=workers)
    assert run.status == Run.Status.SUCCEEDED, run.error
    assert run.result == {"total": 10}  # 1 + 2 + 3 + 4
    output = run.outputs.get()
    assert (output.kind, output.role, output.name) == ("report", "total", "Sum to 4")
    assert json.loads((output.directory / "report.json").read_text()) == {"total": 10}


def test_a_failure_is_told_in_the_recipes_own_words_and_nothing_is_registered(counted, project, user, workers):
    run = submit_run(project, user, "count", {"fail_at": 3}, {})
    reach(run, Run.Status.FAILED, workers=workers)
    assert run.error == "Step 3 was told to fail; choose another 'Fail at'."
    assert steps(run) == [1, 2]
    assert not run.outputs.exists()


def test_sigkill_of_the_workers_resumes_by_itself_and_logs_each_step_once(counted, project, user, workers):
    run = submit_run(project, user, "count", {"steps": 60, "seconds_a_step": 0.1, "checkpoint_every": 7}, {})
    wait_for(lambda: len(steps(run)) >= 12, what="twelve steps")
    workers.kill()
    workers.start()  # as the supervisor does
    reach(run, Run.Status.SUCCEEDED, Run.Status.FAILED, seconds=90, workers=workers)
    assert run.status == Run.Status.SUCCEEDED, run.error
    assert run.attempt == 2
    assert steps(run) == list(range(1, 61))
    assert run.result == {"total": 1830}  # 60 · 61 / 2


def test_cancel_saves_a_checkpoint_and_resume_goes_on_from_it(counted, project, user, workers):
    values = {"steps": 40, "seconds_a_step": 0.1, "checkpoint_every": 1000}
    run = submit_run(project, user, "count", values, {})
    wait_for(lambda: len(steps(run)) >= 3, what="three steps")
    cancel_run(run)
    reach(run, Run.Status.CANCELLED, workers=workers)
    done = len(steps(run))
    assert 3 <= done < 40
    resume_run(run)
    reach(run, Run.Status.SUCCEEDED, workers=workers)
    assert steps(run) == list(range(1, 41))


def test_a_run_that_ignores_its_cancel_is_killed_after_the_grace_period(counted, project, user, workers):
    workers.kill()
    workers.environment["RUN_GRACE_SECONDS"] = "2"
    workers.start()
    values = {"steps": 600, "seconds_a_step": 0.1, "ignore_stop": True, "checkpoint_every": 1000}
    run = submit_run(project, user, "count", values, {})
    wait_for(lambda: len(steps(run)) >= 1, what="a first step")
    cancel_run(run)
    reach(run, Run.Status.CANCELLED, seconds=20, workers=workers)
    assert len(steps(run)) < 200


def test_stopping_the_worker_hands_the_run_to_the_next_one(counted, project, user, workers):
    run = submit_run(project, user, "count", {"steps": 50, "seconds_a_step": 0.1, "checkpoint_every": 1000}, {})
    wait_for(lambda: len(steps(run)) >= 3, what="three steps")
    workers.stop()
    reach(run, Run.Status.QUEUED, seconds=5, workers=workers)
    saved = len(steps(run))
    workers.start()
    reach(run, Run.Status.SUCCEEDED, workers=workers)
    assert steps(run) == list(range(1, 51)) and saved < 50


def test_a_queued_run_is_cancelled_at_once(counted, project, user):
    with private_redis():
        run = submit_run(project, user, "count", {}, {})
    cancel_run(run)
    run.refresh_from_db()
    assert run.status == Run.Status.CANCELLED
    with pytest.raises(ValueError, match="over"):
        cancel_run(run)


def test_bad_values_and_inputs_are_refused_with_a_sentence_each(counted, project, user, tmp_path):
    other = Project.objects.create(slug="other", name="Other")
    (tmp_path / "x").write_text("x")
    tokenizer = Artifact.objects.create(
        project=project, kind="tokenizer", name="bytes", path="nowhere", sha256="0" * 64, size_bytes=1, created_by=user
    )
    foreign = Artifact.objects.create(
        project=other, kind="corpus", name="theirs", path="nowhere", sha256="0" * 64, size_bytes=1, created_by=user
    )
    with pytest.raises(ConfigError) as caught:
        submit_run(project, user, "count", {"step": 3, "seconds_a_step": "-1"}, {"start": [tokenizer], "end": []})
    assert caught.value.errors == {
        "step": "Unknown setting 'step': did you mean 'steps'?",
        "seconds_a_step": "Seconds a step: -1 must be at least 0.",
        "input:end": "Count has no input 'end'; its inputs: start.",
        "input:start": "Start takes an artifact of kind corpus, but 'bytes' is tokenizer. Choose another one.",
    }
    with pytest.raises(ConfigError) as caught:
        submit_run(project, user, "count", {}, {"start": [foreign]})
    assert caught.value.errors == {"input:start": "Start: 'theirs' belongs to another project."}
    assert not Run.objects.exists()


def test_the_shell_queues_follows_and_reports_a_run(counted, project, user, workers, capsys):
    Membership.objects.create(project=project, user=user, role=Role.ENGINEER)
    call_command("run", "count", "--project", "counting", "--set", "steps=3", "--wait")
    said = capsys.readouterr().out
    assert "queued: Count" in said and "total: 6" in said and "→ total: Sum to 3" in said
    with pytest.raises(CommandError, match="failed: Step 2 was told to fail"):
        call_command("run", "count", "--project", "counting", "--set", "fail_at=2", "--wait")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["count", "--project", "nowhere"], "There is no project 'nowhere'."),
        (["cuont", "--project", "counting"], "There is no recipe 'cuont'. Recipes: count."),
        (["count", "--project", "counting", "--set", "steps"], "--set takes NAME=VALUE, not 'steps'."),
        (["count", "--project", "counting", "--set", "steps=0"], "Steps: 0 must be at least 1 and at most 10000."),
        (["count", "--project", "counting", "--input", "start=7"], "There is no artifact '7' in project 'counting'."),
        (["count", "--project", "counting", "--user", "nobody"], "Runs are started by an engineer or owner"),
    ],
)
def test_the_shell_refuses_with_the_sentence_of_the_form(counted, project, user, arguments, sentence):
    Membership.objects.create(project=project, user=user, role=Role.ENGINEER)
    with pytest.raises(CommandError, match=re.escape(sentence)):
        call_command("run", *arguments)
    assert not Run.objects.exists()
