"""PPO on tiny models, in this process: a policy that answers "a…" or "b…", and a reward model that likes "a"."""

from __future__ import annotations

import json
import random
from statistics import fmean
from types import SimpleNamespace

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from studio.runs.directory import RunDirectory, read_jsonl
from tests.training import tiny
from tests.training.interrupting import run_interrupted, run_whole
from tests.training.launching import make_run, series
from training import reward_models
from training.chat import encode_answer, encode_prompt
from training.language_models import load_causal_lm
from training.recipes import ppo, reward_model
from training.recipes.ppo_corrections import Corrections

PROMPTS = [{"prompt": tiny.user(f"Ask {i}"), "prompt_id": i} for i in range(24)]
BASE = {
    "response_length": 6, "precision": "fp32", "micro_batch_size": 8, "episodes_per_iteration": 16,
    "learning_rate": 3e-3, "kl_coef": 0.02, "measured_samples": 4, "missing_eos_score": -3.0,
}  # fmt: skip


def answer(letter: str, i: int) -> str:
    return letter * (1 + i % 3)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    root = tmp_path_factory.mktemp("ppo")
    base = tiny.save_model(root / "base")
    policy = teach(base, root / "policy")
    rows = [
        {
            "prompt": tiny.user(f"Ask {i}"),
            "prompt_id": i,
            "chosen": tiny.assistant(answer("a", i)),
            "rejected": tiny.assistant(answer("b", i)),
        }
        for i in range(40)
    ]
    comparisons = tiny.save_dataset(root / "comparisons", "comparisons", train=rows[:32], test=rows[32:])
    run = make_run(
        root / "rm",
        "reward_model",
        {"epochs": 6, "learning_rate": 3e-3, "precision": "fp32"},
        model=policy,
        dataset=comparisons,
    )
    run_whole(reward_model, run)
    held_out = [{"prompt": tiny.user(f"Tell {i}"), "prompt_id": 100 + i} for i in range(12)]
    return {
        "model": policy,
        "reward_model": run / "output/reward_model",
        "prompts": tiny.save_dataset(root / "prompts", "prompts", train=PROMPTS, test=held_out),
    }


def teach(base, path):
    """A plain training loop: answers "a", "aa", "aaa" and "b", "bb", "bbb", half and half, then EOS."""
    model, tokenizer = load_causal_lm(base, torch.float32)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    draw = random.Random(0)
    for _ in range(80):
        i, letter = draw.randrange(30), draw.choice("ab")
        prompt = encode_prompt(tokenizer, tiny.user(draw.choice(["Ask", "Tell"]) + f" {i}"))
        ids = prompt + encode_answer(tokenizer, answer(letter, draw.randrange(3)))
        labels = [-100] * len(prompt) + ids[len(prompt) :]
        model(input_ids=torch.tensor([ids]), labels=torch.tensor([labels])).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def finished(inputs, tmp_path_factory):
    config = {**BASE, "episodes": 12 * 16, "mini_batches": 2, "logged_samples": 16}
    run = make_run(tmp_path_factory.mktemp("run") / "run", "ppo", config, **inputs)
    run_whole(ppo, run)
    return run, json.loads((run / "result.json").read_text())["metrics"]


def test_the_planted_reward_rises_on_held_out_prompts(finished):
    run, metrics = finished
    assert metrics["reward_gain_ci"][0] > 0.2
    assert metrics["reward_after"] - metrics["reward_before"] == pytest.approx(
        fmean(metrics["reward_gain_ci"]), abs=0.3
    )
    assert metrics["kl"] > 0 and metrics["episodes"] == 192
    rewards = [value for _, value in series(run, "reward")]
    assert fmean(rewards[-3:]) > fmean(rewards[:3]) + 0.2
    samples = read_jsonl(run / "samples.jsonl")
    share = lambda steps: fmean("a" in s["text"] for s in samples if s["step"] in steps)  # noqa: E731
    assert share((11, 12)) > share((1, 2)) + 0.15


def test_the_first_minibatch_of_every_iteration_has_ratio_one(finished):
    ratios = [value for _, value in series(finished[0], "first_ratio")]
    assert len(ratios) == 12 and ratios == [pytest.approx(1.0, abs=1e-4)] * 12
    means = [
        value for _, value in series(finished[0], "policy_ratio")
    ]  # over both mini batches, of which one comes later
    assert means == [pytest.approx(1.0, abs=0.1)] * 12


