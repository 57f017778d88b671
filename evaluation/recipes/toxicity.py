"""Toxic degeneration: continuations of prompts, drawn with vLLM, judged by a named scorer.

Models of one architecture share an engine. Each model's continuations are kept as a checkpoint, so a stopped run draws
only what is missing; they are scored at the end.

    python -m evaluation.recipes.toxicity var/runs/42
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaluation.harness.report import distinct_names, write_report
from evaluation.harness.toxicity import ToxicityPrompt, read_prompts, toxicity_rows
from studio.runs.contract import Input, Recipe, option
from studio.runs.directory import RunDirectory, Stopped, launch, write_json
from studio.runs.model_directory import check_servable
from training.generation import ChatModel, Engine, Request
from training.recipes.sample import engine_groups, request_seed
from training.scorers import PUBLISHED, Scorer, load_scorer

SHIPPED_PROMPTS = Path(__file__).parent.parent / "demo" / "toxicity_prompts.jsonl"


@dataclass(frozen=True)
class ToxicityConfig:
    prompts_file: str = option(
        "",
        "Prompts file",
        'JSONL in the form of RealToxicityPrompts, {"prompt": {"text", "toxicity"}}, or {"text", "toxic"}; empty for '
        "the small set shipped with the studio.",
        path=True,
    )
    limit: int | None = option(None, "Limit", "Prompts of each kind, toxic and other; empty for all.", minimum=1)
    samples_per_prompt: int = option(
        5,
        "Continuations a prompt",
        "The paper draws 25. Only reports with equal numbers compare.",
        minimum=1,
        maximum=256,
    )
    max_tokens: int = option(20, "Longest continuation", unit="tokens", minimum=1, maximum=1024)
    temperature: float = option(1.0, "Temperature", minimum=0.01, maximum=5.0)
    top_p: float = option(0.9, "Top-p", "0.9 as in the paper.", minimum=0.01, maximum=1.0)
    published_scorer: str = option(
        "original",
        "Published scorer",
        "Detoxify's checkpoint to use, downloaded, when no scorer is given as input.",
        choices=tuple(PUBLISHED),
    )
    label: str = option("toxicity", "Label", "Which of the scorer's labels counts as toxic.")
    seed: int = option(0, "Seed", minimum=0)
    dtype: str = option("bfloat16", "Precision", choices=("bfloat16", "float32"), group="Machine")
    kv_cache_gib: float = option(1.0, "Key-value cache", unit="GiB", minimum=0.05, maximum=1024, group="Machine")


RECIPE = Recipe(
    module="evaluation.recipes.toxicity",
    name="toxicity",
    title="Toxicity (RealToxicityPrompts)",
    summary="How toxic a model's continuations are at worst, as judged by a named scorer.",
    stage="bias",
    config=ToxicityConfig,
    inputs={
        "models": Input("model", "Models", "Models of one architecture share an engine.", many=True),
        "scorer": Input(
            "scorer", "Scorer", "Without one, a published Detoxify checkpoint is downloaded.", required=False
        ),
    },
    outputs={"report": "report"},
)


def run(directory: RunDirectory) -> None:
    config = directory.config
    source = Path(config.prompts_file) if config.prompts_file else SHIPPED_PROMPTS
    prompts = _take(read_prompts(source), config.limit)
    scorer = load_scorer(directory.optional_input("scorer") or config.published_scorer)
    if config.label not in scorer.labels:
        raise ValueError(f"Label: {scorer.name} has no label '{config.label}'; it has {', '.join(scorer.labels)}.")
    models = distinct_names(directory.input_info("models"))
    names = [m["name"] for m in models]
    drawn = draw_continuations(directory, names, prompts)
    rows, samples = [], []
    for name in names:
        scores = _score(scorer, config.label, drawn[name])
        rows += toxicity_rows(name, prompts, scores, scorer.name, config.seed)
        samples += _samples(name, prompts, drawn[name], scores)
    title = f"Toxicity of {', '.join(names)}"
    metadata = write_report(
        directory.output("report"),
        "toxicity",
        title,
        models,
        rows,
        samples,
        scorer=scorer.describe(),
        prompts_file=source.name,
        sampling={k: getattr(config, k) for k in ("samples_per_prompt", "max_tokens", "temperature", "top_p", "seed")},
    )
    directory.finish({f"{r.model} {r.task} {r.metric}": r.value for r in rows}, {"report": metadata})


def _take(prompts: list[ToxicityPrompt], limit: int | None) -> list[ToxicityPrompt]:
    """The first `limit` toxic and the first `limit` other prompts."""
    return [p for toxic in (True, False) for p in [q for q in prompts if q.toxic == toxic][:limit]]


def draw_continuations(
    directory: RunDirectory, names: list[str], prompts: list[ToxicityPrompt]
) -> dict[str, list[list[str]]]:
    """Each model's continuations: one list a prompt. Checkpoint n holds those of the first n models drawn."""
    config = directory.config
    latest = directory.latest_checkpoint()
    directory.truncate_to(latest[0] if latest else 0)
    drawn = json.loads((latest[1] / "drawn.json").read_text(encoding="utf8")) if latest else {}
    chats = []
    for path, name in zip(directory.input_list("models"), names, strict=True):
        check_servable(path, name)
        chats.append(ChatModel(path))
    for group in engine_groups(chats):
        missing = [i for i in group if names[i] not in drawn]
        if not missing:
            continue
        directory.progress(len(drawn), len(names), "models", "starting vLLM")
        engine = _open_engine(config, [chats[i] for i in missing], prompts)
        try:
            for i in missing:
                engine.load(chats[i].path)
                drawn[names[i]] = _draw(directory, engine, chats[i], prompts, names[i], (len(drawn), len(names)))
                with directory.checkpoint(len(drawn)) as aside:
                    write_json(aside / "drawn.json", drawn)
                if directory.stop_requested and len(drawn) < len(names):
                    raise Stopped(f"the continuations of {len(drawn)} of {len(names)} models are kept")
        finally:
            engine.close()
    return drawn


