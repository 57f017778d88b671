"""Parts of the launcher that a whole run rarely meets."""

import hashlib
import os
import signal
import subprocess
import sys

import pytest
from django.db import OperationalError, connection

from studio.models import Project, User
from studio.runs import launcher, registry
from studio.runs.directory import write_json
from studio.runs.launcher import ClaimLost, Execution, signal_ranks
from studio.runs.models import Run, hash_directory
from tests import counting

ENDED = 2**22 + 1  # above the kernel's largest process id, so never a living one


@pytest.fixture
def execution(db, monkeypatch):
    """A claimed run whose recipe has finished and whose outputs are to be registered."""
    monkeypatch.setattr(registry, "recipes", lambda: {"count": counting.RECIPE})
    user = User.objects.create_user("somebody")
    project = Project.objects.create(slug="counting", name="Counting")
    run = Run.objects.create(project=project, recipe_name="count", title="Count", queue="cpu", created_by=user)
    (run.directory / "output" / "total").mkdir(parents=True, exist_ok=True)
    (run.directory / "output" / "total" / "report.json").write_text("{}")
    write_json(run.directory / "result.json", {"metrics": {"total": 1}, "outputs": {"total": {}}})
    found = Execution(run.pk)
    assert found._claim()
    return found


def conclude(execution: Execution) -> Run:
    execution._conclude(Run.objects.get(pk=execution.run_id), 0)
    return Run.objects.get(pk=execution.run_id)


@pytest.fixture
def sleeper():
    """`sleeper(argument)`: a process with that argument on its command line."""
    started = []

    def start(argument: str) -> subprocess.Popen:
        command = [sys.executable, "-c", "print('here', flush=True); import time; time.sleep(60)", argument]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE))
        assert started[-1].stdout.readline() == b"here\n"  # right after exec the command line is still empty
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_a_rank_that_has_ended_does_not_keep_the_others_from_their_signal(tmp_path, sleeper):
    process = sleeper(str(tmp_path))
    (tmp_path / "ranks").mkdir()
    (tmp_path / "ranks" / "0").write_text(str(ENDED))
    (tmp_path / "ranks" / "1").write_text(str(process.pid))
    signal_ranks(tmp_path, signal.SIGKILL)
    assert process.wait(10) == -signal.SIGKILL


def test_a_process_of_run_42_is_not_taken_for_a_rank_of_run_4(tmp_path, sleeper):
    process = sleeper(str(tmp_path / "42"))
    (tmp_path / "4" / "ranks").mkdir(parents=True)
    (tmp_path / "4" / "ranks" / "0").write_text(str(process.pid))  # the number was given out again
    signal_ranks(tmp_path / "4", signal.SIGKILL)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.5)


def test_hashing_outputs_keeps_the_heartbeat_and_holds_no_transaction(execution, monkeypatch):
    seen = []
    monkeypatch.setattr(execution, "_keep_alive", lambda: seen.append(len(connection.savepoint_ids)))
    run = conclude(execution)
    assert run.status == Run.Status.SUCCEEDED
    assert seen == [0]  # one file below 16 MB; the test's own transaction has no savepoint inside it yet
    output = run.outputs.get()
    digest = hashlib.sha256(b"{}").hexdigest()
    assert output.sha256 == hashlib.sha256(f"{digest}  report.json\n".encode()).hexdigest()
    assert hash_directory(output.directory) == (output.sha256, 2)


def test_a_worker_that_lost_its_claim_while_hashing_registers_nothing(execution):
    Run.objects.filter(pk=execution.run_id).update(worker="another")
    with pytest.raises(ClaimLost):
        execution._conclude(Run.objects.get(pk=execution.run_id), 0)
    run = Run.objects.get(pk=execution.run_id)
    assert (run.status, run.worker, run.outputs.count()) == (Run.Status.RUNNING, "another", 0)


def test_an_apps_error_fails_the_run_instead_of_trying_for_ever(execution, monkeypatch):
    def refuse(run: Run) -> None:
        raise KeyError("line 3")

    monkeypatch.setattr(launcher, "call_on_success", refuse)
    run = conclude(execution)
    assert run.status == Run.Status.FAILED
    assert run.error == "The outputs could not be registered: 'line 3'"
    assert not run.outputs.exists()


def test_a_database_that_is_away_does_not_end_the_training(execution, monkeypatch):
    def away() -> None:
        raise OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(execution, "_keep_alive", away)
    closed = []
    monkeypatch.setattr(launcher.connection, "close", lambda: closed.append(True), raising=False)
    assert execution._heartbeat() is False
    assert closed == [True]


def test_recipes_are_not_told_the_studios_secrets(monkeypatch):
    monkeypatch.setenv("DJANGO_SECRET_KEY", "key")
    monkeypatch.setenv("DATABASE_URL", "postgres://user:password@host/db")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    told = launcher.recipe_environment()
    assert not {"DJANGO_SECRET_KEY", "DATABASE_URL", "REDIS_URL"} & set(told)
    assert told["HF_HUB_OFFLINE"] == "1" and told["STUDIO_SUPERVISED_BY"] == str(os.getpid())
