"""Supervised fine-tuning of a language model on demonstrations, with TRL's SFTTrainer under DeepSpeed.

    python -m training.recipes.sft var/runs/42

Each demonstration becomes prompt + answer + EOS (see `training.chat`); the loss is taken on the answer and its EOS,
so the model learns to finish. Left out: packing (demonstrations are short, and packed ones would attend to each other
without FlashAttention) and dialogues with several trained turns.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from studio.runs.contract import Input, Recipe, option
from studio.runs.directory import RunDirectory, launch, read_jsonl
from training import language_models
from training.chat import change_template, decode_answer, encode_prompt
from training.dataset_files import read_split
from training.demonstrations import encode_demonstrations, hold_out, token_loss


@dataclass
class SFTOptions:
    """Settings of the recipe; the form, the command line and the docs are made from them."""

    epochs: float = option(
        3.0, "Epochs", "Passes over the demonstrations.", minimum=0.01, maximum=1000, group="Training"
    )
    learning_rate: float = option(
        1e-3,
        "Learning rate",
        "Peak; about 1e-3 for LoRA on a small model, 2e-5 for full fine-tuning. It decays linearly to zero.",
        minimum=0.0,
        maximum=1.0,
        group="Training",
    )
    warmup_ratio: float = option(0.05, "Warm-up", "Share of the steps.", minimum=0.0, maximum=1.0, group="Training")
    weight_decay: float = option(0.0, "Weight decay", minimum=0.0, maximum=1.0, group="Training")
    max_grad_norm: float = option(1.0, "Gradient clipping", "Largest norm.", minimum=0.0, maximum=1e6, group="Training")
    micro_batch_size: int = option(
        8, "Micro batch", "Demonstrations a forward pass and rank.", minimum=1, maximum=4096, group="Training"
    )
    gradient_accumulation_steps: int = option(
        1, "Gradient accumulation", "Micro batches a step.", minimum=1, maximum=4096, group="Training"
    )
    max_length: int = option(
        512,
        "Longest demonstration",
        "Prompt and answer; longer ones are left out and counted, since cutting them would cut their end.",
        unit="tokens",
        minimum=8,
        maximum=131072,
        group="Training",
    )
    validation_share: float = option(
        0.1,
        "Validation share",
        "Of the demonstrations, taken by prompt when the dataset has no test split; 0: none.",
        minimum=0.0,
        maximum=0.5,
        group="Training",
    )
    completion_only_loss: bool = option(
        True, "Loss on the answer only", "Otherwise on the prompt too.", group="Training"
    )
    chat_template: str = option(
        "the model's own",
        "Chat template",
        "How dialogues are written, from here on. Many models' own begin with a system prompt about who made them; "
        "chatml and plain add none, which makes every sequence shorter.",
        choices=("the model's own", "chatml", "plain"),
        group="Training",
    )
    seed: int = option(
        0, "Seed", "Order of the data and adapters' start.", minimum=0, maximum=2**31 - 1, group="Training"
    )
    method: str = option("lora", "What is trained", choices=("lora", "full"), group="Adapter")
    lora_rank: int = option(16, "LoRA rank", minimum=1, maximum=1024, group="Adapter")
    lora_alpha: float = option(
        32.0, "LoRA alpha", "The update is scaled by alpha / rank.", minimum=0.0, maximum=4096, group="Adapter"
    )
    lora_dropout: float = option(0.0, "LoRA dropout", minimum=0.0, maximum=0.9, group="Adapter")
    precision: str = option(
        "bf16", "Precision", "bf16 keeps float32 master weights.", choices=("bf16", "fp32"), group="Hardware"
    )
    ranks: int = option(1, "Ranks", "Processes, one a GPU.", minimum=1, maximum=1024, group="Hardware")
    zero_stage: int = option(
        2,
        "ZeRO stage",
        "What DeepSpeed shards over ranks: 1 Adam's moments, 2 gradients too, 3 weights too.",
        minimum=1,
        maximum=3,
        group="Hardware",
    )
    gradient_checkpointing: bool = option(
        False, "Gradient checkpointing", "Less memory, about a third slower.", group="Hardware"
    )
    checkpoint_every: int = option(50, "Checkpoint every", unit="steps", minimum=1, maximum=10**9, group="Watching")
    evaluate_every: int = option(
        20, "Validate every", "0: only before and after.", unit="steps", minimum=0, maximum=10**9, group="Watching"
    )
    sample_prompts: int = option(
        2, "Sampled prompts", "Answers shown at each validation.", minimum=0, maximum=64, group="Watching"
    )
    measure_finished: int = option(
        0,
        "Prompts for the finished rate",
        "Held-out prompts answered before and after, to see how many answers end by themselves; 0: not measured.",
        minimum=0,
        maximum=100000,
        group="Watching",
    )
    max_new_tokens: int = option(48, "Longest sampled answer", unit="tokens", minimum=1, maximum=4096, group="Watching")
    temperature: float = option(0.7, "Sampling temperature", "0: greedy.", minimum=0.0, maximum=10.0, group="Watching")

    def __post_init__(self) -> None:
        if self.precision == "bf16" and self.zero_stage < 2:
            raise ValueError(
                "ZeRO stage: bf16 with float32 master weights needs stage 2 or 3; choose one, or precision fp32."
            )


RECIPE = Recipe(
    module="training.recipes.sft",
    name="sft",
    title="Supervised fine-tuning",
    summary="Teach a model to answer as the demonstrations do (TRL, DeepSpeed; full or LoRA).",
    stage="sft",
    config=SFTOptions,
    inputs={
        "model": Input("model", "Model", "The language model to start from."),
        "dataset": Input(
            "dataset",
            "Demonstrations",
            "Trained on: the train split. The test split, where there is one, gives the validation loss.",
            dataset_type="demonstrations",
        ),
        "prompts": Input(
            "dataset",
            "Prompts",
            "Their test split is answered for samples and finished rate; else the held-out demonstrations' prompts.",
            dataset_type="prompts",
            required=False,
        ),
    },
    outputs={"model": "model"},
    launcher="deepspeed",
)


def run(directory: RunDirectory) -> None:
    options: SFTOptions = directory.config
    train_rows = read_split(directory.input("dataset"), "demonstrations", "train")
    test_rows = read_split(directory.input("dataset"), "demonstrations", "test", required=False)
    if not test_rows:
        train_rows, test_rows = hold_out(train_rows, options.validation_share, options.seed)
    prompts = directory.optional_input("prompts")
    asked = read_split(prompts, "prompts", "test") if prompts else test_rows
    if options.measure_finished and not asked:
        raise ValueError(
            "The finished rate needs held-out prompts: give prompts, demonstrations with a test split, or a "
            "validation share."
        )
    language_models.check_model_directory(directory.input("model"))

    _configure_process()
    from transformers import set_seed

    from training.recipes.trl_callbacks import raise_if_stopped, resume_point, trainer_files

    _, checkpoint = resume_point(directory)
    set_seed(options.seed)
    model, tokenizer = language_models.load_causal_lm(directory.input("model"))
    if options.chat_template != "the model's own":
        change_template(tokenizer, options.chat_template)
    dtype = model.dtype
    train, dropped = encode_demonstrations(tokenizer, train_rows, options.max_length, options.completion_only_loss)
    test, dropped_test = encode_demonstrations(tokenizer, test_rows, options.max_length, options.completion_only_loss)
    if dropped or dropped_test:
        print(f"Left out as longer than {options.max_length} tokens: {dropped} train, {dropped_test} test.", flush=True)
    if not train:
        raise ValueError(
            f"All {dropped} demonstrations are longer than {options.max_length} tokens: raise the longest one."
        )

    trainer = _make_trainer(directory, model, tokenizer, train, trainer_files(directory))
    observer = Observer(directory, trainer, tokenizer, test, asked or train_rows)
    trainer.add_callback(_observing_callback(observer))
    trainer.train(resume_from_checkpoint=checkpoint)
    raise_if_stopped(directory, trainer.state)

    metadata = observer.finish(dtype)
    if directory.rank:
        return  # rank 0 alone measures what was saved, and says how it went
    before, after = observer.recorded(0), observer.recorded(trainer.state.max_steps)
    metrics: dict[str, Any] = {
        "demonstrations": len(train),
        "dropped_over_length": dropped,
        "steps": trainer.state.max_steps,
    }
    for name in ("val_loss", "finished_rate"):
        if name in before:
            metrics |= {f"{name}_before": before[name], f"{name}_after": after[name]}
    base = directory.input_info("model")[0]
    directory.finish(metrics, {"model": {**metadata, "base": base["name"], "licence": base["metadata"].get("licence")}})


def _configure_process() -> None:
    """Before anything of DeepSpeed or the hub is imported."""
    from training.recipes.distributed import choose_accelerator

    choose_accelerator()
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")


def deepspeed_config(options: SFTOptions) -> dict[str, Any]:
    """DeepSpeed's own settings; those that the trainer also has are "auto", taken from there."""
    return {
        "train_micro_batch_size_per_gpu": "auto",
        "gradient_accumulation_steps": "auto",
        "train_batch_size": "auto",
        "gradient_clipping": "auto",
        "zero_optimization": {"stage": options.zero_stage},
        "bf16": {"enabled": options.precision == "bf16"},
        "zero_allow_untested_optimizer": True,
        "optimizer": {
            "type": "AdamW",
            # torch_adam: DeepSpeed's own Adam would be compiled for a minute or two first
            "params": {"lr": "auto", "betas": "auto", "eps": "auto", "weight_decay": "auto", "torch_adam": True},
        },
    }


