"""Evaluate language models: lm-eval tasks from local files, and loss on held-out text.

Each (model, task) is one unit of work: finished ones are kept in the checkpoint, so a stopped run goes on with the
next. Everything is read from this machine; no task reaches for the network.

    python -m evaluation.recipes.evaluate var/runs/42
"""

from __future__ import annotations

import json
import math
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from annotation.statistics.intervals import bootstrap_mean, wilson
from evaluation.harness.heldout import TASK as HELDOUT
from evaluation.harness.heldout import heldout_rows
from evaluation.harness.language_model import DTYPES, load_language_model, rolling_loglikelihoods, work_offline
from evaluation.harness.report import Row, distinct_names, write_report
from evaluation.harness.tasks import DEMO_TASKS, SHIPPED_TASKS, local_task, task_manager
from studio.runs.contract import Input, Recipe, option
from studio.runs.directory import RunDirectory, Stopped, launch, read_jsonl, write_json

if TYPE_CHECKING:
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

Z95 = 1.959964  # standard normal quantile of 97.5 %
DOCUMENTS_AT_ONCE = 32


@dataclass(frozen=True)
class EvaluateConfig:
    tasks: tuple[str, ...] = option(
        ("python_mc", "python_cloze"),
        "Tasks",
        "Names of lm-eval tasks. Shipped: python_mc, python_cloze; and lambada_openai, arc_easy, arc_challenge, piqa, "
        "which need a data directory.",
    )
    task_directory: str = option("", "Task directory", "More lm-eval YAML tasks that read local files.", path=True)
    data_directory: str = option(
        "", "Data directory", "Where tasks look for data files that do not lie beside their YAML.", path=True
    )
    num_fewshot: int = option(
        0, "Few-shot examples", "Solved examples shown before each question.", minimum=0, maximum=64
    )
    limit: int | None = option(None, "Limit", "Questions a task; empty for all.", minimum=1)
    heldout_documents: int | None = option(
        200, "Held-out documents", "The corpus's first held-out documents to score; empty for all.", minimum=1
    )
    batch_size: int = option(8, "Batch size", unit="sequences", minimum=1, maximum=1024)
    max_length: int = option(
        1024,
        "Maximum length",
        "The context window used, at most the model's own.",
        unit="tokens",
        minimum=32,
        maximum=131072,
    )
    dtype: str = option("bfloat16", "Precision", choices=DTYPES)
    seed: int = option(0, "Seed", "Chooses the few-shot examples.", minimum=0)


RECIPE = Recipe(
    module="evaluation.recipes.evaluate",
    name="evaluate",
    title="Evaluate",
    summary="Scores models on tasks with known answers and on held-out text, with intervals.",
    stage="evaluate",
    config=EvaluateConfig,
    inputs={
        "models": Input("model", "Models", "The models to compare.", many=True),
        "corpus": Input("corpus", "Corpus", "Its held-out documents give loss and perplexity.", required=False),
    },
    outputs={"report": "report"},
)


def run(directory: RunDirectory) -> None:
    config = directory.config
    models = distinct_names(directory.input_info("models"))
    corpus = directory.optional_input("corpus")
    units = ([HELDOUT] if corpus else []) + list(dict.fromkeys(config.tasks))
    if not units:
        raise ValueError("Nothing to evaluate: name at least one task or give a corpus.")
    work_offline()
    manager = task_manager(_task_directories(config))
    with tempfile.TemporaryDirectory(prefix="datasets-") as cache:
        tasks = {name: _task(manager, name, config, cache) for name in units if name != HELDOUT}
        done = _resume(directory)
        for model, path in zip(models, directory.input_list("models"), strict=True):
            missing = [u for u in units if f"{model['name']}/{u}" not in done]
            if missing:
                _evaluate_model(directory, model["name"], path, missing, tasks, done, len(models) * len(units))
    rows = [row for unit in done.values() for row in unit["rows"]]
    samples = (sample for unit in done.values() for sample in unit["samples"])
    title = f"Evaluation of {', '.join(m['name'] for m in models)}"
    settings = {
        "num_fewshot": config.num_fewshot,
        "limit": config.limit,
        "dtype": config.dtype,
        "max_length": config.max_length,
    }
    metadata = write_report(directory.output("report"), "evaluation", title, models, rows, samples, settings=settings)
    directory.finish({f"{r['model']} {r['task']} {r['metric']}": r["value"] for r in rows}, {"report": metadata})


def _task_directories(config: EvaluateConfig) -> list[Path]:
    own = [Path(config.task_directory)] if config.task_directory else []
    return [d for d in (SHIPPED_TASKS, DEMO_TASKS) if d.is_dir()] + own


def _task(manager: TaskManager, name: str, config: EvaluateConfig, cache: str) -> dict[str, Any]:
    task = local_task(manager, name, Path(config.data_directory) if config.data_directory else None)
    task["dataset_kwargs"]["cache_dir"] = cache
    return task


def _resume(directory: RunDirectory) -> dict[str, dict[str, Any]]:
    """Rows and samples of the units that an earlier attempt finished, by "model/unit"."""
    latest = directory.latest_checkpoint()
    directory.truncate_to(latest[0] if latest else 0)
    return json.loads((latest[1] / "done.json").read_text(encoding="utf8")) if latest else {}


