"""The reward model recipe on tiny models, in this process."""

from __future__ import annotations

import json
from statistics import fmean

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from studio.runs.directory import RunDirectory, read_jsonl
from tests.training import tiny
from tests.training.interrupting import run_interrupted, run_whole
from tests.training.launching import make_run, series
from training import reward_models
from training.recipes import reward_model


def pairs(first: int, count: int) -> list[dict]:
    """The planted preference: answers with a "+" are chosen over answers of the same length with a "-"."""
    return [
        {
            "prompt": tiny.user(f"Ask {i}"),
            "chosen": tiny.assistant("x" * (i % 4) + "+" + "y" * (i % 3)),
            "rejected": tiny.assistant("x" * (i % 4) + "-" + "y" * (i % 3)),
            "prompt_id": i // 2,
            "comparison_id": 1000 + i,
        }
        for i in range(first, first + count)
    ]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    root = tmp_path_factory.mktemp("reward")
    dataset = tiny.save_dataset(root / "dataset", "comparisons", train=pairs(0, 32), test=pairs(100, 12))
    return {"model": tiny.save_model(root / "model", layers=2), "dataset": dataset}


@pytest.fixture(scope="module")
def finished(inputs, tmp_path_factory):
    config = {"epochs": 8, "learning_rate": 3e-3, "precision": "fp32"}
    run = make_run(tmp_path_factory.mktemp("run") / "run", "reward_model", config, **inputs)
    run_whole(reward_model, run)
    return run, json.loads((run / "result.json").read_text())["metrics"]


def test_the_planted_preference_is_learned(finished):
    run, metrics = finished
    assert metrics["accuracy"] >= 0.9 and metrics["accuracy_length_only"] == 0.5
    assert (metrics["comparisons_train"], metrics["comparisons_test"], metrics["dropped_train"]) == (32, 12, 0)
    assert series(run, "loss")[0][1] == pytest.approx(0.693, abs=0.25)  # ln 2 where nothing is known
    assert series(run, "loss")[-1][1] < 0.2


def test_accuracy_and_reward_statistics_follow_from_the_scores_of_each_pair(finished):
    run, metrics = finished
    output = run / "output/reward_model"
    scores = read_jsonl(output / "scores.jsonl")
    test = [s for s in scores if s["split"] == "test"]
    assert [s["comparison_id"] for s in test] == [1100 + i for i in range(12)]
    assert metrics["accuracy"] == fmean(s["chosen"] > s["rejected"] for s in test)
    low, high = metrics["accuracy_ci"]
    assert low <= metrics["accuracy"] <= high
    train = [s for s in scores if s["split"] == "train"]
    rewards = json.loads((output / "reward.json").read_text())
    everything = [s[side] for s in train for side in ("chosen", "rejected")]
    assert rewards["mean"] == pytest.approx(fmean(s["chosen"] for s in train))
    assert rewards["std"] == pytest.approx(torch.tensor(everything, dtype=torch.float64).std(correction=0).item())


def test_scores_are_the_logits_that_transformers_gives_at_eos(finished):
    """The saved directory through transformers' own classes, one written-out dialogue at a time."""
    output = finished[0] / "output/reward_model"
    model, tokenizer = (c.from_pretrained(output) for c in (AutoModelForSequenceClassification, AutoTokenizer))
    score = {s["comparison_id"]: s for s in read_jsonl(output / "scores.jsonl")}[1101]
    for side, text in (("chosen", "x+yy"), ("rejected", "x-yy")):  # 101 % 4 = 1, 101 % 3 = 2
        dialogue = f"<|im_start|>user\nAsk 101<|endoftext|>\n<|im_start|>assistant\n{text}<|endoftext|>"
        logit = model(torch.tensor([tokenizer(dialogue)["input_ids"]])).logits.item()
        assert score[side] == pytest.approx(logit, abs=1e-4)


def test_resumed_losses_equal_an_uninterrupted_runs(inputs, tmp_path):
    config = {"epochs": 2, "learning_rate": 3e-3, "lora_dropout": 0.2, "checkpoint_every": 3}
    whole = make_run(tmp_path / "whole", "reward_model", config, **inputs)
    run_whole(reward_model, whole)
    run = make_run(tmp_path / "interrupted", "reward_model", config, **inputs)
    run_interrupted(reward_model, run, kill_at=2)  # before any checkpoint
    run_interrupted(reward_model, run, kill_at=5)  # two steps after one
    run_interrupted(reward_model, run, stop_at=6)
    run_whole(reward_model, run)
    assert series(run, "loss") == series(whole, "loss") and len(series(run, "loss")) == 8
    assert json.loads((run / "result.json").read_text()) == json.loads((whole / "result.json").read_text())


