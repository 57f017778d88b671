"""A reward model from comparisons, with TRL's RewardTrainer.

    python -m training.recipes.reward_model var/runs/42

Pairs are trained with the Bradley-Terry loss -log σ(r_chosen - r_rejected - margin). Both answers end with the EOS at
which the reward is read, here and in PPO. Left out: several ranks (a pair's two answers are short, one GPU serves),
and InstructGPT's keeping of all pairs of a prompt in one batch element, for which TRL has no form.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

from studio.runs.contract import Input, Recipe, option
from studio.runs.directory import RunDirectory, launch, write_json
from training import language_models, reward_models
from training.chat import encode_answer, encode_prompt
from training.dataset_files import read_split
from training.intervals import cluster_bootstrap_mean


@dataclass
class RewardModelOptions:
    """Settings of the recipe; the form, the command line and the docs are made from them."""

    epochs: float = option(
        2.0, "Epochs", "Passes over the pairs; more than a few overfit.", minimum=0.01, maximum=1000, group="Training"
    )
    learning_rate: float = option(
        3e-4,
        "Learning rate",
        "Peak; about 3e-4 for LoRA, 1e-5 for full fine-tuning. It decays linearly to zero.",
        minimum=0.0,
        maximum=1.0,
        group="Training",
    )
    warmup_ratio: float = option(0.05, "Warm-up", "Share of the steps.", minimum=0.0, maximum=1.0, group="Training")
    weight_decay: float = option(0.0, "Weight decay", minimum=0.0, maximum=1.0, group="Training")
    max_grad_norm: float = option(1.0, "Gradient clipping", "Largest norm.", minimum=0.0, maximum=1e6, group="Training")
    micro_batch_size: int = option(8, "Micro batch", "Pairs a forward pass.", minimum=1, maximum=4096, group="Training")
    gradient_accumulation_steps: int = option(
        1, "Gradient accumulation", "Micro batches a step.", minimum=1, maximum=4096, group="Training"
    )
    max_length: int = option(
        512,
        "Longest dialogue",
        "Prompt and answer; a pair with a longer side is left out and counted.",
        unit="tokens",
        minimum=8,
        maximum=131072,
        group="Training",
    )
    center_rewards_coefficient: float = option(
        0.01,
        "Centring",
        "Weight of (r_chosen + r_rejected)², which keeps rewards near zero (Eisenstein et al. 2023); 0: off.",
        minimum=0.0,
        maximum=10.0,
        group="Training",
    )
    seed: int = option(
        0, "Seed", "Order of the data, start of head and adapters.", minimum=0, maximum=2**31 - 1, group="Training"
    )
    method: str = option("lora", "What is trained", choices=("lora", "full"), group="Adapter")
    lora_rank: int = option(16, "LoRA rank", minimum=1, maximum=1024, group="Adapter")
    lora_alpha: float = option(
        32.0, "LoRA alpha", "The update is scaled by alpha / rank.", minimum=0.0, maximum=4096, group="Adapter"
    )
    lora_dropout: float = option(0.0, "LoRA dropout", minimum=0.0, maximum=0.9, group="Adapter")
    precision: str = option(
        "bf16", "Precision", "What is trained stays in float32 either way.", choices=("bf16", "fp32"), group="Hardware"
    )
    gradient_checkpointing: bool = option(
        False, "Gradient checkpointing", "Less memory, about a third slower.", group="Hardware"
    )
    checkpoint_every: int = option(50, "Checkpoint every", unit="steps", minimum=1, maximum=10**9, group="Watching")


RECIPE = Recipe(
    module="training.recipes.reward_model",
    name="reward_model",
    title="Reward model",
    summary="Learn from comparisons which answers people prefer (TRL; full or LoRA).",
    stage="reward_model",
    config=RewardModelOptions,
    inputs={
        "model": Input("model", "Model", "Usually the SFT model: the head is new, the rest is taken over."),
        "dataset": Input(
            "dataset",
            "Comparisons",
            "Trained on: the train split. Accuracy is measured on the test split, whose prompts are others.",
            dataset_type="comparisons",
        ),
    },
    outputs={"reward_model": "reward_model"},
)


def run(directory: RunDirectory) -> None:
    options: RewardModelOptions = directory.config
    train_rows = read_split(directory.input("dataset"), "comparisons", "train")
    test_rows = read_split(directory.input("dataset"), "comparisons", "test")
    check_split_by_prompt(train_rows, test_rows)
    language_models.check_model_directory(directory.input("model"))

    import torch

    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from training.recipes.trl_callbacks import raise_if_stopped, resume_point

    _, checkpoint = resume_point(directory)
    # LoRA trains float32 adapters on bfloat16 weights; full training keeps float32 weights and computes in bfloat16
    low = options.precision == "bf16" and options.method == "lora"
    model, tokenizer = reward_models.from_language_model(
        directory.input("model"), torch.bfloat16 if low else torch.float32, options.seed
    )
    train, dropped = encode_pairs(tokenizer, train_rows, options.max_length)
    test, dropped_test = encode_pairs(tokenizer, test_rows, options.max_length)
    if dropped or dropped_test:
        print(
            f"Pairs left out as longer than {options.max_length} tokens: {dropped} train, {dropped_test} test.",
            flush=True,
        )
    for split, pairs in (("train", train), ("test", test)):
        if not pairs:
            raise ValueError(
                f"All {split} pairs are longer than {options.max_length} tokens: raise the longest dialogue."
            )

    trainer = _make_trainer(directory, model, tokenizer, train)
    trainer.train(resume_from_checkpoint=checkpoint)
    raise_if_stopped(directory, trainer.state)

    directory.progress(trainer.state.max_steps, trainer.state.max_steps, "steps", "saving and measuring")
    path = directory.output("reward_model")
    dtype = torch.bfloat16 if options.precision == "bf16" else torch.float32
    merged = language_models.merge_adapters(trainer.accelerator.unwrap_model(trainer.model)).to(dtype)
    merged.config.num_labels = 1
    merged.save_pretrained(path)
    tokenizer.save_pretrained(path)
    metrics = {
        "comparisons_train": len(train),
        "comparisons_test": len(test),
        "dropped_train": dropped,
        "dropped_test": dropped_test,
        "steps": trainer.state.max_steps,
        **measure(path, train, test, dtype),
    }
    base = directory.input_info("model")[0]
    directory.finish(metrics, {"reward_model": {"base": base["name"], "licence": base["metadata"].get("licence")}})


def check_split_by_prompt(train: list[dict[str, Any]], test: list[dict[str, Any]]) -> None:
    shared = {_prompt_key(row) for row in train} & {_prompt_key(row) for row in test}
    if shared:
        raise ValueError(
            f"{len(shared)} prompts are in both splits, so accuracy would be measured on what was trained: "
            "split the dataset by prompt."
        )


def _prompt_key(row: dict[str, Any]) -> str:
    return str(row["prompt_id"]) if "prompt_id" in row else json.dumps(row["prompt"])


def encode_pairs(tokenizer: Any, rows: list[dict[str, Any]], max_length: int) -> tuple[list[dict[str, Any]], int]:
    """Token ids of both sides of each pair, and how many pairs were left out because a side is too long."""
    encoded = []
    for number, row in enumerate(rows):
        prompt = encode_prompt(tokenizer, row["prompt"])
        pair = {
            f"{side}_ids": prompt + encode_answer(tokenizer, row[side][0]["content"]) for side in ("chosen", "rejected")
        }
        pair |= {"prompt_length": len(prompt), "prompt": _prompt_key(row), **_source(row, number)}
        if "margin" in row:
            pair["margin"] = float(row["margin"])
        encoded.append(pair)
    if 0 < sum("margin" in pair for pair in encoded) < len(encoded):
        raise ValueError("Some comparisons have a margin and some have none: give all of them one, or none.")
    kept = [pair for pair in encoded if max(len(pair["chosen_ids"]), len(pair["rejected_ids"])) <= max_length]
    return kept, len(encoded) - len(kept)


def _source(row: dict[str, Any], number: int) -> dict[str, Any]:
    """The ranking that the pair came from, or the rankings that were merged in it; else the row's number."""
    if "comparison_ids" in row:
        return {"comparison_ids": row["comparison_ids"]}
    return {"comparison_id": row.get("comparison_id", number)}