def _make_trainer(directory: RunDirectory, model: Any, tokenizer: Any, train: list[dict[str, Any]], files: Any) -> Any:
    import torch
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    from training.recipes.trl_callbacks import RunCallback

    options: SFTOptions = directory.config
    arguments = SFTConfig(
        output_dir=str(files),
        num_train_epochs=options.epochs,
        learning_rate=options.learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=options.warmup_ratio,
        weight_decay=options.weight_decay,
        max_grad_norm=options.max_grad_norm,
        per_device_train_batch_size=options.micro_batch_size,
        gradient_accumulation_steps=options.gradient_accumulation_steps,
        max_length=None,  # checked when encoding
        seed=options.seed,
        bf16=options.precision == "bf16",
        use_cpu=not torch.cuda.is_available(),
        gradient_checkpointing=options.gradient_checkpointing,
        loss_type="nll",
        deepspeed=deepspeed_config(options),
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
        lora = _lora_config(model, options)
    elif options.precision == "fp32":
        model = model.float()
    return SFTTrainer(
        model=model,
        args=arguments,
        train_dataset=Dataset.from_list(train),
        processing_class=tokenizer,
        peft_config=lora,
        callbacks=[RunCallback(directory)],
    )


def _add_adapters(model: Any, options: SFTOptions) -> Any:
    from peft import get_peft_model

    return get_peft_model(model, _lora_config(model, options))


def _lora_config(model: Any, options: SFTOptions) -> Any:
    return language_models.lora_config(model, options.lora_rank, options.lora_alpha, options.lora_dropout, "CAUSAL_LM")


class Observer:
    """Validation loss, samples and the finished rate: before the first step, now and then, and after the last."""

    def __init__(
        self,
        directory: RunDirectory,
        trainer: Any,
        tokenizer: Any,
        test: list[dict[str, Any]],
        shown: list[dict[str, Any]],
    ):
        self.directory = directory
        self.options: SFTOptions = directory.config
        self.trainer = trainer
        self.tokenizer = tokenizer
        self.test = test
        self.prompts = [row["prompt"] for row in shown]

    def recorded(self, step: int) -> dict[str, float]:
        """What has been logged of `step`, also by the process that was resumed."""
        return {name: value for row in self.directory.metrics() if row["step"] == step for name, value in row.items()}

    def due(self, step: int) -> bool:
        every = self.options.evaluate_every
        if step and not (every and step % every == 0):
            return False
        samples = read_jsonl(self.directory.path / "samples.jsonl")
        return "val_loss" not in self.recorded(step) and all(sample["step"] != step for sample in samples)

    def observe(self, step: int) -> None:
        """While training. Every rank does the same, for with ZeRO-3 each holds a part of every weight; rank 0 logs."""
        self._measure(self.trainer.model_wrapped.module, step, measure_finished=step == 0)

    def finish(self, dtype: Any) -> dict[str, Any]:
        """Save the trained model, adapters merged, and measure what was saved. Returns its metadata."""
        import deepspeed
        from transformers.integrations.deepspeed import unset_hf_deepspeed_config

        steps = self.trainer.state.max_steps
        self.directory.progress(steps, steps, "steps", "saving and measuring")
        trained = self.trainer.model_wrapped.module
        weights: dict[str, Any] = {}
        with deepspeed.zero.GatheredParameters(list(trained.parameters()), enabled=self.options.zero_stage == 3):
            if not self.directory.rank:  # whole here, in parts again once this block is left
                weights = {name: tensor.detach().to("cpu", copy=True) for name, tensor in trained.state_dict().items()}
        if self.directory.rank:
            return {}
        unset_hf_deepspeed_config()  # a model loaded from now on is a plain one, of this rank alone
        model, _ = language_models.load_causal_lm(self.directory.input("model"))
        if self.options.method == "lora":
            model = _add_adapters(model, self.options)
        model.load_state_dict(weights)
        path = self.directory.output("model")
        metadata = language_models.save_causal_lm(model, self.tokenizer, path, dtype)
        saved, _ = language_models.load_causal_lm(path)
        self._measure(saved.to(language_models.device()), steps, measure_finished=True)
        return metadata

    def _measure(self, model: Any, step: int, measure_finished: bool) -> None:
        options = self.options
        was_training = model.training
        model.eval()
        values: dict[str, float] = {}
        if self.test:
            values["val_loss"] = token_loss(model, self.test, self.tokenizer.pad_token_id, options.micro_batch_size)
        count = options.measure_finished if measure_finished else 0
        prompts = self.prompts[: max(count, options.sample_prompts)]
        answers = language_models.sample_answers(
            model,
            self.tokenizer,
            [encode_prompt(self.tokenizer, prompt) for prompt in prompts],
            max_new_tokens=options.max_new_tokens,
            temperature=options.temperature,
            seed=options.seed,
        )
        if count:
            values["finished_rate"] = language_models.finished_rate(answers[:count], self.tokenizer.eos_token_id)
        for prompt, answer in list(zip(prompts, answers, strict=True))[: options.sample_prompts]:
            finished = language_models.is_finished(answer, self.tokenizer.eos_token_id)
            text = decode_answer(self.tokenizer, answer)
            self.directory.log_sample(step, prompt=prompt[-1]["content"], text=text, finished=finished)
        if values:
            self.directory.log_metrics(step, **values)
        model.train(was_training)


def _observing_callback(observer: Observer) -> Any:
    """Observes at the beginning of the step after: by then a checkpoint of the step before has been saved."""
    from transformers import TrainerCallback

    class Observing(TrainerCallback):
        def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if observer.due(state.global_step):
                observer.observe(state.global_step)

    return Observing()


if __name__ == "__main__":
    launch(RECIPE, run)
