from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from annotation.models import Completion, Kind, Prompt, Queue
from annotation.prompts import import_prompts
from annotation.tasks import add_demonstration_tasks, add_tasks, find_queue
from studio.models import ApiToken, Project, User
from studio.runs.models import Artifact
from tests.annotation.judging import judge_all
from tests.postgres import on_postgres, postgres_server  # noqa: F401  (fixtures)


@pytest.fixture
def call() -> Callable[..., Any]:
    """`call(user, "GET", "/queues", body)`: the answer of the HTTP API to a program with a token of this user."""

    def send(user: User, method: str, path: str, body: Any = None, **headers: str) -> Any:
        headers |= {"Authorization": f"Bearer {ApiToken.issue(user, 'test')[1]}"}
        text = "" if body is None else json.dumps(body)
        return Client().generic(method, f"/api/v1{path}", text, content_type="application/json", headers=headers)

    return send


@pytest.fixture
def unreachable_label_studio(settings) -> None:
    settings.LABEL_STUDIO_URL = "http://127.0.0.1:9"  # nobody answers there
    settings.LABEL_STUDIO_API_KEY = "key"


@pytest.fixture
def sent(monkeypatch) -> list[tuple]:
    """What was handed to the workers for Label Studio."""
    calls: list[tuple] = []
    for name in ("push", "pull"):
        task = f"annotation.label_studio.tasks.{name}_link.delay"
        monkeypatch.setattr(task, lambda *args, name=name: calls.append((name, *args)))
    return calls


@pytest.fixture
def var(settings, tmp_path: Path) -> Path:
    settings.VAR = tmp_path
    return tmp_path


@pytest.fixture
def make_artifact(project: Project, engineer: User, var: Path) -> Callable[..., Artifact]:
    """An artifact of one small file."""

    def make(kind: str, name: str, files: dict[str, str] | None = None, **fields) -> Artifact:
        directory = var / "made" / f"{kind}-{Artifact.objects.count()}"
        directory.mkdir(parents=True)
        for file, text in (files or {"weights": name}).items():
            (directory / file).write_text(text, encoding="utf8")
        return Artifact.register(project, kind, name, directory, engineer, **fields)

    return make


@pytest.fixture
def prompts(project: Project, engineer: User) -> list[Prompt]:
    """Six questions, the last two held out."""
    rows = [
        {"prompt": f"How do I reverse list number {n}?", "cluster": "lists", "split": "test" if n > 3 else "train"}
        for n in range(6)
    ]
    return import_prompts(project, rows, engineer).prompts


@pytest.fixture
def answers(make_artifact, prompts: list[Prompt]) -> list[list[Completion]]:
    """For each prompt a completion of each of three models."""
    models = [make_artifact("model", name) for name in ("Tortoise", "Hare", "Fox")]
    return [
        [Completion.objects.create(prompt=p, text=f"{p.text} Use way {i}.", model=m) for i, m in enumerate(models)]
        for p in prompts
    ]


@pytest.fixture
def rank_queue(project: Project, prompts: list[Prompt], answers: list[list[Completion]]) -> Queue:
    """Ranking tasks with overlap 2 on the four train prompts."""
    queue = find_queue(project, Kind.RANK)
    add_tasks(queue, list(zip(prompts[:4], answers[:4], strict=True)), overlap=2)
    return queue


@pytest.fixture
def write_queue(project: Project, prompts: list[Prompt]) -> Queue:
    """Demonstration tasks on the four train prompts."""
    queue = find_queue(project, Kind.DEMONSTRATE)
    add_demonstration_tasks(queue, prompts[:4])
    return queue


@pytest.fixture
def disputed(rank_queue: Queue, annotator: User, sme: User) -> Queue:
    """Four tasks on which the annotator and the SME say the opposite."""
    judge_all(rank_queue, annotator, rationale="Shorter is *better*.")
    judge_all(rank_queue, sme, best_first=False)
    return rank_queue
