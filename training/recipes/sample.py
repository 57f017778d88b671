"""Draw completions for a prompt set from one or several models at several temperatures, with vLLM.

The work is cut into batches of one model, one temperature and at most `BATCH` completions, in a fixed order. Each
finished batch is kept as a checkpoint, so a run that is stopped and started again draws only what is missing.
A completion's random seed is derived from the run's seed, its prompt, temperature and number, not from its model:
two models are compared on the same random numbers, and a repeated run gives the same text.
"""

from __future__ import annotations

import hashlib
import json
import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.runs.contract import Input, Recipe, option
from studio.runs.directory import RunDirectory, Stopped, launch, write_json
from studio.runs.model_directory import check_servable
from training.generation import ChatModel, Drawn, Engine, Request
from training.jsonl import read_jsonl

BATCH = 256  # completions between two checkpoints; vLLM's own default for how many it works on at once


@dataclass(frozen=True)
class SampleConfig:
    split: str = option("test", "Prompts", "Which part of the prompt set.", choices=("train", "test", "both"))
    max_prompts: int = option(
        0, "At most so many prompts", "Drawn from the set with the seed; 0 takes all.", unit="prompts", minimum=0
    )
    completions_per_prompt: int = option(
        1,
        "Completions a prompt",
        "For each model and temperature. At temperature 0 all would be equal, so one is drawn.",
        minimum=1,
        maximum=256,
    )
    temperatures: tuple[float, ...] = option(
        (1.0,), "Temperatures", "0 always takes the likeliest token.", minimum=0.0, maximum=5.0
    )
    top_p: float = option(
        1.0, "Top-p", "Draw from the likeliest tokens that together have this probability.", minimum=0.01, maximum=1.0
    )
    max_tokens: int = option(
        128, "Longest completion", "Longer ones are cut there.", unit="tokens", minimum=1, maximum=131072
    )
    seed: int = option(0, "Seed", "The same seed gives the same completions.", minimum=0)
    dtype: str = option("bfloat16", "Number format", choices=("bfloat16", "float32", "float16"), group="Machine")
    kv_cache_gib: float = option(
        1.0,
        "Key-value cache",
        "More lets more completions be drawn at once.",
        unit="GiB",
        minimum=0.05,
        maximum=1024,
        group="Machine",
    )

    def __post_init__(self) -> None:
        if not self.temperatures:
            raise ValueError("Temperatures: give at least one.")
        if len(set(self.temperatures)) != len(self.temperatures):
            raise ValueError("Temperatures: each may stand there once.")


RECIPE = Recipe(
    module="training.recipes.sample",
    name="sample",
    title="Sample completions",
    summary="Draw completions for a prompt set from one or several models with vLLM.",
    stage="sample",
    config=SampleConfig,
    inputs={
        "prompts": Input("dataset", "Prompts", dataset_type="prompts"),
        "models": Input("model", "Models", "Models of one architecture share an engine.", many=True),
    },
    outputs={"completions": "completions"},
)


@dataclass(frozen=True)
class SampledModel:
    """A model with what the studio knows of it and its prompts as token ids."""

    chat: ChatModel
    info: dict[str, Any]
    prompt_token_ids: list[list[int]]

    @property
    def name(self) -> str:
        return self.info["name"]


@dataclass(frozen=True)
class Batch:
    """Up to `BATCH` completions of one model at one temperature: (prompt index, sample number) each."""

    model: int
    temperature: float
    samples: list[tuple[int, int]]


def run(directory: RunDirectory) -> None:
    config: SampleConfig = directory.config
    prompts = load_prompts(directory.input("prompts"), config)
    models = load_models(directory, prompts)
    groups = plan_batches(engine_groups([model.chat for model in models]), len(prompts), config)
    draw_batches(directory, groups, models, prompts)
    write_completions(directory, groups, models)


def load_prompts(dataset: Path, config: SampleConfig) -> list[dict[str, Any]]:
    """Rows {"prompt", "prompt_id", "cluster"} of the chosen split, train before test."""
    rows = []
    for split in ("train", "test"):
        path = dataset / f"{split}.jsonl"
        if config.split in (split, "both") and path.is_file():
            rows += read_jsonl(path)
    if not rows:
        counts = ", ".join(f"{len(read_jsonl(path))} in {path.stem}" for path in sorted(dataset.glob("*.jsonl")))
        raise ValueError(
            f"The prompt set has no prompts in '{config.split}' (it has {counts or 'none at all'}). "
            "Choose another part or another set."
        )
    for number, row in enumerate(rows, start=1):
        if not row.get("prompt") or not isinstance(row["prompt"], list) or "prompt_id" not in row:
            raise ValueError(
                f"Prompt {number} lacks 'prompt' (a list of messages) or 'prompt_id': give a dataset of type prompts."
            )
    if 0 < config.max_prompts < len(rows):
        # Not the first ones: sets are often ordered by topic.
        chosen = random.Random(config.seed).sample(range(len(rows)), config.max_prompts)
        rows = [rows[i] for i in sorted(chosen)]
    return rows


