"""SIGKILL of every worker process in the middle of pretraining, under the real supervisor, nothing else touched."""

import socket

import psutil
import pytest
from django.conf import settings
from django.db import connection, connections

from studio import services
from studio.models import Project, User
from studio.runs.directory import read_jsonl
from studio.runs.models import Run
from studio.runs.submit import submit_run
from tests.workers import wait_for

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow, pytest.mark.timeout(900)]

TINY = {
    "steps": 40, "hidden_size": 64, "layers": 2, "attention_heads": 2, "sequence_length": 64, "micro_batch_size": 4,
    "gradient_accumulation": 1, "evaluate_every": 20, "evaluation_sequences": 4, "checkpoint_every": 8,
    "sample_every": 20, "sample_tokens": 8, "precision": "fp32",
}  # fmt: skip


@pytest.fixture
def studio_address(monkeypatch):
    """The studio as `manage.py up` runs it, on the test's database."""
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "tests.worker_settings")
    monkeypatch.setenv("TEST_DATABASE", str(connection.settings_dict["NAME"]))
    monkeypatch.setenv("STUDIO_VAR", str(settings.VAR))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with services.running("127.0.0.1", port) as address:
        yield address
    connections.close_all()


def test_pretraining_resumes_by_itself_with_the_same_losses(studio_address):
    project = Project.objects.create(slug="killed", name="Killed")
    user = User.objects.create_user("somebody")
    corpus = wait(submit_run(project, user, "corpus", {"heldout_fraction": 0.02}, {})).outputs.get()
    tokenizer = wait(submit_run(project, user, "tokenizer", {"vocab_size": 512}, {"corpus": [corpus]})).outputs.get()
    inputs = {"corpus": [corpus], "tokenizer": [tokenizer]}
    killed = submit_run(project, user, "pretrain", TINY, inputs)
    wait_for(lambda: len(losses(killed)) >= 12, 120, "twelve steps")
    assert kill_workers_and_recipes() >= 3  # two workers and a rank at least
    wait(killed)
    assert killed.attempt >= 2
    whole = wait(submit_run(project, user, "pretrain", TINY, inputs))
    assert whole.attempt == 1
    assert [step for step, _ in losses(killed)] == list(range(1, 41))
    assert losses(killed) == losses(whole)  # bit for bit
    assert killed.result["val_loss_end"] == whole.result["val_loss_end"]


def losses(run: Run) -> list[tuple[int, float]]:
    return [(row["step"], row["loss"]) for row in read_jsonl(run.directory / "metrics.jsonl") if "loss" in row]


def wait(run: Run) -> Run:
    def over() -> bool:
        run.refresh_from_db()
        return not run.is_live

    wait_for(over, 300, f"the end of {run}")
    assert run.status == Run.Status.SUCCEEDED, run.error
    return run


def kill_workers_and_recipes() -> int:
    """SIGKILL, all at once; supervisor, web server, Redis and beat live on."""
    supervisor = psutil.Process(int((settings.VAR / "supervisord.pid").read_text()))
    workers = ("-A studio worker", "training.recipes.pretrain")
    doomed = [p for p in supervisor.children(recursive=True) if any(w in " ".join(p.cmdline()) for w in workers)]
    for process in doomed:
        process.kill()
    return len(doomed)
