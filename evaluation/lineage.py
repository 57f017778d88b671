"""Follow what an artifact came from down to labels and sources, and say where the thread breaks."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from django.db.models import Count

from annotation.lineage import ancestors, labels_behind
from annotation.models import Completion, DatasetItem
from studio.runs.models import Artifact, Run, hash_directory

FROZEN_TYPES = ("demonstrations", "comparisons", "prompts")


@dataclass
class Lineage:
    """Everything that some artifacts came from; `unresolved` has one sentence for each broken link."""

    labels: int = 0
    runs: int = 0
    artifacts: int = 0
    unresolved: list[str] = field(default_factory=list)


def trace(artifacts: list[Artifact], verify_files: bool = True) -> Lineage:
    """Walk back from `artifacts`. A link is broken when

    - an artifact's files are missing or differ from its sha256 (`verify_files`),
    - it was neither made by a run nor frozen from labels nor brought in with a stated origin,
    - the run that made it lacks a required input or did not succeed,
    - a row of a frozen dataset does not name the label it came from, or
    - a line of a completions artifact is no Completion, or one without a model.
    """
    ids = ancestors([a.pk for a in artifacts])
    rows = Artifact.objects.filter(pk__in=ids).order_by("id")
    found = list(rows.select_related("produced_by").prefetch_related("produced_by__inputs"))
    runs = {a.produced_by for a in found if a.produced_by}
    labels = {label for a in artifacts for label in _label_keys(a)}
    items = dict(
        DatasetItem.objects.filter(artifact__in=ids).values_list("artifact").annotate(n=Count("id")).order_by()
    )
    lineage = Lineage(labels=len(labels), runs=len(runs), artifacts=len(found))
    for artifact in found:
        lineage.unresolved += _problems(artifact, items.get(artifact.pk, 0), verify_files)
    for run in sorted(runs, key=lambda r: r.pk):
        lineage.unresolved += _run_problems(run)
    return lineage


def _label_keys(artifact: Artifact) -> set[tuple[str, int]]:
    behind = labels_behind(artifact)
    return {("demonstration", pk) for pk in behind.demonstrations.values_list("pk", flat=True)} | {
        ("comparison", pk) for pk in behind.comparisons.values_list("pk", flat=True)
    }


def _problems(artifact: Artifact, items: int, verify_files: bool) -> list[str]:
    found = []
    if not artifact.directory.is_dir():
        found.append(f"{_name(artifact)}: its files are missing.")
    elif verify_files and hash_directory(artifact.directory)[0] != artifact.sha256:
        found.append(f"{_name(artifact)}: its files are not those that were registered.")
    if artifact.produced_by is None:
        found += _origin_problems(artifact, items)
    if artifact.kind == Artifact.Kind.COMPLETIONS:
        found += _completion_problems(artifact)
    return found


def _origin_problems(artifact: Artifact, items: int) -> list[str]:
    """Of what no run made: a frozen dataset needs a label for each row, an upload says who brought it."""
    if artifact.metadata.get("uploaded"):
        return []
    if artifact.kind != Artifact.Kind.DATASET or artifact.dataset_type not in FROZEN_TYPES:
        return [f"{_name(artifact)}: no run made it and nothing says where it came from."]
    rows = sum(artifact.metadata.get("counts", {}).values())
    lost = rows - items
    return [f"{_name(artifact)}: {lost} of {rows} rows do not say which label they came from."] if lost > 0 else []


def _completion_problems(artifact: Artifact) -> list[str]:
    lines = _count_lines(artifact.directory / "completions.jsonl")
    known = Completion.objects.filter(artifact=artifact).exclude(model=None).count()
    lost = lines - known
    return [f"{_name(artifact)}: {lost} of {lines} completions are not known with their model."] if lost else []


def _run_problems(run: Run) -> list[str]:
    found = []
    if run.status != Run.Status.SUCCEEDED:
        found.append(f"Run {run} is {run.status}, yet something came from it.")
    given = {i.role for i in run.inputs.all()}
    missing = [role for role, declared in run.recipe.inputs.items() if declared.required and role not in given]
    found += [f"Run {run}: its input '{role}' is not recorded." for role in missing]
    return found


def _count_lines(path: Path) -> int:
    if not path.exists():
        return 0
    with open(path, "rb") as file:
        return sum(1 for line in file if line.strip())


def _name(artifact: Artifact) -> str:
    return f"Artifact {artifact.pk} ({artifact.name})"