def _evaluate_model(
    directory: RunDirectory,
    name: str,
    path: Path,
    units: list[str],
    tasks: dict[str, dict[str, Any]],
    done: dict[str, dict[str, Any]],
    total: int,
) -> None:
    config = directory.config
    directory.progress(len(done), total, "tasks", f"loading {name}")
    lm = load_language_model(path, config.dtype, config.batch_size, config.max_length)
    for unit in units:
        directory.progress(len(done), total, "tasks", f"{name}: {unit}")
        if unit == HELDOUT:
            rows, samples = _heldout(directory, name, lm)
        else:
            rows, samples = _lm_eval(name, lm, tasks[unit], config)
        done[f"{name}/{unit}"] = {"rows": [row.as_json() for row in rows], "samples": samples}
        step = len(done)
        directory.log_metrics(step, **{f"{row.task} {row.metric}": row.value for row in rows})
        for row in rows:
            print(f"{name}  {row.task}  {row.metric} = {row.value:.4g}  (n = {row.n})", flush=True)
        with directory.checkpoint(step) as aside:
            write_json(aside / "done.json", done)
        directory.progress(step, total, "tasks", f"{name}: {unit}")
        if directory.stop_requested and step < total:
            raise Stopped(f"{step} of {total} tasks are kept")


def _heldout(directory: RunDirectory, name: str, lm: HFLM) -> tuple[list[Row], list[dict[str, Any]]]:
    path = directory.input("corpus") / "heldout.jsonl"
    documents = [d for d in read_jsonl(path) if d["text"].strip()][: directory.config.heldout_documents]
    if not documents:
        raise ValueError("The corpus has no held-out documents: build it with a held-out share above 0.")
    logprobs: list[float] = []
    for start in range(0, len(documents), DOCUMENTS_AT_ONCE):
        logprobs += rolling_loglikelihoods(lm, [d["text"] for d in documents[start : start + DOCUMENTS_AT_ONCE]])
        if directory.stop_requested:
            raise Stopped("in held-out text, which starts over")
    tokens = [len(lm.tok_encode(d["text"])) for d in documents]
    sizes = [len(d["text"].encode("utf8")) for d in documents]
    samples = [
        {"model": name, "task": HELDOUT, "doc_id": d["id"], "loss": -logprob / count, "tokens": count}
        for d, logprob, count in zip(documents, logprobs, tokens, strict=True)
    ]
    return heldout_rows(name, logprobs, tokens, sizes), samples


def _lm_eval(
    name: str, lm: HFLM, task: dict[str, Any], config: EvaluateConfig
) -> tuple[list[Row], list[dict[str, Any]]]:
    import lm_eval
    from lm_eval.tasks import TaskManager

    results = lm_eval.simple_evaluate(
        model=lm,
        tasks=[task],
        num_fewshot=config.num_fewshot,
        limit=config.limit,
        bootstrap_iters=1000,
        log_samples=True,
        task_manager=TaskManager(include_defaults=False),
        random_seed=config.seed,
        numpy_random_seed=config.seed,
        torch_random_seed=config.seed,
        fewshot_random_seed=config.seed,
    )
    label = task["task"]
    return task_rows(name, label, results), [_sample(name, label, s) for s in results["samples"][label]]


def task_rows(model: str, task: str, results: dict[str, Any]) -> list[Row]:
    """Rows from what `simple_evaluate` returned: one a metric and filter."""
    n = results["n-samples"][task]["effective"]
    better = results["higher_is_better"][task]
    rows = []
    for key, value in results["results"][task].items():
        metric, _, filter_name = key.partition(",")
        if not filter_name or metric.endswith("_stderr") or not isinstance(value, int | float):
            continue
        stderr = results["results"][task].get(f"{metric}_stderr,{filter_name}")
        stderr = float(stderr) if isinstance(stderr, int | float) and math.isfinite(stderr) else None
        scores = [s.get(metric) for s in results["samples"][task] if s.get("filter", filter_name) == filter_name]
        low, high = metric_interval(metric, float(value), stderr, scores)
        label = metric if filter_name == "none" else f"{metric} ({filter_name})"
        rows.append(Row(model, task, label, float(value), low, high, stderr, n, better.get(metric)))
    return rows


def metric_interval(
    metric: str, value: float, stderr: float | None, scores: list[Any]
) -> tuple[float | None, float | None]:
    """95 % interval from each document's score: Wilson's for means of zeros and ones; for perplexity, whose scores are
    log-likelihoods, e to the bootstrap interval of their mean; else value ± 1.96 standard errors.
    """
    if scores and all(score in (0, 1) for score in scores) and abs(sum(scores) / len(scores) - value) < 1e-9:
        interval = wilson(sum(scores), len(scores))
        return interval.low, interval.high
    if metric == "perplexity" and scores:
        _, low, high, _, _ = bootstrap_mean(scores)
        return (None, None) if low is None else (math.exp(-high), math.exp(-low))
    if stderr is None:
        return None, None
    return value - Z95 * stderr, value + Z95 * stderr


def _sample(model: str, task: str, sample: dict[str, Any]) -> dict[str, Any]:
    """What a reader of a report looks at: the question, the right answer, what the model made of it, the scores."""
    metrics = {metric: sample[metric] for metric in sample.get("metrics", []) if metric in sample}
    kept = {key: sample[key] for key in ("doc_id", "doc", "target", "filtered_resps")}
    return {"model": model, "task": task, **kept, **metrics}


if __name__ == "__main__":
    launch(RECIPE, run)