def _make_trainer(directory: RunDirectory, model: Any, tokenizer: Any, train: list[dict[str, Any]]) -> Any:
    import torch
    from datasets import Dataset
    from trl import RewardConfig, RewardTrainer

    from training.recipes.trl_callbacks import RunCallback, trainer_files

    options: RewardModelOptions = directory.config
    arguments = RewardConfig(
        output_dir=str(trainer_files(directory)),
        num_train_epochs=options.epochs,
        learning_rate=options.learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=options.warmup_ratio,
        weight_decay=options.weight_decay,
        max_grad_norm=options.max_grad_norm,
        per_device_train_batch_size=options.micro_batch_size,
        gradient_accumulation_steps=options.gradient_accumulation_steps,
        max_length=None,  # checked, and counted, when encoding
        center_rewards_coefficient=options.center_rewards_coefficient or None,
        seed=options.seed,
        bf16=options.precision == "bf16" and options.method == "full",
        use_cpu=not torch.cuda.is_available(),
        gradient_checkpointing=options.gradient_checkpointing,
        save_strategy="steps",
        save_steps=options.checkpoint_every,
        eval_strategy="no",
        logging_steps=1,
        logging_nan_inf_filter=False,  # a loss that is not finite must be seen
        report_to=[],
        disable_tqdm=True,
        dataloader_pin_memory=torch.cuda.is_available(),
    )
    lora = None
    if options.method == "lora":
        lora = language_models.lora_config(
            model, options.lora_rank, options.lora_alpha, options.lora_dropout, "SEQ_CLS", train_head=True
        )
    columns = ("chosen_ids", "rejected_ids", "margin")
    return RewardTrainer(
        model=model,
        args=arguments,
        train_dataset=Dataset.from_list([{name: pair[name] for name in columns if name in pair} for pair in train]),
        processing_class=tokenizer,
        peft_config=lora,
        callbacks=[RunCallback(directory)],
    )