def test_margins_are_subtracted(inputs, tmp_path):
    """Full training; the first loss is -log σ(r_c - r_r - margin), with rewards that start near zero: log(1 + e^4) =
    4.02.
    """
    rows = [{**row, "margin": 4.0} for row in pairs(0, 8)]
    dataset = tiny.save_dataset(tmp_path / "dataset", "comparisons", train=rows, test=pairs(100, 2))
    config = {"epochs": 1, "method": "full", "precision": "fp32", "center_rewards_coefficient": 0.0}
    run = make_run(tmp_path / "run", "reward_model", config, model=inputs["model"], dataset=dataset)
    run_whole(reward_model, run)
    assert series(run, "loss")[0][1] == pytest.approx(4.02, abs=0.3)


def test_over_length_pairs_are_left_out_and_counted():
    tokenizer = tiny.tokenizer()
    tokenizer.chat_template = "{{ messages[0]['content'] }}"
    rows = [
        {"prompt": tiny.user("ab"), "chosen": tiny.assistant("c" * n), "rejected": tiny.assistant("d"), "margin": 1}
        for n in (1, 2, 3)
    ]  # the longer side has 2 + n + EOS tokens
    kept, dropped = reward_model.encode_pairs(tokenizer, rows, max_length=5)
    assert ([len(pair["chosen_ids"]) for pair in kept], dropped) == ([4, 5], 1)
    assert all(pair["chosen_ids"][-1] == pair["rejected_ids"][-1] == tokenizer.eos_token_id for pair in kept)
    del rows[0]["margin"]
    with pytest.raises(ValueError, match="Some comparisons have a margin and some have none"):
        reward_model.encode_pairs(tokenizer, rows, max_length=5)


def test_equal_scores_count_half():
    assert reward_models.pair_accuracy([2.0, 1.0, 0.0], [1.0, 1.0, 1.0]) == [1.0, 0.5, 0.0]


def test_a_judge_of_lengths_follows_the_training_pairs():
    """Longer wins 2 of 3 in training, so longer is the guess: right once, wrong once, undecided once in the test: 1.5
    / 3.
    """

    def lengths(*both: tuple[int, int]) -> list[dict]:
        return [{"chosen_ids": [0] * chosen, "rejected_ids": [0] * rejected} for chosen, rejected in both]

    test = lengths((5, 2), (3, 4), (3, 3))
    assert reward_model.length_only_accuracy(lengths((3, 1), (2, 1), (1, 2)), test) == pytest.approx(0.5)
    assert reward_model.length_only_accuracy(lengths((1, 2)), lengths((5, 2), (2, 5), (1, 5), (3, 3))) == pytest.approx(
        2.5 / 4
    )


def test_a_new_head_is_as_wide_as_one_over_the_root_of_d_plus_one(inputs):
    model, tokenizer = reward_models.from_language_model(inputs["model"], torch.float32, seed=0)
    assert model.score.weight.shape == (1, 64)
    assert model.score.weight.std().item() == pytest.approx(
        65**-0.5, rel=0.25
    )  # standard error of a deviation: 1/√128 = 9 %
    assert tokenizer.pad_token_id != tokenizer.eos_token_id


def test_scores_of_bfloat16_models_are_not_rounded_to_three_digits(finished):
    model, tokenizer, _ = reward_models.load_reward_model(finished[0] / "output/reward_model", torch.bfloat16)
    score = reward_models.score_dialogues(model, [tokenizer("x+yy")["input_ids"]], tokenizer.pad_token_id)[0]
    assert score != torch.tensor(score).bfloat16().item()


def test_a_prompt_in_both_splits_is_refused(tmp_path, inputs):
    dataset = tiny.save_dataset(tmp_path / "dataset", "comparisons", train=pairs(0, 4), test=pairs(2, 4))
    run = make_run(tmp_path / "run", "reward_model", {}, model=inputs["model"], dataset=dataset)
    with pytest.raises(ValueError, match="1 prompts are in both splits"):
        reward_model.run(RunDirectory(run, reward_model.RECIPE))


def test_a_language_model_is_no_reward_model(inputs):
    with pytest.raises(ValueError, match=r"is not a reward model: it has no reward\.json"):
        reward_models.load_reward_model(inputs["model"], torch.float32)
