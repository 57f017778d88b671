"""Reinforcement learning from a reward model, with TRL's PPOTrainer.

    python -m training.recipes.ppo var/runs/42

The policy starts from the SFT model, which is also the reference of the KL penalty; the value model starts from the
reward model. Rewards are normalised with the mean and spread that the reward model recorded. TRL 1.12 is the last
release with this trainer; `training.recipes.ppo_corrections` puts right what is known to be wrong with it, and this
module adds what it lacks: exact resume, gradient clipping, mini batches that are steps, and a measurement on held-out
prompts with an interval. Left out: an adaptive KL coefficient, a pretraining mix, several ranks.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from studio.runs.contract import Input, Recipe, option
from studio.runs.directory import RunDirectory, Stopped, launch
from training import language_models, reward_models
from training.chat import decode_answer, encode_prompt
from training.dataset_files import read_split
from training.intervals import cluster_bootstrap_mean
from training.recipes.ppo_corrections import Corrections


@dataclass
class PpoOptions:
    """Settings of the recipe; the form, the command line and the docs are made from them."""

    episodes: int = option(
        384, "Episodes", "Answers sampled and learned from.", minimum=1, maximum=10**9, group="Training"
    )
    episodes_per_iteration: int = option(
        32, "Episodes an iteration", "Sampled with one policy.", minimum=2, maximum=65536, group="Training"
    )
    ppo_epochs: int = option(
        2, "PPO epochs", "Passes over an iteration's episodes.", minimum=1, maximum=64, group="Training"
    )
    mini_batches: int = option(
        1, "Mini batches", "Optimizer steps a PPO epoch.", minimum=1, maximum=1024, group="Training"
    )
    micro_batch_size: int = option(
        8, "Micro batch", "Episodes a forward pass.", minimum=1, maximum=4096, group="Training"
    )
    learning_rate: float = option(
        1e-3,
        "Learning rate",
        "Peak; about 1e-3 for LoRA on a few layers, 1e-4 on all, 1e-6 for full training. It decays linearly to zero.",
        minimum=0.0,
        maximum=1.0,
        group="Training",
    )
    max_grad_norm: float = option(1.0, "Gradient clipping", "Largest norm.", minimum=0.0, maximum=1e6, group="Training")
    seed: int = option(0, "Seed", "Order of the prompts, sampling.", minimum=0, maximum=2**31 - 1, group="Training")
    kl_coef: float = option(
        0.03,
        "KL coefficient",
        "Price of a nat away from the reference model.",
        minimum=0.0,
        maximum=100.0,
        group="Reward",
    )
    missing_eos_score: float = option(
        -2.0,
        "Score of unfinished answers",
        "Given, in normalised reward, to answers without end within the longest answer.",
        minimum=-100.0,
        maximum=100.0,
        group="Reward",
    )
    whiten_rewards: bool = option(False, "Whiten rewards", "Divide by the spread within an iteration.", group="Reward")
    response_length: int = option(48, "Longest answer", unit="tokens", minimum=1, maximum=8192, group="Sampling")
    temperature: float = option(1.0, "Temperature", minimum=0.05, maximum=5.0, group="Sampling")
    max_prompt_length: int = option(
        384,
        "Longest prompt",
        "Longer ones are left out and counted.",
        unit="tokens",
        minimum=1,
        maximum=131072,
        group="Sampling",
    )
    cliprange: float = option(0.2, "Clip range", "Of the probability ratio.", minimum=0.0, maximum=10.0, group="PPO")
    cliprange_value: float = option(0.2, "Clip range of the value", minimum=0.0, maximum=100.0, group="PPO")
    vf_coef: float = option(
        0.1, "Value coefficient", "Weight of the value loss.", minimum=0.0, maximum=100.0, group="PPO"
    )
    gamma: float = option(1.0, "Discount γ", minimum=0.0, maximum=1.0, group="PPO")
    lam: float = option(0.95, "GAE λ", minimum=0.0, maximum=1.0, group="PPO")
    method: str = option("lora", "What is trained", choices=("lora", "full"), group="Adapter")
    lora_rank: int = option(8, "LoRA rank", minimum=1, maximum=1024, group="Adapter")
    lora_alpha: float = option(
        32.0, "LoRA alpha", "The update is scaled by alpha / rank.", minimum=0.0, maximum=4096, group="Adapter"
    )
    lora_layers: int = option(
        4,
        "LoRA layers",
        "Adapt only the last so many layers; 0: all. A few cost less a step and, with few episodes, learn less noise.",
        minimum=0,
        maximum=1024,
        group="Adapter",
    )
    precision: str = option(
        "bf16", "Precision", "What is trained stays in float32 either way.", choices=("bf16", "fp32"), group="Hardware"
    )
    checkpoint_every: int = option(
        10, "Checkpoint every", "0: only when stopped.", unit="iterations", minimum=0, maximum=10**9, group="Watching"
    )
    logged_samples: int = option(2, "Samples an iteration", minimum=0, maximum=1024, group="Watching")
    measured_prompts: int = option(
        128, "Held-out prompts", "Test prompts answered before and after.", minimum=1, maximum=100000, group="Watching"
    )
    measured_samples: int = option(4, "Answers a held-out prompt", minimum=1, maximum=64, group="Watching")

    def __post_init__(self) -> None:
        if self.episodes_per_iteration % self.micro_batch_size:
            raise ValueError("Episodes an iteration: must be a multiple of the micro batch.")
        if (self.episodes_per_iteration // self.micro_batch_size) % self.mini_batches:
            raise ValueError("Mini batches: each must hold a whole number of micro batches.")

    @property
    def iterations(self) -> int:
        return -(-self.episodes // self.episodes_per_iteration)

    @property
    def total_episodes(self) -> int:
        """Whole iterations only."""
        return self.iterations * self.episodes_per_iteration


RECIPE = Recipe(
    module="training.recipes.ppo",
    name="ppo",
    title="PPO",
    summary="Make a model's answers earn more reward while staying near where it started (TRL; full or LoRA).",
    stage="ppo",
    config=PpoOptions,
    inputs={
        "model": Input("model", "Policy", "The SFT model to start from; also the reference of the KL penalty."),
        "reward_model": Input(
            "reward_model", "Reward model", "With the policy's tokenizer; the value model starts from it too."
        ),
        "prompts": Input(
            "dataset",
            "Prompts",
            "Trained on: the train split. Reward before and after is measured on the test split.",
            dataset_type="prompts",
        ),
    },
    outputs={"model": "model"},
)


def run(directory: RunDirectory) -> None:
    options: PpoOptions = directory.config
    train_rows = read_split(directory.input("prompts"), "prompts", "train")
    test_rows = read_split(directory.input("prompts"), "prompts", "test")[: options.measured_prompts]
    for role in ("model", "reward_model"):
        language_models.check_model_directory(directory.input(role))

    import torch

    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    policy, tokenizer = language_models.load_causal_lm(directory.input("model"))
    output_dtype = policy.dtype
    prompts = encode_prompts(tokenizer, train_rows, options.max_prompt_length, "train")
    test_prompts = encode_prompts(tokenizer, test_rows, options.max_prompt_length, "test")

    metadata = train(directory, policy, tokenizer, prompts, output_dtype)
    del policy
    directory.progress(options.total_episodes, options.total_episodes, "episodes", "measuring")
    compute_dtype = torch.bfloat16 if options.precision == "bf16" else torch.float32
    metrics = {
        "episodes": options.total_episodes,
        "iterations": options.iterations,
        "dropped_over_length": len(train_rows) + len(test_rows) - len(prompts) - len(test_prompts),
        **compare_on_held_out(directory, test_prompts, compute_dtype),
    }
    base = directory.input_info("model")[0]
    directory.finish(metrics, {"model": {**metadata, "base": base["name"], "licence": base["metadata"].get("licence")}})


def encode_prompts(tokenizer: Any, rows: list[dict[str, Any]], max_length: int, split: str) -> list[list[int]]:
    encoded = [encode_prompt(tokenizer, row["prompt"]) for row in rows]
    kept = [ids for ids in encoded if len(ids) <= max_length]
    if len(kept) < len(encoded):
        print(f"{len(encoded) - len(kept)} {split} prompts left out as longer than {max_length} tokens.", flush=True)
    if not kept:
        raise ValueError(
            f"All prompts of the {split} split are longer than {max_length} tokens: raise the longest prompt."
        )
    return kept


def load_judge(directory: RunDirectory, tokenizer: Any, dtype: Any) -> Any:
    """The reward model, its head giving normalised rewards; it must read the very tokens that the policy writes."""
    model, its_tokenizer, rewards = reward_models.load_reward_model(directory.input("reward_model"), dtype)
    if its_tokenizer.get_vocab() != tokenizer.get_vocab() or its_tokenizer.eos_token_id != tokenizer.eos_token_id:
        raise ValueError(
            "The reward model has another tokenizer than the policy: train it from a model of the same family."
        )
    reward_models.use_float32_head(model, rewards["mean"], rewards["std"])
    return model.to(language_models.device())


def train(
    directory: RunDirectory, policy: Any, tokenizer: Any, prompts: list[list[int]], output_dtype: Any
) -> dict[str, Any]:
    """Train, and write the policy as the output model. LoRA trains float32 adapters on weights of the given
    precision; full training keeps float32 weights and, with bf16, computes under autocast.
    """
    import torch
    from transformers import set_seed
    from trl.experimental.ppo import ppo_trainer

    options: PpoOptions = directory.config
    set_seed(options.seed)
    low = options.precision == "bf16"
    dtype = torch.bfloat16 if low and options.method == "lora" else torch.float32
    reward_model = load_judge(directory, tokenizer, dtype)
    value_model = load_judge(directory, tokenizer, dtype)
    if options.method == "lora":
        _adapt_value_model(value_model, options)
    corrections = Corrections(
        tokenizer,
        value_model,
        reward_model,
        options.temperature,
        options.missing_eos_score,
        ratio_tolerance=0.05 if low else 1e-3,
    )
    trainer = _make_trainer(directory, policy.to(dtype), tokenizer, reward_model, value_model, prompts)
    done = _restore(directory, trainer)
    trainer.dataloader = prompt_batches(tokenizer, prompts, options)[done:]
    trainer.args.num_total_batches = options.iterations - done
    trainer.add_callback(_run_callback(directory, trainer, corrections, tokenizer, done))
    autocast = low and options.method == "full"
    # without autocast's cache: it would keep the weights of before the optimizer's step
    with torch.autocast(language_models.device().type, torch.bfloat16, enabled=autocast, cache_enabled=False):
        if done < options.iterations:
            with corrections.applied_to(ppo_trainer):
                trainer.train()
    return language_models.save_causal_lm(
        trainer.accelerator.unwrap_model(trainer.model).policy, tokenizer, directory.output("model"), output_dtype
    )


def _adapt_value_model(value_model: Any, options: PpoOptions) -> None:
    """LoRA inside the value model, in place, so that the trainer still finds its transformer and head; the head is
    trained too.
    """
    from peft import inject_adapter_in_model

    inject_adapter_in_model(_lora_config(value_model, options, "SEQ_CLS"), value_model)
    for name, parameter in value_model.named_parameters():
        parameter.requires_grad = "lora_" in name or name.startswith("score.")
        if "lora_" in name:
            parameter.data = parameter.data.float()


def _lora_config(model: Any, options: PpoOptions, task_type: str) -> Any:
    return language_models.lora_config(
        model, options.lora_rank, options.lora_alpha, 0.0, task_type, last_layers=options.lora_layers
    )


def _make_trainer(
    directory: RunDirectory, policy: Any, tokenizer: Any, reward_model: Any, value_model: Any, prompts: list[list[int]]
) -> Any:
    import torch
    from datasets import Dataset
    from trl.experimental.ppo import PPOConfig, PPOTrainer

    from training.recipes.trl_callbacks import trainer_files

    options: PpoOptions = directory.config
    micro_batches = options.episodes_per_iteration // options.micro_batch_size
    arguments = PPOConfig(
        output_dir=str(trainer_files(directory)),
        total_episodes=options.total_episodes,
        per_device_train_batch_size=options.micro_batch_size,
        gradient_accumulation_steps=micro_batches,
        num_mini_batches=options.mini_batches,
        local_rollout_forward_batch_size=options.episodes_per_iteration,
        num_ppo_epochs=options.ppo_epochs,
        learning_rate=options.learning_rate,
        lr_scheduler_type="linear",
        adam_epsilon=1e-5,  # as OpenAI's PPO (lm-human-preference-details)
        seed=options.seed,
        kl_coef=options.kl_coef,
        kl_estimator="k1",
        whiten_rewards=options.whiten_rewards,
        cliprange=options.cliprange,
        cliprange_value=options.cliprange_value,
        vf_coef=options.vf_coef,
        gamma=options.gamma,
        lam=options.lam,
        response_length=options.response_length,
        temperature=options.temperature,
        stop_token="eos",
        missing_eos_penalty=None,  # unfinished answers get their fixed score from Corrections
        num_sample_generations=0,
        bf16=False,
        use_cpu=not torch.cuda.is_available(),
        gradient_checkpointing=False,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
    )
    lora = None
    if options.method == "lora":
        lora = _lora_config(policy, options, "CAUSAL_LM")
    trainer = PPOTrainer(
        args=arguments,
        processing_class=tokenizer,
        model=policy,
        ref_model=None,  # with LoRA the policy without its adapters, else a copy
        reward_model=reward_model,
        value_model=value_model,
        train_dataset=Dataset.from_dict({"input_ids": prompts}),
        peft_config=lora,
    )
    # The trainer steps once in as many micro batches as an iteration has, however many mini batches (trl#5645)
    trainer.accelerator.gradient_accumulation_steps = micro_batches // options.mini_batches
    trained = [parameter for group in trainer.optimizer.param_groups for parameter in group["params"]]
    trainer.optimizer.optimizer.register_step_pre_hook(
        lambda *_: torch.nn.utils.clip_grad_norm_(trained, options.max_grad_norm) and None
    )
    return trainer


def prompt_batches(tokenizer: Any, prompts: list[list[int]], options: PpoOptions) -> list[dict[str, Any]]:
    """The prompts of every iteration, left-padded: shuffled passes over all prompts, one after the other."""
    import numpy as np

    order: list[int] = []
    shuffler = np.random.default_rng(options.seed)
    while len(order) < options.total_episodes:
        order += shuffler.permutation(len(prompts)).tolist()
    size = options.episodes_per_iteration
    return [
        tokenizer.pad(
            {"input_ids": [prompts[i] for i in order[k : k + size]]}, padding_side="left", return_tensors="pt"
        )
        for k in range(0, options.total_episodes, size)
    ]


def _save(directory: RunDirectory, trainer: Any, iteration: int) -> None:
    """All that the next iteration depends on: what is trained, Adam's moments, the schedule, the random streams."""
    import numpy as np
    import torch

    kind, keys, *rest = np.random.get_state()
    state = {
        "parameters": {name: p.detach() for name, p in trainer.model.named_parameters() if p.requires_grad},
        "optimizer": trainer.optimizer.state_dict(),
        "schedule": trainer.lr_scheduler.state_dict(),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": [kind, torch.from_numpy(keys.astype("int64")), *rest],
    }
    with directory.checkpoint(iteration) as path:
        torch.save(state, path / "state.pt")


