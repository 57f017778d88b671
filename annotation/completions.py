"""Read the completions that runs drew into rows, each with its prompt, model and sampling parameters."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Any

from annotation.models import Completion, Prompt
from annotation.prompts import message_key, remember_prompts
from studio.models import Project
from studio.runs.models import Artifact, Run
from training.jsonl import read_jsonl

BATCH = 1000  # rows an INSERT
SAMPLING = ("temperature", "top_p", "max_tokens", "seed", "sample", "dtype")


def import_completions_of(run: Run) -> None:
    """Import every completions artifact that `run` made. Called when a run ends well, perhaps twice."""
    for artifact in run.outputs.filter(kind=Artifact.Kind.COMPLETIONS):
        import_completions(artifact)


def import_completions(artifact: Artifact) -> int:
    """Make each line of the artifact's completions.jsonl a Completion and return how many lines there are.

    Idempotent: a line that was imported before is passed over. A prompt that the project does not know (the prompt
    set came from elsewhere) is added to it. Raises ValueError when the file is broken.
    """
    path = artifact.directory / "completions.jsonl"
    rows = list(read_jsonl(path))
    for number, row in enumerate(rows, 1):
        if not isinstance(row.get("prompt"), list) or not isinstance(row.get("completion"), str):
            raise ValueError(f"{path}, line {number}: a completion needs 'prompt' (messages) and 'completion' (text).")
    prompts = _prompts_of(artifact, rows)
    models = _models_of(artifact.project, rows)
    numbered = iter(enumerate(rows))
    while batch := list(islice(numbered, BATCH)):
        Completion.objects.bulk_create(
            [_completion(artifact, line, row, prompts, models) for line, row in batch], ignore_conflicts=True
        )
    return len(rows)


def _completion(
    artifact: Artifact, line: int, row: dict[str, Any], prompts: dict[str, Prompt], models: dict[int, Artifact]
) -> Completion:
    model = row.get("model") or {}
    sampling = {name: row[name] for name in SAMPLING if name in row}
    known = models.get(model.get("id"))
    if known is None and model.get("name"):
        sampling["model_name"] = model["name"]  # drawn by hand from a model that is no artifact here
    return Completion(
        prompt=prompts[message_key(row["prompt"])],
        text=row["completion"].replace("\0", "\ufffd"),  # PostgreSQL stores no NUL
        model=known,
        run=artifact.produced_by,
        artifact=artifact,
        line=line,
        sampling=sampling,
        finish_reason=row.get("finish_reason") or "",
        tokens=row.get("tokens"),
    )


def _prompts_of(artifact: Artifact, rows: Iterable[dict[str, Any]]) -> dict[str, Prompt]:
    """The project's prompts by content. `prompt_id` is not asked: a prompt set from elsewhere counts differently."""
    wanted = {
        message_key(row["prompt"]): {"messages": row["prompt"], "cluster": row.get("cluster") or ""} for row in rows
    }
    return remember_prompts(artifact.project, wanted, artifact.created_by, source=artifact.name)


def _models_of(project: Project, rows: Iterable[dict[str, Any]]) -> dict[int, Artifact]:
    ids = {row["model"]["id"] for row in rows if isinstance((row.get("model") or {}).get("id"), int)}
    return {a.pk: a for a in Artifact.objects.filter(project=project, pk__in=ids, kind=Artifact.Kind.MODEL)}
