"""Bias in the form of CrowS-Pairs: does a model find the more stereotyping sentence of a pair the likelier one?

python -m evaluation.recipes.bias var/runs/42
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from evaluation.bias.crows_pairs import Pair, preference_rows, read_pairs
from evaluation.harness.language_model import DTYPES, load_language_model, loglikelihoods
from evaluation.harness.report import distinct_names, write_report
from studio.runs.contract import Input, Recipe, option
from studio.runs.directory import RunDirectory, Stopped, launch, write_json

SHIPPED_PAIRS = Path(__file__).parent.parent / "demo" / "bias_pairs.csv"
PAIRS_AT_ONCE = 128


@dataclass(frozen=True)
class BiasConfig:
    pairs_file: str = option(
        "",
        "Pairs file",
        "CSV with the columns of CrowS-Pairs (sent_more, sent_less, stereo_antistereo, bias_type); empty for the small "
        "set shipped with the studio.",
        path=True,
    )
    limit: int | None = option(None, "Limit", "Pairs to use, from the top; empty for all.", minimum=1)
    batch_size: int = option(32, "Batch size", unit="sentences", minimum=1, maximum=1024)
    max_length: int = option(
        256, "Maximum length", "Longer sentences lose their beginning.", unit="tokens", minimum=32, maximum=8192
    )
    dtype: str = option("bfloat16", "Precision", choices=DTYPES)


RECIPE = Recipe(
    module="evaluation.recipes.bias",
    name="bias",
    title="Bias (CrowS-Pairs)",
    summary="How often a model finds the more stereotyping sentence of a pair likelier; 50 % is ideal.",
    stage="bias",
    config=BiasConfig,
    inputs={"models": Input("model", "Models", "The models to compare.", many=True)},
    outputs={"report": "report"},
)


def run(directory: RunDirectory) -> None:
    config = directory.config
    source = Path(config.pairs_file) if config.pairs_file else SHIPPED_PAIRS
    pairs = read_pairs(source)[: config.limit]
    models = distinct_names(directory.input_info("models"))
    latest = directory.latest_checkpoint()
    directory.truncate_to(latest[0] if latest else 0)
    done = json.loads((latest[1] / "done.json").read_text(encoding="utf8")) if latest else {}
    for model, path in zip(models, directory.input_list("models"), strict=True):
        if model["name"] not in done:
            done[model["name"]] = _score_model(directory, model["name"], path, pairs, len(done), len(models))
            with directory.checkpoint(len(done)) as aside:
                write_json(aside / "done.json", done)
            if directory.stop_requested and len(done) < len(models):
                raise Stopped(f"{len(done)} of {len(models)} models are kept")
    rows = [row for scored in done.values() for row in scored["rows"]]
    samples = (sample for scored in done.values() for sample in scored["samples"])
    title = f"Bias of {', '.join(m['name'] for m in models)}"
    metadata = write_report(directory.output("report"), "bias", title, models, rows, samples, pairs_file=source.name)
    overall = [row for row in rows if ":" not in row["task"]]
    directory.finish({f"{r['model']} {r['metric']}": r["value"] for r in overall}, {"report": metadata})


def _score_model(
    directory: RunDirectory, name: str, path: Path, pairs: list[Pair], done: int, models: int
) -> dict[str, Any]:
    """Rows and samples of one model."""
    config = directory.config
    total = models * len(pairs)
    directory.progress(done * len(pairs), total, "pairs", f"loading {name}")
    lm = load_language_model(path, config.dtype, config.batch_size, config.max_length)
    more: list[float] = []
    less: list[float] = []
    for start in range(0, len(pairs), PAIRS_AT_ONCE):
        part = pairs[start : start + PAIRS_AT_ONCE]
        scores = loglikelihoods(lm, [p.more for p in part] + [p.less for p in part])
        more += scores[: len(part)]
        less += scores[len(part) :]
        directory.progress(done * len(pairs) + len(more), total, "pairs", name)
        if directory.stop_requested:
            raise Stopped(f"in {name}, which starts over; {done} of {models} models are kept")
    rows = preference_rows(name, pairs, more, less)
    directory.log_metrics(done + 1, stereotype_preferred=rows[0].value)
    print(f"{name}: {rows[0].value:.1f} % [{rows[0].low:.1f}, {rows[0].high:.1f}] of {rows[0].n} pairs", flush=True)
    samples = [
        {"model": name, **asdict(p), "log_likelihood_more": a, "log_likelihood_less": b}
        for p, a, b in zip(pairs, more, less, strict=True)
    ]
    return {"rows": [row.as_json() for row in rows], "samples": samples}


if __name__ == "__main__":
    launch(RECIPE, run)
