"""The score recipe on a tiny reward model of random weights, in this process."""

from __future__ import annotations

import json
from statistics import fmean

import pytest
import torch

from studio.runs.directory import RunDirectory, read_jsonl
from tests.training import tiny
from tests.training.interrupting import run_interrupted, run_whole
from tests.training.launching import make_run
from training import reward_models
from training.recipes import score


@pytest.fixture(scope="module")
def reward_model(tmp_path_factory):
    root = tmp_path_factory.mktemp("score")
    model, tokenizer = reward_models.from_language_model(tiny.save_model(root / "model"), torch.float32, seed=1)
    path = root / "reward_model"
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    (path / "reward.json").write_text('{"mean": 0.0, "std": 1.0}')
    return path


def answers(count: int) -> list[dict]:
    return [
        {"prompt": tiny.user(f"Ask {i}"), "completion": tiny.assistant("x" * (i % 5 + 1)), "completion_id": 100 + i}
        for i in range(count)
    ]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    rows = answers(9)
    return tiny.save_dataset(
        tmp_path_factory.mktemp("answers") / "dataset", "completions", train=rows[:6], test=rows[6:]
    )


CONFIG = {"precision": "fp32", "micro_batch_size": 4}


def test_scores_are_the_rewards_of_each_written_out_dialogue(reward_model, dataset, tmp_path):
    run = make_run(tmp_path / "run", "score", CONFIG, reward_model=reward_model, dataset=dataset)
    run_whole(score, run)
    rows = read_jsonl(run / "output/scores/scores.jsonl")
    assert [row["completion_id"] for row in rows] == list(range(100, 109))  # train before test
    model, tokenizer, _ = reward_models.load_reward_model(reward_model, torch.float32)
    # 103 % 5 = 3 and "Ask 3": four times "x"
    dialogue = "<|im_start|>user\nAsk 3<|endoftext|>\n<|im_start|>assistant\nxxxx<|endoftext|>"
    logit = model(torch.tensor([tokenizer(dialogue)["input_ids"]])).logits.item()
    assert rows[3]["score"] == pytest.approx(logit, abs=1e-4)
    result = json.loads((run / "result.json").read_text())
    assert result["metrics"]["score_mean"] == pytest.approx(fmean(row["score"] for row in rows))
    assert (result["metrics"]["completions"], result["metrics"]["dropped"]) == (9, 0)
    assert result["outputs"]["scores"]["type"] == "scores" and result["outputs"]["scores"]["counts"] == {"scores": 9}


def test_drawn_completions_are_known_by_artifact_and_line(reward_model, dataset, tmp_path):
    drawn = tmp_path / "drawn"
    drawn.mkdir()
    lines = [{"prompt": tiny.user("Ask 3"), "completion": "xxxx"}, {"prompt": tiny.user("Ask 4"), "completion": "y"}]
    (drawn / "completions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    run = make_run(tmp_path / "run", "score", CONFIG, reward_model=reward_model, dataset=dataset, completions=drawn)
    document = json.loads((run / "config.json").read_text())
    document["input_info"] = {"completions": [{"id": 7, "name": "drawn", "kind": "completions", "metadata": {}}]}
    (run / "config.json").write_text(json.dumps(document))
    run_whole(score, run)
    rows = read_jsonl(run / "output/scores/scores.jsonl")
    assert [(row.get("artifact"), row.get("line")) for row in rows[:2]] == [(7, 0), (7, 1)]
    same = next(row for row in rows if row.get("completion_id") == 103)
    assert rows[0]["score"] == pytest.approx(same["score"], abs=1e-5)  # the same dialogue, given as text or message


def test_a_dialogue_that_is_too_long_has_no_score(reward_model, dataset, tmp_path):
    """A header of the same length for each prompt, then 1 … 5 times "x" and EOS."""
    tokenizer = reward_models.load_reward_model(reward_model, torch.float32)[1]
    header = len(score.encode_prompt(tokenizer, tiny.user("Ask 1")))
    run = make_run(
        tmp_path / "run", "score", {**CONFIG, "max_length": header + 3}, reward_model=reward_model, dataset=dataset
    )
    run_whole(score, run)
    metrics = json.loads((run / "result.json").read_text())["metrics"]
    # i % 5 + 1 for i in 0 … 8 is 1 2 3 4 5 1 2 3 4; with EOS at most three tokens fit: those of length 1 and 2
    assert (metrics["completions"], metrics["dropped"]) == (4, 5)
    run = make_run(tmp_path / "none", "score", {**CONFIG, "max_length": 8}, reward_model=reward_model, dataset=dataset)
    with pytest.raises(ValueError, match="longer than the longest that is scored"):
        run_whole(score, run)


def test_a_resumed_run_scores_what_is_missing_and_gives_the_same(reward_model, dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(score, "BATCH", 2)
    whole = make_run(tmp_path / "whole", "score", CONFIG, reward_model=reward_model, dataset=dataset)
    run_whole(score, whole)
    run = make_run(tmp_path / "cut", "score", CONFIG, reward_model=reward_model, dataset=dataset)
    run_interrupted(score, run, kill_at=2)
    run_interrupted(score, run, stop_at=3)
    assert len(RunDirectory(run, score.RECIPE).checkpoints()) == 3
    run_whole(score, run)
    for name in ("output/scores/scores.jsonl", "result.json"):
        assert (run / name).read_text() == (whole / name).read_text()
    assert [row["step"] for row in read_jsonl(run / "metrics.jsonl")] == [1, 2, 3, 4, 5]


def test_bad_input_gets_a_sentence(reward_model, tmp_path):
    def trial(name: str, *rows: dict):
        data = tiny.save_dataset(tmp_path / f"{name}-data", "completions", train=list(rows))
        run_whole(score, make_run(tmp_path / name, "score", CONFIG, reward_model=reward_model, dataset=data))

    with pytest.raises(ValueError, match="nothing to score"):
        trial("empty")
    with pytest.raises(ValueError, match="line 1: 'completion_id' is missing"):
        trial("nameless", {"prompt": tiny.user("a"), "completion": "b"})
    with pytest.raises(ValueError, match="line 1: a completion needs 'prompt'"):
        trial("textless", {"prompt": tiny.user("a"), "completion_id": 1})
