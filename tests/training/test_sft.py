"""SFT on tiny models, started as people start it: through DeepSpeed's launcher."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from studio.runs.directory import RunDirectory, read_jsonl
from tests.training import tiny
from tests.training.launching import ask_ranks_to_stop, finish, kill, make_run, series, start, wait_for_step
from training.chat import CHATML_TEMPLATE
from training.demonstrations import encode_demonstrations, hold_out
from training.recipes import sft

ROWS = [
    {"prompt": tiny.user(f"Say {i}"), "completion": tiny.assistant("well, " * (i % 3) + f"it is {i}"), "prompt_id": i}
    for i in range(8)
]
HELD_OUT = [
    {"prompt": tiny.user(f"Name {i}"), "completion": tiny.assistant(f"{i}"), "prompt_id": 100 + i} for i in range(3)
]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    root = tmp_path_factory.mktemp("sft")
    dataset = tiny.save_dataset(root / "dataset", "demonstrations", train=ROWS, test=HELD_OUT)
    model = tiny.save_model(root / "model")
    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.chat_template = "Made by somebody.\n" + CHATML_TEMPLATE
    tokenizer.save_pretrained(model)
    return {"model": model, "dataset": dataset}


@pytest.fixture(scope="module")
def finished(inputs, tmp_path_factory):
    """One run of full fine-tuning in float32: every step sees all eight demonstrations."""
    config = {
        "method": "full", "precision": "fp32", "zero_stage": 1, "micro_batch_size": 4, "gradient_accumulation_steps": 2,
        "epochs": 6, "learning_rate": 1e-2, "warmup_ratio": 0.0, "evaluate_every": 2, "chat_template": "chatml",
        "measure_finished": 3, "max_new_tokens": 8,
    }  # fmt: skip
    run = make_run(tmp_path_factory.mktemp("run") / "run", "sft", config, **inputs)
    return run, finish(run, "sft")


def loss_by_hand(model, tokenizer, rows):
    """Nats a token of answer and EOS, with each demonstration written out and run alone: no batch, no padding, no
    labels.
    """
    total, count = 0.0, 0
    for row in rows:
        head = f"<|im_start|>user\n{row['prompt'][0]['content']}<|endoftext|>\n<|im_start|>assistant\n"
        ids = tokenizer(head + row["completion"][0]["content"] + "<|endoftext|>")["input_ids"]
        start = len(tokenizer(head)["input_ids"])
        with torch.no_grad():
            logprobs = model(torch.tensor([ids])).logits[0].log_softmax(-1)
        for position in range(start, len(ids)):
            total -= logprobs[position - 1, ids[position]].item()
            count += 1
    return total / count


def test_the_first_loss_and_the_validation_losses_are_those_computed_by_hand(inputs, finished):
    run, result = finished
    base, tokenizer = (c.from_pretrained(inputs["model"]) for c in (AutoModelForCausalLM, AutoTokenizer))
    trained = AutoModelForCausalLM.from_pretrained(run / "output/model")
    assert series(run, "loss")[0] == (1, pytest.approx(loss_by_hand(base, tokenizer, ROWS), abs=1e-4))
    metrics = result["metrics"]
    assert metrics["val_loss_before"] == pytest.approx(loss_by_hand(base, tokenizer, HELD_OUT), abs=1e-4)
    assert metrics["val_loss_after"] == pytest.approx(loss_by_hand(trained, tokenizer, HELD_OUT), abs=1e-4)
    assert metrics["val_loss_after"] < metrics["val_loss_before"]
    assert series(run, "loss")[-1][1] < 0.6 * series(run, "loss")[0][1]


def test_each_step_is_logged_once_and_watched(finished):
    run, result = finished
    assert [step for step, _ in series(run, "loss")] == [1, 2, 3, 4, 5, 6]
    assert [step for step, _ in series(run, "val_loss")] == [0, 2, 4, 6]
    assert {"learning_rate", "grad_norm", "tokens_per_second"} <= set(read_jsonl(run / "metrics.jsonl")[1])
    samples = read_jsonl(run / "samples.jsonl")
    assert [(s["step"], s["prompt"]) for s in samples[:3]] == [(0, "Name 0"), (0, "Name 1"), (2, "Name 0")]
    progress = json.loads((run / "progress.json").read_text())
    assert (progress["done"], progress["total"], progress["unit"]) == (6, 6, "steps")
    assert result["metrics"]["demonstrations"] == 8
    assert 0 <= result["metrics"]["finished_rate_before"] <= 1 and 0 <= result["metrics"]["finished_rate_after"] <= 1


def test_the_output_stops_at_the_eos_it_was_trained_on_and_keeps_the_template_that_was_chosen(finished):
    run, _ = finished
    model = AutoModelForCausalLM.from_pretrained(run / "output/model")
    tokenizer = AutoTokenizer.from_pretrained(run / "output/model")
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id
    assert model.generation_config.pad_token_id == tokenizer.pad_token_id != tokenizer.eos_token_id
    text = tokenizer.apply_chat_template(ROWS[0]["prompt"], tokenize=False, add_generation_prompt=True)
    assert text == "<|im_start|>user\nSay 0<|endoftext|>\n<|im_start|>assistant\n"


@pytest.mark.slow
def test_stopped_killed_and_resumed_losses_equal_an_uninterrupted_runs_bit_for_bit(inputs, tmp_path):
    """LoRA with dropout in bf16 under ZeRO-2: random streams, master weights and Adam's moments must all come back."""
    config = {"micro_batch_size": 2, "epochs": 30, "lora_dropout": 0.2, "checkpoint_every": 5, "evaluate_every": 10}
    whole = make_run(tmp_path / "whole", "sft", config, **inputs)
    finish(whole, "sft")

    run = make_run(tmp_path / "interrupted", "sft", config, **inputs)
    process = start(run, "sft")
    wait_for_step(run, 8, process)
    ask_ranks_to_stop(run)
    assert process.wait(120) == 0
    stopped_at = int(next((run / "checkpoints").glob("step-*")).name.removeprefix("step-"))
    assert stopped_at >= 8 and not (run / "result.json").exists()

    process = start(run, "sft")
    wait_for_step(run, stopped_at + 12, process)
    kill(process)
    result = finish(run, "sft")

    assert series(run, "loss") == series(whole, "loss") and len(series(run, "loss")) == 120
    assert series(run, "val_loss") == series(whole, "val_loss")
    assert result["metrics"] == json.loads((whole / "result.json").read_text())["metrics"]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "zero_stage", "ranks"), [("neox", 3, 2)])
