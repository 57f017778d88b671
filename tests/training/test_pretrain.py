"""Pretraining through the real DeepSpeed launcher: resume, stop, failure, and what comes out."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from studio.runs.directory import read_jsonl
from tests.training.launching import (
    ask_ranks_to_stop,
    fail,
    finish,
    kill,
    last_step,
    make_run,
    series,
    start,
    wait_for_step,
)

TINY = {
    "hidden_size": 32,
    "layers": 1,
    "attention_heads": 1,
    "sequence_length": 32,
    "steps": 30,
    "micro_batch_size": 2,
    "gradient_accumulation": 2,
    "learning_rate": 3e-3,
    "checkpoint_every": 10,
    "evaluate_every": 10,
    "evaluation_sequences": 7,
    "sample_every": 10,
    "sample_tokens": 8,
}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> dict[str, Path]:
    """The reference texts of Python's help as a corpus, and a small tokenizer trained on it."""
    from pydoc_data.topics import topics

    folder = tmp_path_factory.mktemp("inputs")
    rows = [json.dumps({"text": topics[name]}) + "\n" for name in sorted(topics)[:24]]
    (folder / "texts.jsonl").write_text("".join(rows))
    settings = {"python_documentation": False, "heldout_fraction": 0.2, "licence": "PSF-2.0"}
    corpus = make_run(folder / "corpus", "corpus", settings, files=folder / "texts.jsonl")
    finish(corpus, "corpus")
    tokenizer = make_run(folder / "tokenizer", "tokenizer", {"vocab_size": 384}, corpus=corpus / "output/corpus")
    finish(tokenizer, "tokenizer")
    return {"corpus": corpus / "output/corpus", "tokenizer": tokenizer / "output/tokenizer"}


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "zero_stage", "ranks"), [("fp32", 0, 1), ("bf16", 0, 1), ("bf16", 2, 2)])
def test_a_killed_run_goes_on_bit_for_bit(tmp_path, inputs, precision, zero_stage, ranks):
    config = {**TINY, "precision": precision, "zero_stage": zero_stage, "ranks": ranks}
    whole = make_run(tmp_path / "whole", "pretrain", config, **inputs)
    result = finish(whole, "pretrain")

    killed = make_run(tmp_path / "killed", "pretrain", config, **inputs)
    process = start(killed, "pretrain")
    wait_for_step(killed, 14, process)  # past the checkpoint of step 10
    kill(process)
    assert last_step(killed) < 30, "killed too late to show anything"
    with open(killed / "metrics.jsonl", "a") as file:
        file.write('{"step": 15, "lo')  # what a writer killed in the middle of a line leaves
    finish(killed, "pretrain")

    assert [step for step, _ in series(killed, "loss")] == list(range(1, 31))
    for name in ("loss", "val_loss", "learning_rate", "grad_norm"):
        assert series(killed, name) == series(whole, name), name
    assert [step for step, _ in series(killed, "val_loss")] == [0, 10, 20, 30]
    texts = [(row["step"], row["text"]) for row in read_jsonl(killed / "samples.jsonl")]
    assert texts == [(row["step"], row["text"]) for row in read_jsonl(whole / "samples.jsonl")]
    check_output(whole, inputs, result, tolerance=1e-5 if precision == "fp32" else 2e-3)


def check_output(run: Path, inputs: dict[str, Path], result: dict, tolerance: float) -> None:
    """The reported validation loss, computed anew from the saved files with transformers' own loss function."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(run / "output/model").eval()
    tokenizer = AutoTokenizer.from_pretrained(run / "output/model")
    tokens: list[int] = []
    for line in (inputs["corpus"] / "heldout.jsonl").read_text().splitlines():
        tokens += tokenizer(json.loads(line)["text"])["input_ids"] + [tokenizer.eos_token_id]
    blocks = torch.tensor([tokens[i * 32 : i * 32 + 33] for i in range(7)])  # 33 tokens have 32 targets
    with torch.no_grad():
        loss = model(blocks, labels=blocks).loss.item()
    metrics = result["metrics"]
    assert loss == pytest.approx(metrics["val_loss_end"], abs=tolerance)
    assert metrics["val_loss_start"] == pytest.approx(math.log(384), abs=0.2)  # untrained: all tokens alike
    assert metrics["val_loss_end"] < metrics["val_loss_start"] - 0.5
    # 30 steps × 2 sequences × 2 accumulated × ranks × 32 tokens
    ranks = json.loads((run / "config.json").read_text())["config"]["ranks"]
    assert metrics["tokens"] == 30 * 2 * 2 * ranks * 32
    # Embeddings in and out 2·384·32; attention 32·96+96 and 32·32+32; feed-forward 32·128+128 and 128·32+32; 3 norms
    # of 2·32
    assert metrics["parameters"] == 24576 + 3168 + 1056 + 4224 + 4128 + 192
    assert sum(p.numel() for p in model.parameters()) == metrics["parameters"]
    assert (
        model.dtype
        == {"fp32": torch.float32, "bf16": torch.bfloat16}[
            json.loads((run / "config.json").read_text())["config"]["precision"]
        ]
    )
    assert result["outputs"]["model"]["licence"] == "PSF-2.0"
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id
    assert tokenizer.pad_token_id not in (None, tokenizer.eos_token_id)


@pytest.mark.slow
def test_sigterm_to_the_ranks_saves_and_stops_and_the_run_goes_on(tmp_path, inputs):
    config = {**TINY, "precision": "fp32", "zero_stage": 3, "ranks": 2, "checkpoint_every": 1000, "steps": 200}
    run = make_run(tmp_path / "run", "pretrain", config, **inputs)
    process = start(run, "pretrain")
    wait_for_step(run, 5, process)
    ask_ranks_to_stop(run)
    assert process.wait(120) == 0
    assert not (run / "result.json").exists()
    assert not (run / "error.json").exists()
    stopped_at = last_step(run)
    assert [path.name for path in (run / "checkpoints").iterdir()] == [f"step-{stopped_at:08d}"]
    assert 5 <= stopped_at < 200

    document = json.loads((run / "config.json").read_text())
    document["config"]["ranks"] = 1
    (run / "config.json").write_text(json.dumps(document))
    error = fail(run, "pretrain")
    assert error["user_error"]
    assert "ranks = 2" in error["message"]

    document["config"] |= {"ranks": 2, "steps": stopped_at + 2}
    (run / "config.json").write_text(json.dumps(document))
    result = finish(run, "pretrain")
    assert [step for step, _ in series(run, "loss")] == list(range(1, stopped_at + 3))
    assert result["metrics"]["tokens"] == (stopped_at + 2) * 2 * 2 * 2 * 32  # micro batch, accumulation, ranks, tokens
    assert result["metrics"]["parameters"] == 37344


@pytest.mark.slow
def test_divergence_ends_with_a_sentence(tmp_path, inputs):
    """A learning rate of 1e30 makes the weights, then the gradients, overflow: every later step is skipped."""
    config = {**TINY, "precision": "fp32", "learning_rate": 1e30, "warmup_share": 0, "skipped_steps_allowed": 2}
    run = make_run(tmp_path / "run", "pretrain", config, **inputs)
    error = fail(run, "pretrain")
    assert error["user_error"]
    assert "not finite in 3 steps in a row" in error["message"]
    assert [value for _, value in series(run, "skipped_steps")][-3:] == [1, 2, 3]