def measure(path: Path, train: list[dict[str, Any]], test: list[dict[str, Any]], dtype: Any) -> dict[str, Any]:
    """Score every pair with the model as saved; write `scores.jsonl` and `reward.json` beside it; give the metrics."""
    write_json(path / "reward.json", {"mean": 0.0, "std": 1.0})
    model, tokenizer, _ = reward_models.load_reward_model(path, dtype)
    model.to(language_models.device())
    scores = {}
    with open(path / "scores.jsonl", "w", encoding="utf8") as file:
        for split, pairs in (("train", train), ("test", test)):
            both = reward_models.score_dialogues(
                model, [p["chosen_ids"] for p in pairs] + [p["rejected_ids"] for p in pairs], tokenizer.pad_token_id
            )
            scores[split] = both[: len(pairs)], both[len(pairs) :]
            for pair, chosen, rejected in zip(pairs, *scores[split], strict=True):
                source = {name: pair[name] for name in ("comparison_id", "comparison_ids") if name in pair}
                row = {**source, "split": split, "chosen": chosen, "rejected": rejected}
                file.write(json.dumps(row) + "\n")
    correct = reward_models.pair_accuracy(*scores["test"])
    rewards = {
        "mean": fmean(scores["train"][0]),
        "std": pstdev(scores["train"][0] + scores["train"][1]),
        "measured_on": "mean: chosen answers of the training comparisons; std: chosen and rejected ones",
    }
    if not rewards["std"] > 0:
        raise ValueError(
            "The reward model gives every answer the same reward: train longer or with a higher learning rate."
        )
    write_json(path / "reward.json", rewards)
    low, high = cluster_bootstrap_mean(correct, [pair["prompt"] for pair in test])
    return {
        "accuracy": fmean(correct),
        "accuracy_ci": [low, high],
        "accuracy_train": fmean(reward_models.pair_accuracy(*scores["train"])),
        "accuracy_length_only": length_only_accuracy(train, test),
        "reward_mean": rewards["mean"],
        "reward_std": rewards["std"],
    }


def length_only_accuracy(train: list[dict[str, Any]], test: list[dict[str, Any]]) -> float:
    """Accuracy of a judge who sees nothing but lengths and prefers the longer answer, or the shorter, as training
    pairs do.
    """

    def longer_wins(pairs: list[dict[str, Any]]) -> float:
        return fmean(
            reward_models.pair_accuracy([len(p["chosen_ids"]) for p in pairs], [len(p["rejected_ids"]) for p in pairs])
        )

    return longer_wins(test) if longer_wins(train) >= 0.5 else 1 - longer_wins(test)


if __name__ == "__main__":
    launch(RECIPE, run)