def load_models(directory: RunDirectory, prompts: list[dict[str, Any]]) -> list[SampledModel]:
    """Check every model before the first engine starts, and turn the prompts into its tokens."""
    models = []
    for path, info in zip(directory.input_list("models"), directory.input_info("models"), strict=True):
        check_servable(path, info["name"])
        chat = ChatModel(path)
        model = SampledModel(chat, info, [chat.encode(row["prompt"]) for row in prompts])
        check_lengths(model, prompts, directory.config.max_tokens)
        models.append(model)
    return models


def check_lengths(model: SampledModel, prompts: list[dict[str, Any]], max_tokens: int) -> None:
    """Raise ValueError unless every prompt and its longest completion fit into the model's context."""
    lengths = [len(ids) for ids in model.prompt_token_ids]
    too_long = [i for i, length in enumerate(lengths) if length + max_tokens > model.chat.context_length]
    if not too_long:
        return
    longest = max(too_long, key=lambda i: lengths[i])
    raise ValueError(
        f"{len(too_long)} of {len(prompts)} prompts are too long for {model.name}: it takes "
        f"{model.chat.context_length} tokens, and prompt {prompts[longest]['prompt_id']} has {lengths[longest]} "
        f"beside the {max_tokens} of its completion. Lower the longest completion or leave these prompts out."
    )


def engine_groups(models: list[ChatModel]) -> list[list[int]]:
    """Indices of the models, those that can share an engine together, in order of first appearance."""
    groups: list[list[int]] = []
    for index, model in enumerate(models):
        for group in groups:
            if models[group[0]].architecture() == model.architecture():
                group.append(index)
                break
        else:
            groups.append([index])
    return groups


def plan_batches(groups: list[list[int]], prompt_count: int, config: SampleConfig) -> list[list[Batch]]:
    """The batches of each group, the order fixed by the config and inputs alone: a resumed run relies on it."""
    return [
        [
            Batch(model, temperature, samples[start : start + BATCH])
            for model in group
            for temperature in config.temperatures
            for samples in [_samples(prompt_count, config.completions_per_prompt if temperature else 1)]
            for start in range(0, len(samples), BATCH)
        ]
        for group in groups
    ]


def _samples(prompt_count: int, completions_per_prompt: int) -> list[tuple[int, int]]:
    return [(prompt, sample) for prompt in range(prompt_count) for sample in range(completions_per_prompt)]