def _open_engine(config: ToxicityConfig, chats: list[ChatModel], prompts: list[ToxicityPrompt]) -> Engine:
    longest = max(len(_token_ids(chat, p.text)) for chat in chats for p in prompts)
    length = longest + config.max_tokens
    if length > chats[0].context_length:
        raise ValueError(
            f"The longest prompt and continuation take {length} tokens, but {chats[0].path.name} reads at most "
            f"{chats[0].context_length}: lower the longest continuation or leave long prompts out."
        )
    return Engine(chats[0].path, dtype=config.dtype, max_model_len=length, kv_cache_gib=config.kv_cache_gib)


def _token_ids(chat: ChatModel, text: str) -> list[int]:
    """A prompt is the beginning of a text to go on with, not a question: no chat template, also for chat models."""
    return chat.tokenizer(text)["input_ids"]


def _draw(
    directory: RunDirectory,
    engine: Engine,
    chat: ChatModel,
    prompts: list[ToxicityPrompt],
    name: str,
    progress: tuple[int, int],
) -> list[list[str]]:
    config = directory.config
    k = config.samples_per_prompt
    requests = [
        Request(
            prompt_token_ids=_token_ids(chat, prompt.text),
            temperature=config.temperature,
            top_p=config.top_p,
            max_tokens=config.max_tokens,
            seed=request_seed(config.seed, prompt.text, config.temperature, sample),
            stop_token_ids=chat.stop_token_ids,
        )
        for prompt in prompts
        for sample in range(k)
    ]
    started = reported = time.monotonic()
    texts: dict[int, str] = {}
    tokens = 0
    for index, completion in engine.draw(requests, stop=lambda: directory.stop_requested):
        texts[index] = chat.decode(completion.token_ids)
        tokens += completion.tokens
        if time.monotonic() - reported > 1:
            reported = time.monotonic()
            directory.progress(progress[0] + len(texts) / len(requests), progress[1], "models", name)
    if len(texts) < len(requests):
        raise Stopped(f"in {name}, which starts over; {progress[0]} of {progress[1]} models are kept")
    seconds = time.monotonic() - started
    directory.log_metrics(progress[0] + 1, tokens_per_second=round(tokens / seconds, 1))
    print(f"{name}: {len(texts)} continuations, {tokens} tokens in {seconds:.1f} s", flush=True)
    return [[texts[p * k + sample] for sample in range(k)] for p in range(len(prompts))]


def _score(scorer: Scorer, label: str, continuations: list[list[str]]) -> list[list[float]]:
    """Scores of the continuations alone, without their prompts, in the same shape."""
    flat = iter(scorer.score([text for texts in continuations for text in texts])[label])
    return [[next(flat) for _ in texts] for texts in continuations]


def _samples(
    name: str, prompts: list[ToxicityPrompt], continuations: list[list[str]], scores: list[list[float]]
) -> list[dict[str, Any]]:
    return [
        {"model": name, "prompt": prompt.text, "toxic_prompt": prompt.toxic, "continuations": texts, "scores": values}
        for prompt, texts, values in zip(prompts, continuations, scores, strict=True)
    ]


if __name__ == "__main__":
    launch(RECIPE, run)
