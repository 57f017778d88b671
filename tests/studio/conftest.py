"""Runs and artifacts as they lie in the database and on disk, written through the run contract."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from studio.models import Project, User
from studio.runs import registry
from studio.runs.directory import RunDirectory, make_run_directory
from studio.runs.models import Artifact, Run
from tests import counting
from training.recipes import pretrain, sft, tokenizer

RECIPES = {recipe.name: recipe for recipe in (counting.RECIPE, tokenizer.RECIPE, pretrain.RECIPE, sft.RECIPE)}


@pytest.fixture
def known_recipes(monkeypatch) -> dict[str, Any]:
    monkeypatch.setattr(registry, "recipes", lambda: RECIPES)
    return RECIPES


@pytest.fixture
def unsent(monkeypatch) -> list[int]:
    """Queued runs, instead of messages to workers that no view test has."""
    sent: list[int] = []
    monkeypatch.setattr("studio.runs.tasks.execute_run.apply_async", lambda args, **_: sent.append(args[0]))
    return sent


@pytest.fixture
def make_run(known_recipes) -> Callable[..., Run]:
    def make(
        project: Project,
        user: User,
        status: str = "running",
        title: str = "Count to ten",
        recipe: str = "count",
        **fields,
    ) -> Run:
        config = fields.pop("config", {"steps": 10})
        run = Run.objects.create(
            project=project, created_by=user, status=status, title=title, recipe_name=recipe, queue="cpu",
            config=config, **fields,
        )  # fmt: skip
        shutil.rmtree(run.directory, ignore_errors=True)  # of a test before, whose rows were rolled back
        make_run_directory(run.directory, RECIPES[recipe], config)
        run.config = json.loads((run.directory / "config.json").read_text())["config"]
        run.save()
        return run

    return make


def opened(run: Run) -> RunDirectory:
    """The run's directory as its recipe sees it."""
    return RunDirectory(run.directory, RECIPES[run.recipe_name])


@pytest.fixture
def make_artifact(project) -> Callable[..., Artifact]:
    """An artifact of the project with the given files ({name: text or rows})."""

    def make(user: User, kind: str, name: str, files: dict[str, Any], **fields: Any) -> Artifact:
        directory: Path = settings.VAR / "uploads" / f"{kind}-{Artifact.objects.count()}-{project.pk}-{id(files)}"
        for file, content in files.items():
            path = directory / file
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, list):
                content = "".join(json.dumps(row) + "\n" for row in content)
            path.write_text(content, encoding="utf8")
        return Artifact.register(fields.pop("project", project), kind, name, directory, user, **fields)

    return make