def test_mini_batches_are_optimizer_steps(finished):
    """12 iterations × 2 PPO epochs × 2 mini batches."""
    state = torch.load(next((finished[0] / "checkpoints").glob("step-*")) / "state.pt", weights_only=True)
    assert {int(s["step"]) for s in state["optimizer"]["state"].values()} == {48}


def test_logged_rewards_are_the_reward_models_at_eos_normalised_and_fixed_without_eos(inputs, finished):
    """Scored again through transformers' own forward, one written-out dialogue at a time."""
    model, tokenizer, rewards = reward_models.load_reward_model(inputs["reward_model"], torch.float32)
    seen = set()
    for sample in read_jsonl(finished[0] / "samples.jsonl")[:40]:
        seen.add(sample["finished"])
        if sample["finished"]:
            head, text = sample["prompt"].split("\n")[1], sample["text"]
            dialogue = f"<|im_start|>user\n{head}<|endoftext|>\n<|im_start|>assistant\n{text}<|endoftext|>"
            score = model(torch.tensor([tokenizer(dialogue)["input_ids"]])).logits.item()
            assert sample["reward"] == pytest.approx((score - rewards["mean"]) / rewards["std"], abs=2e-3)
        else:
            assert sample["reward"] == -3.0
    assert True in seen


def test_the_output_loads_and_is_the_policy_that_was_trained(inputs, finished):
    trained = AutoModelForCausalLM.from_pretrained(finished[0] / "output/model")
    tokenizer = AutoTokenizer.from_pretrained(finished[0] / "output/model")
    before = AutoModelForCausalLM.from_pretrained(inputs["model"])
    ids = torch.tensor([encode_prompt(tokenizer, tiny.user("Tell 3"))])
    a, b = (tokenizer.convert_tokens_to_ids(letter) for letter in "ab")
    odds = [logits[a] - logits[b] for logits in (m(ids).logits[0, -1] for m in (before, trained))]
    assert odds[1] > odds[0] + 0.3


@pytest.mark.slow
@pytest.mark.parametrize("method", ["lora", "full"])
def test_resumed_iterations_equal_an_uninterrupted_runs(inputs, tmp_path, method):
    config = {**BASE, "episodes": 5 * 16, "method": method, "checkpoint_every": 2, "measured_samples": 1}
    whole = make_run(tmp_path / "whole", "ppo", config, **inputs)
    run_whole(ppo, whole)
    run = make_run(tmp_path / "interrupted", "ppo", config, **inputs)
    run_interrupted(ppo, run, stop_at=1)
    run_interrupted(ppo, run, kill_at=4)  # the newest checkpoint is of iteration 2
    run_whole(ppo, run)

    def logged(path):
        return [{k: v for k, v in row.items() if k != "time"} for row in read_jsonl(path / "metrics.jsonl")]

    assert logged(run) == logged(whole) and [row["step"] for row in logged(run)] == [1, 2, 3, 4, 5]
    assert json.loads((run / "result.json").read_text()) == json.loads((whole / "result.json").read_text())


def test_full_training_in_bf16_starts_from_ratio_one_too(inputs, tmp_path):
    config = {
        **BASE,
        "episodes": 32,
        "method": "full",
        "precision": "bf16",
        "learning_rate": 1e-4,
        "measured_samples": 1,
    }
    run = make_run(tmp_path / "run", "ppo", config, **inputs)
    run_whole(ppo, run)
    assert [value for _, value in series(run, "first_ratio")] == [pytest.approx(1.0, abs=0.02)] * 2