def _restore(directory: RunDirectory, trainer: Any) -> int:
    """Take up the newest checkpoint, if there is one; returns the number of iterations that are done."""
    import torch

    from training.recipes.trl_callbacks import resume_point

    iteration, path = resume_point(directory)
    if path is None:
        return 0
    state = torch.load(f"{path}/state.pt", map_location="cpu", weights_only=True)
    parameters = dict(trainer.model.named_parameters())
    with torch.no_grad():
        for name, value in state["parameters"].items():
            parameters[name].copy_(value)
    trainer.optimizer.load_state_dict(state["optimizer"])
    trainer.lr_scheduler.load_state_dict(state["schedule"])
    trainer.random_state = state["torch"], state["cuda"], state["numpy"]  # set when training begins
    return iteration


def _run_callback(directory: RunDirectory, trainer: Any, corrections: Corrections, tokenizer: Any, done: int) -> Any:
    """Reports each iteration, saves checkpoints, and stops when asked to: the trainer itself looks at no such flag."""
    import numpy as np
    import torch
    from transformers import TrainerCallback

    options: PpoOptions = directory.config

    class PpoCallback(TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            state.global_step, state.episode = done, done * options.episodes_per_iteration
            state.max_steps = options.iterations
            if done:
                torch_state, cuda_states, (kind, keys, *rest) = trainer.random_state
                torch.set_rng_state(torch_state)
                if cuda_states:
                    torch.cuda.set_rng_state_all(cuda_states)
                np.random.set_state((kind, keys.numpy().astype("uint32"), *rest))
            directory.progress(state.episode, options.total_episodes, "episodes")

        def on_log(
            self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any
        ) -> None:
            rollout = corrections.rollout

            def mean(name: str) -> float:
                """The trainer averages over mini batches × all micro batches, of which it fills one share in each."""
                return logs[name] * options.mini_batches

            directory.log_metrics(
                state.global_step,
                reward=logs["objective/scores"],
                kl=logs["objective/kl"],
                entropy=mean("policy/entropy_avg"),
                length=fmean(rollout.lengths),
                finished_rate=fmean(rollout.finished),
                policy_ratio=mean("val/ratio"),
                first_ratio=rollout.first_ratio,
                policy_loss=mean("loss/policy_avg"),
                value_loss=mean("loss/value_avg"),
                clip_fraction=mean("policy/clipfrac_avg"),
                learning_rate=logs["lr"],
                episodes=logs["episode"],
            )
            rows = zip(rollout.queries_responses, rollout.scores, rollout.finished, strict=True)
            for ids, score, finished in list(rows)[: options.logged_samples]:
                prompt = decode_answer(tokenizer, ids[: rollout.context_length])
                answer = decode_answer(tokenizer, ids[rollout.context_length :])
                directory.log_sample(state.global_step, prompt=prompt, text=answer, reward=score, finished=finished)

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            directory.progress(state.episode, options.total_episodes, "episodes")
            last = state.global_step == options.iterations
            every = options.checkpoint_every
            if last or directory.stop_requested or every and state.global_step % every == 0:
                _save(directory, trainer, state.global_step)
            if directory.stop_requested and not last:
                raise Stopped(f"checkpoint saved after iteration {state.global_step} of {options.iterations}")

    return PpoCallback()


def compare_on_held_out(directory: RunDirectory, prompts: list[list[int]], dtype: Any) -> dict[str, Any]:
    """Sample answers to the held-out prompts from the input model and from the trained one as saved, with the same
    seeds.

    reward: as PPO maximises it, without the KL term (normalised; unfinished answers get their fixed score); its gain
    has a bootstrap interval over prompts, paired. score: the reward model's alone, also for unfinished answers. kl:
    mean over the trained model's answers of Σ log π/π_ref, in nats an answer.
    """
    options: PpoOptions = directory.config
    _, tokenizer = language_models.load_causal_lm(directory.input("model"))
    judge = load_judge(directory, tokenizer, dtype)
    repeated = [prompt for prompt in prompts for _ in range(options.measured_samples)]
    measured = {}
    for when, path in (("before", directory.input("model")), ("after", directory.output("model"))):
        model, _ = language_models.load_causal_lm(path, dtype)
        model.to(language_models.device())
        answers = language_models.sample_answers(
            model,
            tokenizer,
            repeated,
            max_new_tokens=options.response_length,
            temperature=options.temperature,
            seed=options.seed,
        )
        dialogues = [prompt + answer for prompt, answer in zip(repeated, answers, strict=True)]
        scores = reward_models.score_dialogues(judge, dialogues, tokenizer.pad_token_id)
        finished = [language_models.is_finished(answer, tokenizer.eos_token_id) for answer in answers]
        rewards = [s if ended else options.missing_eos_score for s, ended in zip(scores, finished, strict=True)]
        measured[when] = {"model": model, "answers": answers, "score": scores, "finished": finished, "reward": rewards}
    before, after = measured["before"], measured["after"]
    gains = [a - b for a, b in zip(after["reward"], before["reward"], strict=True)]
    low, high = cluster_bootstrap_mean(gains, [i // options.measured_samples for i in range(len(gains))])
    logps = [
        language_models.answer_logprobs(
            m["model"], repeated, after["answers"], options.temperature, tokenizer.pad_token_id
        )
        for m in (after, before)
    ]
    result: dict[str, Any] = {"held_out_prompts": len(prompts), "reward_gain_ci": [low, high]}
    for when, m in measured.items():
        result |= {
            f"reward_{when}": fmean(m["reward"]),
            f"score_{when}": fmean(m["score"]),
            f"finished_rate_{when}": fmean(m["finished"]),
            f"length_{when}": fmean(len(answer) for answer in m["answers"]),
        }
    result["kl"] = fmean(policy - reference for policy, reference in zip(*logps, strict=True))
    return result


if __name__ == "__main__":
    launch(RECIPE, run)