def test_two_ranks_with_every_weight_sharded(tmp_path, kind, zero_stage, ranks):
    """GPT-NeoX under ZeRO-3 on two ranks of two demonstrations: the same first loss as all four in one."""
    model = tiny.save_model(tmp_path / "model", kind)
    dataset = tiny.save_dataset(tmp_path / "dataset", "demonstrations", train=ROWS[:4], test=HELD_OUT)
    config = {
        "method": "full",
        "precision": "fp32",
        "zero_stage": zero_stage,
        "ranks": ranks,
        "micro_batch_size": 2,
        "epochs": 2,
    }
    run = make_run(tmp_path / "run", "sft", config, model=model, dataset=dataset)
    result = finish(run, "sft")
    base, tokenizer = (c.from_pretrained(model) for c in (AutoModelForCausalLM, AutoTokenizer))
    assert series(run, "loss")[0] == (1, pytest.approx(loss_by_hand(base, tokenizer, ROWS[:4]), abs=1e-3))
    trained = AutoModelForCausalLM.from_pretrained(run / "output/model")
    assert result["metrics"]["val_loss_after"] == pytest.approx(loss_by_hand(trained, tokenizer, HELD_OUT), abs=1e-4)


def test_validation_prompts_are_held_out_whole():
    """10 prompts with two demonstrations each, share 0.2: two prompts, so four demonstrations."""
    rows = [{"prompt": tiny.user(str(i % 10)), "completion": tiny.assistant(str(i))} for i in range(20)]
    train, held = hold_out(rows, 0.2, seed=1)
    assert (len(train), len(held)) == (16, 4)
    assert not {r["prompt"][0]["content"] for r in train} & {r["prompt"][0]["content"] for r in held}
    assert hold_out(rows, 0.0, seed=1) == (rows, [])


def test_over_length_demonstrations_are_left_out_and_counted_not_cut():
    tokenizer = tiny.tokenizer()
    tokenizer.chat_template = "{{ messages[0]['content'] }}"
    rows = [{"prompt": tiny.user("ab"), "completion": tiny.assistant("c" * n)} for n in (1, 2, 3)]  # 2 + n + EOS tokens
    kept, dropped = encode_demonstrations(tokenizer, rows, max_length=5, completion_only_loss=True)
    assert ([len(row["input_ids"]) for row in kept], dropped) == ([4, 5], 1)
    assert kept[0]["labels"] == [-100, -100, tokenizer.convert_tokens_to_ids("c"), tokenizer.eos_token_id]
    whole, _ = encode_demonstrations(tokenizer, rows, max_length=5, completion_only_loss=False)
    assert whole[0]["labels"] == whole[0]["input_ids"]


@pytest.mark.parametrize(
    ("train", "config", "says"),
    [
        ("", {}, r"train\.jsonl is empty"),
        ('{"prompt": []}\n', {}, "row 1: column 'prompt' must be a list of messages"),
        ('{"prompt": \n', {}, r"train\.jsonl, line 1: not valid JSON"),
        (json.dumps(ROWS[0]), {"measure_finished": 4, "validation_share": 0}, "needs held-out prompts"),
    ],
)
def test_bad_input_is_refused_before_anything_is_loaded(tmp_path, inputs, train, config, says):
    dataset = tiny.save_dataset(tmp_path / "dataset", "demonstrations", train=[])
    (dataset / "train.jsonl").write_text(train)
    run = make_run(tmp_path / "run", "sft", config, model=inputs["model"], dataset=dataset)
    with pytest.raises(ValueError, match=says):
        sft.run(RunDirectory(run, sft.RECIPE))


def test_a_directory_that_is_no_model_is_refused(tmp_path, inputs):
    shutil.copytree(inputs["model"], tmp_path / "model", ignore=shutil.ignore_patterns("config.json"))
    run = make_run(tmp_path / "run", "sft", {}, model=tmp_path / "model", dataset=inputs["dataset"])
    with pytest.raises(ValueError, match=r"is not a model directory: it has no config\.json"):
        sft.run(RunDirectory(run, sft.RECIPE))


def test_bf16_needs_a_stage_that_keeps_float32_master_weights():
    with pytest.raises(ValueError, match="needs stage 2 or 3"):
        sft.SFTOptions(zero_stage=1)
