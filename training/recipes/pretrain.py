"""Pretrain a GPT-NeoX from scratch with DeepSpeed: ZeRO, bf16 or fp32, exact resume.

Every step is a pure function of the state before it and of its number: which blocks it trains on, its learning rate and
its random seed all come from the step, so a resumed run gives the losses of an uninterrupted one bit for bit (at equal
rank and thread counts) without any saved loader, scheduler or generator state.

Order at the end of a step: log, save, evaluate. A crash in the evaluation never costs a checkpoint; a resumed run
evaluates what is missing first.

Left out: tensor and pipeline parallelism, CPU offload, going on with another number of ranks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from studio.runs.contract import Input, Recipe, option
from studio.runs.directory import RunDirectory, launch
from training.recipes.attention_heads import unservable_head_size


@dataclass(frozen=True)
class PretrainConfig:
    hidden_size: int = option(
        256, "Hidden size", "Width of the model.", unit="features", minimum=32, maximum=65536, group="Model"
    )
    layers: int = option(4, "Layers", "Transformer blocks.", minimum=1, maximum=512, group="Model")
    attention_heads: int = option(
        4, "Attention heads", "Head size is hidden size / heads.", minimum=1, maximum=512, group="Model"
    )
    sequence_length: int = option(
        256,
        "Sequence length",
        "Longest context of the model.",
        unit="tokens",
        minimum=8,
        maximum=1048576,
        group="Model",
    )
    rotary_pct: float = option(
        0.25,
        "Rotary share",
        "Share of each head's dimensions that rotary position embeddings turn (GPT-NeoX-20B: 0.25).",
        minimum=0.0,
        maximum=1.0,
        group="Model",
    )
    parallel_residual: bool = option(
        True, "Parallel residual", "Attention and feed-forward side by side, as in GPT-NeoX-20B.", group="Model"
    )
    tie_embeddings: bool = option(
        False, "Tie embeddings", "One matrix for input and output embeddings: fewer parameters.", group="Model"
    )

    steps: int = option(400, "Steps", "Optimizer steps.", unit="steps", minimum=1, group="Budget")
    budget_tokens: int | None = option(
        None,
        "Token budget",
        "Instead of steps: train until this many tokens have been seen.",
        unit="tokens",
        minimum=1,
        group="Budget",
    )

    micro_batch_size: int = option(
        4, "Micro batch size", "Sequences in memory at once, for each rank.", unit="sequences", minimum=1, group="Batch"
    )
    gradient_accumulation: int = option(
        1, "Gradient accumulation", "Micro batches a step, for each rank.", minimum=1, group="Batch"
    )

    learning_rate: float = option(
        1.5e-3, "Learning rate", "At its peak, after the warm-up.", minimum=0, group="Optimizer"
    )
    warmup_share: float = option(
        0.05,
        "Warm-up",
        "Share of the steps in which the learning rate rises from 0 to its peak.",
        minimum=0,
        maximum=1,
        group="Optimizer",
    )
    final_learning_rate_share: float = option(
        0.1,
        "Final learning rate",
        "Share of the peak where the cosine decay ends.",
        minimum=0,
        maximum=1,
        group="Optimizer",
    )
    weight_decay: float = option(0.1, "Weight decay", "On matrices only.", minimum=0, group="Optimizer")
    adam_beta1: float = option(0.9, "Adam β₁", minimum=0, maximum=0.9999, group="Optimizer")
    adam_beta2: float = option(0.95, "Adam β₂", minimum=0, maximum=0.99999, group="Optimizer")
    gradient_clipping: float = option(
        1.0, "Gradient clipping", "Largest norm of the gradient; 0 switches it off.", minimum=0, group="Optimizer"
    )
    skipped_steps_allowed: int = option(
        5,
        "Skipped steps allowed",
        "A step whose loss or gradient is not finite is skipped; after more than this many in a row the run fails.",
        minimum=0,
        group="Optimizer",
    )

    precision: str = option("bf16", "Precision", choices=("bf16", "fp32"), group="Hardware")
    zero_stage: int = option(
        0,
        "ZeRO stage",
        "What is spread over the ranks: 1 optimizer state, 2 gradients too, 3 weights too.",
        minimum=0,
        maximum=3,
        group="Hardware",
    )
    ranks: int = option(1, "Ranks", "Processes (GPUs) that share the work.", minimum=1, maximum=1024, group="Hardware")

    checkpoint_every: int = option(100, "Checkpoint every", unit="steps", minimum=1, group="Watching")
    evaluate_every: int = option(100, "Validation loss every", unit="steps", minimum=1, group="Watching")
    evaluation_sequences: int = option(
        64,
        "Sequences for the validation loss",
        "The first so many of the held-out text.",
        unit="sequences",
        minimum=1,
        group="Watching",
    )
    sample_every: int = option(
        200, "Text samples every", "0 switches them off.", unit="steps", minimum=0, group="Watching"
    )
    sample_prompts: tuple[str, ...] = option(
        ("Return a", "The list method"), "Prompts of the text samples", "One a line.", multiline=True, group="Watching"
    )
    sample_tokens: int = option(48, "Length of the text samples", unit="tokens", minimum=1, group="Watching")
    seed: int = option(0, "Seed", "Of the weights and of the data order.", minimum=0, maximum=2**31 - 1)

    def __post_init__(self) -> None:
        if self.hidden_size % self.attention_heads:
            raise ValueError(
                f"The hidden size ({self.hidden_size}) must be a multiple of the number of attention heads "
                f"({self.attention_heads})."
            )
        head_size = self.hidden_size // self.attention_heads
        if problem := unservable_head_size(head_size):
            raise ValueError(f"{problem} Change the hidden size or the number of attention heads.")
        if int(head_size * self.rotary_pct) % 2:
            raise ValueError(
                f"A rotary share of {self.rotary_pct:g} turns {int(head_size * self.rotary_pct)} of a head's "
                f"{head_size} dimensions; it must be an even number."
            )

    @property
    def sequences_per_step(self) -> int:
        return self.micro_batch_size * self.gradient_accumulation * self.ranks

    @property
    def tokens_per_step(self) -> int:
        return self.sequences_per_step * self.sequence_length

    @property
    def total_steps(self) -> int:
        return math.ceil(self.budget_tokens / self.tokens_per_step) if self.budget_tokens else self.steps


RECIPE = Recipe(
    module="training.recipes.pretrain",
    name="pretrain",
    title="Pretraining",
    summary="Train a GPT-NeoX from scratch on a corpus, with DeepSpeed.",
    stage="pretrain",
    config=PretrainConfig,
    inputs={
        "corpus": Input("corpus", "Corpus", "Text to train on, with its held-out part."),
        "tokenizer": Input("tokenizer", "Tokenizer"),
    },
    outputs={"model": "model"},
    launcher="deepspeed",
)


def run(directory: RunDirectory) -> None:
    from training.recipes.distributed import initialise_distributed

    initialise_distributed()
    import torch.distributed

    from training.recipes.pretraining_loop import Pretraining

    try:
        Pretraining(directory).run()
    finally:
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    launch(RECIPE, run)
