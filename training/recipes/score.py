"""Give completions the reward that a reward model gives them.

    python -m training.recipes.score var/runs/42

What a reward model thinks of the answers that people ranked tells how well it learned from them, and which
comparisons deserve a second look. The reward is the raw one, as in training: σ(r_a - r_b) is then the probability with
which the model prefers a to b (Bradley-Terry). Work is cut into batches in a fixed order; each finished batch is kept
as a checkpoint, so a run that is stopped and started again scores only what is missing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

from studio.runs.contract import Input, Recipe, option
from studio.runs.directory import RunDirectory, Stopped, launch, write_json
from training import language_models, reward_models
from training.chat import encode_answer, encode_prompt
from training.jsonl import read_jsonl

BATCH = 512  # completions between two checkpoints


@dataclass(frozen=True)
class ScoreConfig:
    micro_batch_size: int = option(
        16, "Micro batch", "Dialogues a forward pass.", minimum=1, maximum=4096, group="Machine"
    )
    max_length: int = option(
        2048,
        "Longest dialogue",
        "Prompt and answer; longer ones get no score and are counted. Never more than the model's context.",
        unit="tokens",
        minimum=8,
        maximum=131072,
    )
    precision: str = option(
        "bf16", "Precision", "The head computes in float32 either way.", choices=("bf16", "fp32"), group="Machine"
    )


RECIPE = Recipe(
    module="training.recipes.score",
    name="score",
    title="Score completions",
    summary="Give completions the reward that a reward model gives them.",
    stage="reward_model",
    config=ScoreConfig,
    inputs={
        "reward_model": Input("reward_model", "Reward model"),
        "completions": Input(
            "completions", "Completions as they were drawn", "Of sample runs.", required=False, many=True
        ),
        "dataset": Input(
            "dataset",
            "Completions of the project",
            "Frozen from the database: those that people ranked, for example.",
            dataset_type="completions",
            required=False,
            many=True,
        ),
    },
    outputs={"scores": "dataset"},
)


@dataclass(frozen=True)
class Answer:
    """One completion to score, and by what the studio knows it: its id, or its artifact and line there."""

    prompt: list[dict[str, str]]
    text: str
    known_as: dict[str, Any]


def run(directory: RunDirectory) -> None:
    config: ScoreConfig = directory.config
    answers = load_answers(directory)
    batches = [answers[start : start + BATCH] for start in range(0, len(answers), BATCH)]
    finished = (directory.latest_checkpoint() or (0, None))[0]
    directory.truncate_to(finished)
    if finished < len(batches):
        score_batches(directory, config, batches, finished)
    write_scores(directory, len(answers))


def load_answers(directory: RunDirectory) -> list[Answer]:
    """Every completion of the inputs, once each, in the order of the files.

    Raises ValueError when there is none, or a row lacks its prompt, its text or its id.
    """
    answers: dict[str, Answer] = {}
    for path, info in zip(directory.input_list("completions"), directory.input_info("completions"), strict=True):
        for line, row in enumerate(read_jsonl(path / "completions.jsonl")):
            answers[f"{path}:{line}"] = _answer(row, {"artifact": info["id"], "line": line}, f"{path}, line {line + 1}")
    for path in directory.input_list("dataset"):
        for split in ("train", "test"):
            file = path / f"{split}.jsonl"
            for line, row in enumerate(read_jsonl(file) if file.is_file() else [], start=1):
                if not isinstance(row.get("completion_id"), int):
                    raise ValueError(
                        f"{file}, line {line}: 'completion_id' is missing, so its score would be nobody's."
                    )
                known_as = {"completion_id": row["completion_id"]}
                answers[str(row["completion_id"])] = _answer(row, known_as, f"{file}, line {line}")
    if not answers:
        raise ValueError("There is nothing to score: give completions, or a dataset of the project's completions.")
    return list(answers.values())


def _answer(row: dict[str, Any], known_as: dict[str, Any], where: str) -> Answer:
    text = row.get("completion")
    if isinstance(text, list) and len(text) == 1 and isinstance(text[0], dict):  # TRL's: one assistant message
        text = text[0].get("content")
    if not row.get("prompt") or not isinstance(row["prompt"], list) or not isinstance(text, str):
        raise ValueError(f"{where}: a completion needs 'prompt' (messages) and 'completion' (text or one message).")
    return Answer(row["prompt"], text, known_as)


def score_batches(directory: RunDirectory, config: ScoreConfig, batches: list[list[Answer]], finished: int) -> None:
    """Score every batch that has no checkpoint yet; checkpoint n holds batch n (counted from 1)."""
    total = sum(map(len, batches))
    directory.progress(sum(map(len, batches[:finished])), total, "completions", "loading the reward model")

    import torch

    dtype = torch.bfloat16 if config.precision == "bf16" else torch.float32
    model, tokenizer, _ = reward_models.load_reward_model(directory.input("reward_model"), dtype)
    model.to(language_models.device())
    longest = min(config.max_length, getattr(model.config, "max_position_embeddings", None) or config.max_length)
    for number, batch in enumerate(batches[finished:], start=finished + 1):
        if directory.stop_requested:
            raise Stopped(f"{number - 1} of {len(batches)} batches are kept; starting again scores the rest.")
        rows = score_batch(model, tokenizer, batch, longest, config.micro_batch_size)
        scored = [row["score"] for row in rows if row["score"] is not None]
        with directory.checkpoint(number, keep=number) as aside:
            _write_jsonl(aside / "scores.jsonl", rows)
        if scored:
            directory.log_metrics(number, score=round(fmean(scored), 5), dropped=len(rows) - len(scored))
        directory.progress(sum(map(len, batches[:number])), total, "completions")


def score_batch(
    model: Any, tokenizer: Any, batch: list[Answer], longest: int, micro_batch_size: int
) -> list[dict[str, Any]]:
    """A row for each answer; `score` is None for one that is too long. Equal dialogues are computed once."""
    encoded = [
        tuple(encode_prompt(tokenizer, answer.prompt) + encode_answer(tokenizer, answer.text)) for answer in batch
    ]
    distinct = list(dict.fromkeys(ids for ids in encoded if len(ids) <= longest))
    scores = reward_models.score_dialogues(
        model, [list(ids) for ids in distinct], tokenizer.pad_token_id, micro_batch_size
    )
    known = dict(zip(distinct, scores, strict=True))
    return [{**answer.known_as, "score": known.get(ids)} for answer, ids in zip(batch, encoded, strict=True)]


def write_scores(directory: RunDirectory, total: int) -> None:
    """Join the batches into the output: scores.jsonl, one object a completion that has a score."""
    rows = [row for checkpoint in directory.checkpoints() for row in read_jsonl(checkpoint / "scores.jsonl")]
    assert len(rows) == total, (len(rows), total)
    scored = [row for row in rows if row["score"] is not None]
    if not scored:
        raise ValueError("Every dialogue is longer than the longest that is scored: raise it, if the model allows.")
    output = directory.output("scores")
    _write_jsonl(output / "scores.jsonl", scored)
    counts = {"scores": len(scored)}
    write_json(output / "dataset.json", {"type": "scores", "counts": counts})
    values = [row["score"] for row in scored]
    metrics = {
        "completions": len(scored),
        "dropped": total - len(scored),
        "score_mean": fmean(values),
        "score_std": pstdev(values),
        "score_min": min(values),
        "score_max": max(values),
    }
    reward_model = directory.input_info("reward_model")[0]
    name = f"Scores by {reward_model['name']}"[:160]
    metadata = {"name": name, "type": "scores", "counts": counts, "reward_model": reward_model["id"]}
    directory.finish(metrics, {"scores": metadata})


def _write_jsonl(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf8")


if __name__ == "__main__":
    launch(RECIPE, run)
