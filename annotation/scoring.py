"""Ask a reward model what it thinks of the answers that people ranked, and take its scores in."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet

from annotation.freezing import write_rows
from annotation.models import Comparison, Completion, DatasetItem, RewardScore, Split
from studio.models import Project, User
from studio.runs.directory import write_json
from studio.runs.models import Artifact, Run
from studio.runs.submit import submit_run
from training.jsonl import read_jsonl

BATCH = 1000  # rows an INSERT


def ranked_completions(project: Project) -> QuerySet[Completion]:
    """The answers that the project's standing comparisons rank."""
    ranked = Comparison.completions.through.objects.filter(
        comparison__in=Comparison.objects.filter(prompt__project=project, withdrawn_at=None).order_by().values("pk")
    )
    return Completion.objects.filter(prompt__project=project, pk__in=ranked.values("completion"))


def unscored(project: Project, reward_model: Artifact) -> QuerySet[Completion]:
    """Those of them that the reward model has not scored yet."""
    scored = RewardScore.objects.filter(model=reward_model).values("completion")
    return ranked_completions(project).exclude(pk__in=scored)


def request_scores(project: Project, reward_model: Artifact, user: User) -> Run:
    """Queue a `score` run over every ranked answer that has no score by this reward model yet.

    Raises ValueError when it is no reward model of the project, when nothing is missing, or a run is under way.
    """
    if reward_model.project_id != project.pk or reward_model.kind != Artifact.Kind.REWARD_MODEL:
        raise ValueError(f"'{reward_model.name}' is not a reward model of this project.")
    live = Run.objects.filter(
        project=project, recipe_name="score", status__in=Run.LIVE, inputs__artifact=reward_model
    ).first()
    if live:
        raise ValueError(f"Run {live.pk} scores answers with this reward model already. Wait for it.")
    missing = unscored(project, reward_model)
    if not missing.exists():
        raise ValueError(f"{reward_model.name} has scored every answer that people ranked.")
    dataset = freeze_completions(project, user, missing, f"Ranked answers to be scored by {reward_model.name}")
    inputs = {"reward_model": [reward_model], "dataset": [dataset]}
    return submit_run(project, user, "score", {}, inputs, f"Scores by {reward_model.name}"[:160])


def freeze_completions(project: Project, user: User, completions: QuerySet[Completion], name: str) -> Artifact:
    """A dataset of these answers with their ids, split as their prompts are. Models and people are not named in it."""
    directory = settings.VAR / "datasets" / str(uuid.uuid4())
    directory.mkdir(parents=True)
    ids: dict[str, list[int]] = {Split.TRAIN: [], Split.TEST: []}
    try:
        for split, written in ids.items():
            found = completions.filter(prompt__split=split).select_related("prompt").order_by("id")
            write_rows(directory / f"{split}.jsonl", _rows(found, written))
        counts = {str(split): len(written) for split, written in ids.items()}
        if not any(counts.values()):
            raise ValueError("There is no answer to freeze.")
        write_json(directory / "dataset.json", {"type": "completions", "counts": counts})
        with transaction.atomic():
            artifact = Artifact.register(
                project, Artifact.Kind.DATASET, name[:160], directory, user, {"type": "completions", "counts": counts}
            )
            DatasetItem.objects.bulk_create(
                [
                    DatasetItem(artifact=artifact, split=split, index=index, completion_id=pk)
                    for split, written in ids.items()
                    for index, pk in enumerate(written)
                ],
                batch_size=BATCH,
            )
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise
    return artifact


def _rows(completions: QuerySet[Completion], written: list[int]) -> Iterator[dict[str, Any]]:
    """The lines of one split; `written` gets their completions' ids."""
    for completion in completions.iterator(chunk_size=BATCH):
        written.append(completion.pk)
        yield {
            "prompt": completion.prompt.messages,
            "completion": [{"role": "assistant", "content": completion.text}],
            "prompt_id": completion.prompt_id,
            "cluster": completion.prompt.cluster,
            "completion_id": completion.pk,
        }


def import_scores_of(run: Run) -> None:
    """Take in what a `score` run measured. Called when a run ends well, perhaps twice."""
    if run.recipe_name == "score":
        reward_model = run.inputs.select_related("artifact").get(role="reward_model").artifact
        for artifact in run.outputs.filter(role="scores"):
            import_scores(artifact, reward_model, run)


def import_scores(artifact: Artifact, reward_model: Artifact, run: Run | None = None) -> int:
    """Make each line of the artifact's scores.jsonl a RewardScore and return how many lines found their completion.

    Idempotent: the first score of a completion by a model stays. A completion that is not (or no longer) in the
    project is passed over. Raises ValueError when the file is broken.
    """
    path = artifact.directory / "scores.jsonl"
    rows = list(read_jsonl(path))
    for number, row in enumerate(rows, 1):
        if not isinstance(row.get("score"), int | float) or not ("completion_id" in row or "artifact" in row):
            raise ValueError(
                f"{path}, line {number}: a score needs 'score' and 'completion_id' (or artifact and line)."
            )
    found = 0
    for start in range(0, len(rows), BATCH):
        batch = rows[start : start + BATCH]
        scores = _scores_by_completion(artifact.project, batch)
        RewardScore.objects.bulk_create(
            [RewardScore(completion_id=pk, model=reward_model, run=run, value=value) for pk, value in scores.items()],
            ignore_conflicts=True,
        )
        found += len(scores)
    return found


def _scores_by_completion(project: Project, rows: list[dict[str, Any]]) -> dict[int, float]:
    """The scores by completion id, of those rows whose completion the project has."""
    of_project = Completion.objects.filter(prompt__project=project).order_by()
    by_id = {row["completion_id"]: row["score"] for row in rows if "completion_id" in row}
    found = {pk: by_id[pk] for pk in of_project.filter(pk__in=by_id).values_list("pk", flat=True)}
    by_line: dict[int, dict[int, float]] = {}
    for row in rows:
        if row.get("artifact") is not None:
            by_line.setdefault(row["artifact"], {})[row["line"]] = row["score"]
    for artifact_id, lines in by_line.items():
        drawn = of_project.filter(artifact=artifact_id, line__in=lines).values_list("pk", "line")
        found |= {pk: lines[line] for pk, line in drawn}
    return found
