"""Follow what an artifact came from down to labels and sources, and say where the thread breaks."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from django.db.models import Count, QuerySet

from annotation.lineage import ancestors
from annotation.models import Completion, DatasetItem
from studio.runs.models import Artifact, Run, hash_directory

FROZEN_TYPES = ("demonstrations", "comparisons", "prompts")


@dataclass
class Lineage:
    """Everything that some artifacts came from; `unresolved` has one sentence for each broken link."""

    labels: int = 0
    runs: int = 0
    artifacts: int = 0
    bytes: int = 0
    unresolved: list[str] = field(default_factory=list)


def trace(artifacts: list[Artifact], verify_files: bool = True) -> Lineage:
    """Walk back from `artifacts`. A link is broken when

    - an artifact's files are missing or differ from its sha256 (`verify_files`),
    - it was neither made by a run nor frozen from labels nor brought in with a stated origin,
    - the run that made it lacks a required input or did not succeed,
    - a row of a frozen dataset does not name the label it came from, or
    - a line of a completions artifact is no Completion, or one without a model.
    """
    return examine(ancestors([a.pk for a in artifacts]), verify_files)


def examine(ids: set[int], verify_files: bool = True) -> Lineage:
    """`trace` for a whole ancestry that is known already; five queries."""
    rows = Artifact.objects.filter(pk__in=ids).order_by("id")
    found = list(rows.select_related("produced_by").prefetch_related("produced_by__inputs"))
    runs = {a.produced_by for a in found if a.produced_by}
    items = DatasetItem.objects.filter(artifact__in=ids).order_by()
    counts = Counts(
        items=_rows_with_sources(items),
        completions=dict(
            Completion.objects.filter(artifact__in=ids).exclude(model=None).order_by()
            .values_list("artifact").annotate(n=Count("id"))
        ),
    )  # fmt: skip
    labels = items.aggregate(n=Count("demonstration", distinct=True), m=Count("comparison", distinct=True))
    size = sum(a.size_bytes for a in found)
    lineage = Lineage(labels["n"] + labels["m"], len(runs), len(found), size)
    for artifact in found:
        lineage.unresolved += _problems(artifact, counts, verify_files)
    for run in sorted(runs, key=lambda r: r.pk):
        lineage.unresolved += _run_problems(run)
    return lineage


def _rows_with_sources(items: QuerySet[DatasetItem]) -> dict[int, int]:
    """Rows of each dataset that name what they came from; a row has an item for each ranking that was merged in it."""
    found: dict[int, int] = {}
    for artifact, _, rows in items.values_list("artifact", "split").annotate(n=Count("index", distinct=True)):
        found[artifact] = found.get(artifact, 0) + rows
    return found


@dataclass(frozen=True)
class Counts:
    """Rows by artifact id."""

    items: dict[int, int]  # of frozen datasets
    completions: dict[int, int]  # that name their model


def _problems(artifact: Artifact, counts: Counts, verify_files: bool) -> list[str]:
    found = []
    if not artifact.directory.is_dir():
        found.append(f"{_name(artifact)}: its files are missing.")
    elif verify_files and hash_directory(artifact.directory)[0] != artifact.sha256:
        found.append(f"{_name(artifact)}: its files are not those that were registered.")
    if artifact.produced_by is None:
        found += _origin_problems(artifact, counts.items.get(artifact.pk, 0))
    if artifact.kind == Artifact.Kind.COMPLETIONS:
        found += _completion_problems(artifact, counts.completions.get(artifact.pk, 0))
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


def _completion_problems(artifact: Artifact, known: int) -> list[str]:
    lines = _count_lines(artifact.directory / "completions.jsonl")
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