def test_eos_gets_the_advantage_that_adding_the_score_at_eos_would_give(inputs):
    """TRL adds the score behind EOS. With `Corrections` its advantages equal the textbook's, whose episode ends at EOS.

    γ = 1, λ = 0.95, no KL. The textbook: δ_t = r_t + V_{t+1} - V_t with r = score at EOS and V = 0 behind it.
    """
    tokenizer, value_model, judge, rows = _rollout(inputs)
    corrections = Corrections(tokenizer, value_model, judge, 1.0, -3.0, ratio_tolerance=1e-3)
    from trl.experimental.ppo import ppo_trainer

    plain, _, ends = ppo_trainer.get_reward(value_model, rows, tokenizer.pad_token_id, 4)
    with corrections.applied_to(ppo_trainer), torch.no_grad():
        values, _, _ = ppo_trainer.get_reward(value_model, rows, tokenizer.pad_token_id, 4)
        _, scores, _ = ppo_trainer.get_reward(judge, rows, tokenizer.pad_token_id, 4)
    last = (ends - 4).tolist()
    assert last == [2, 1, 4] and corrections.rollout.finished == [True, True, False] and scores[2] == -3.0
    for row, end in enumerate(last):
        finished = corrections.rollout.finished[row]
        corrected = values[row, 3:-1, 0].tolist()  # V_t, as the trainer slices it
        assert corrected[: end + 1] == plain[row, 3:-1, 0].tolist()[: end + 1]
        stop = end + 1 if finished else end  # where the trainer adds the score
        trainer = _gae([0.0] * stop + [scores[row].item()], corrected[: stop + 1])
        textbook = _gae([0.0] * end + [scores[row].item()], corrected[: end + 1])
        assert trainer[: end + 1] == pytest.approx(textbook)


def _rollout(inputs):
    """Three answers of at most 5 tokens behind prompts of 4: ended at the third token, at the second, not at all."""
    judge, tokenizer, rewards = reward_models.load_reward_model(inputs["reward_model"], torch.float32)
    value_model, _, _ = reward_models.load_reward_model(inputs["reward_model"], torch.float32)
    torch.nn.init.normal_(value_model.score.weight)
    pad, eos = tokenizer.pad_token_id, tokenizer.eos_token_id
    rows = [[pad, 5, 6, 7, 10, 11, eos, pad, pad], [4, 5, 6, 7, 12, eos, pad, pad, pad], [4, 5, 6, 7, 9, 9, 9, 9, 9]]
    return tokenizer, value_model, judge, torch.tensor(rows)


def _gae(rewards: list[float], values: list[float]) -> list[float]:
    advantages, running = [], 0.0
    for t in reversed(range(len(rewards))):
        following = values[t + 1] if t + 1 < len(values) else 0.0
        running = rewards[t] + following - values[t] + 0.95 * running
        advantages.insert(0, running)
    return advantages


def test_a_ratio_away_from_one_ends_the_run():
    tokenizer = tiny.tokenizer()
    corrections = Corrections(tokenizer, None, None, 1.0, -1.0, ratio_tolerance=0.05)
    corrections.rollout.context_length = 1
    corrections.old_logprobs = {(1, 2): torch.tensor([-3.0])}
    output = SimpleNamespace(logits=torch.zeros(1, 2, 4))  # log ¼ = -1.386; ratio e^(3 - 1.386) = 5.02
    with pytest.raises(AssertionError, match=r"ratio is 5\.02"):
        corrections._check_first_ratio(output, torch.tensor([[1, 2]]), tokenizer.pad_token_id)


def test_another_tokenizer_is_refused(inputs, tmp_path):
    import shutil

    other = shutil.copytree(inputs["reward_model"], tmp_path / "rm")
    tokenizer = AutoTokenizer.from_pretrained(other)
    tokenizer.add_tokens(["new"])
    tokenizer.save_pretrained(other)
    run = make_run(tmp_path / "run", "ppo", BASE, **{**inputs, "reward_model": other})
    with pytest.raises(ValueError, match="has another tokenizer than the policy"):
        ppo.run(RunDirectory(run, ppo.RECIPE))


def test_prompts_need_a_held_out_split(inputs, tmp_path):
    prompts = tiny.save_dataset(tmp_path / "prompts", "prompts", train=PROMPTS)
    run = make_run(tmp_path / "run", "ppo", BASE, **{**inputs, "prompts": prompts})
    with pytest.raises(ValueError, match=r"has no test\.jsonl"):
        ppo.run(RunDirectory(run, ppo.RECIPE))


def test_batches_must_divide():
    with pytest.raises(ValueError, match="multiple of the micro batch"):
        ppo.PpoOptions(episodes_per_iteration=16, micro_batch_size=6)
    with pytest.raises(ValueError, match="whole number of micro batches"):
        ppo.PpoOptions(episodes_per_iteration=16, micro_batch_size=8, mini_batches=3)