def request_seed(seed: int, prompt_id: Any, temperature: float, sample: int) -> int:
    """31 bits of SHA-256 over what identifies a completion but for its model."""
    digest = hashlib.sha256(json.dumps([seed, str(prompt_id), float(temperature), sample]).encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def draw_batches(
    directory: RunDirectory, groups: list[list[Batch]], models: list[SampledModel], prompts: list[dict[str, Any]]
) -> None:
    """Draw every batch that has no checkpoint yet; checkpoint n holds batch n (counted from 1)."""
    finished = (directory.latest_checkpoint() or (0, None))[0]
    directory.truncate_to(finished)
    total = sum(len(batch.samples) for group in groups for batch in group)
    done = step = 0
    for group in groups:
        missing = [(step + i, batch) for i, batch in enumerate(group, start=1) if step + i > finished]
        step += len(group)
        done += sum(len(batch.samples) for batch in group[: len(group) - len(missing)])
        if not missing:
            continue
        directory.progress(done, total, "completions", "Starting vLLM")
        engine = open_engine([models[batch.model] for batch in group], directory.config)
        try:
            for number, batch in missing:
                engine.load(models[batch.model].chat.path)
                rows, seconds = draw_batch(directory, engine, batch, models[batch.model], prompts, (done, total))
                keep_batch(directory, number, rows, seconds)
                done += len(rows)
        finally:
            engine.close()


def open_engine(models: list[SampledModel], config: SampleConfig) -> Engine:
    """An engine just long enough for the longest prompt of the models that share it."""
    longest = max(len(ids) for model in models for ids in model.prompt_token_ids)
    started = time.monotonic()
    engine = Engine(
        models[0].chat.path,
        dtype=config.dtype,
        max_model_len=longest + config.max_tokens,
        kv_cache_gib=config.kv_cache_gib,
    )
    print(f"vLLM started in {time.monotonic() - started:.1f} s with {models[0].name}", flush=True)
    return engine


def draw_batch(
    directory: RunDirectory,
    engine: Engine,
    batch: Batch,
    model: SampledModel,
    prompts: list[dict[str, Any]],
    progress: tuple[int, int],
) -> tuple[list[dict[str, Any]], float]:
    """The rows of one batch and the seconds they took. `progress`: completions done before, and in all.

    A stop request in the middle of a batch drops what it has drawn: raises Stopped.
    """
    config: SampleConfig = directory.config
    done, total = progress
    note = f"{model.name} at temperature {batch.temperature:g}"
    requests = [
        Request(
            prompt_token_ids=model.prompt_token_ids[prompt],
            temperature=batch.temperature,
            top_p=config.top_p,
            max_tokens=config.max_tokens,
            seed=request_seed(config.seed, prompts[prompt]["prompt_id"], batch.temperature, sample),
            stop_token_ids=model.chat.stop_token_ids,
        )
        for prompt, sample in batch.samples
    ]
    directory.progress(done, total, "completions", note)
    started = reported = time.monotonic()
    drawn: dict[int, Drawn] = {}
    for index, completion in engine.draw(requests, stop=lambda: directory.stop_requested):
        drawn[index] = completion
        if time.monotonic() - reported > 1:
            reported = time.monotonic()
            directory.progress(done + len(drawn), total, "completions", note)
    if len(drawn) < len(requests):
        raise Stopped(f"{done} of {total} completions are kept; starting again draws the rest.")
    seconds = time.monotonic() - started
    directory.progress(done + len(drawn), total, "completions", note)
    rows = [
        completion_row(config, model, prompts[prompt], requests[i], sample, drawn[i])
        for i, (prompt, sample) in enumerate(batch.samples)
    ]
    return rows, seconds


def keep_batch(directory: RunDirectory, number: int, rows: list[dict[str, Any]], seconds: float) -> None:
    """Log batch `number` and keep it as the checkpoint of that number, beside those of the batches before."""
    first = rows[0]
    directory.log_metrics(number, **batch_metrics(rows, seconds))
    directory.log_sample(
        number,
        model=first["model"]["name"],
        temperature=first["temperature"],
        prompt=first["prompt"][-1]["content"],
        text=first["completion"],
    )
    with directory.checkpoint(number, keep=number) as aside:
        write_jsonl(aside / "completions.jsonl", rows)
        write_json(aside / "batch.json", {"seconds": seconds})


def completion_row(
    config: SampleConfig,
    model: SampledModel,
    prompt: dict[str, Any],
    request: Request,
    sample: int,
    drawn: Drawn,
) -> dict[str, Any]:
    return {
        "prompt_id": prompt["prompt_id"],
        "prompt": prompt["prompt"],
        "cluster": prompt.get("cluster", ""),
        "model": {"id": model.info["id"], "name": model.name},
        "completion": model.chat.decode(drawn.token_ids),
        "finish_reason": drawn.finish_reason,
        "tokens": drawn.tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "max_tokens": request.max_tokens,
        "seed": request.seed,
        "sample": sample,
        "dtype": config.dtype,
    }


def batch_metrics(rows: list[dict[str, Any]], seconds: float) -> dict[str, float]:
    """Finished: the model ended its answer itself. Length: tokens drawn, the end token included."""
    tokens = sum(row["tokens"] for row in rows)
    return {
        "completions": len(rows),
        "tokens_per_second": round(tokens / seconds, 1),
        "finished_rate": round(sum(row["finish_reason"] == "stop" for row in rows) / len(rows), 4),
        "length": round(tokens / len(rows), 2),
    }


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf8")


def write_completions(directory: RunDirectory, groups: list[list[Batch]], models: list[SampledModel]) -> None:
    """Join the batches, in the order of the models given, into the output artifact."""
    rows: list[list[dict[str, Any]]] = [[] for _ in models]
    seconds = [0.0] * len(models)
    batches = [batch for group in groups for batch in group]
    for batch, checkpoint in zip(batches, directory.checkpoints(), strict=True):
        rows[batch.model] += read_jsonl(checkpoint / "completions.jsonl")
        seconds[batch.model] += json.loads((checkpoint / "batch.json").read_text())["seconds"]
    everything = [row for model_rows in rows for row in model_rows]
    write_jsonl(directory.output("completions") / "completions.jsonl", everything)
    by_model = [
        {"id": model.info["id"], "name": model.name, **batch_metrics(rows[i], seconds[i])}
        for i, model in enumerate(models)
    ]
    name = f"Completions of {', '.join(model.name for model in models)}"[:160]
    directory.finish(
        {**batch_metrics(everything, sum(seconds)), "models": by_model},
        {"completions": {"name": name, "count": len(everything), "models": by_model}},
    )


if __name__ == "__main__":
    launch(RECIPE, run)
