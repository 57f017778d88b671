"""Pretrain a GPT-NeoX from scratch with DeepSpeed: ZeRO, bf16 or fp32, exact resume.

Every step is a pure function of the state before it and of its number: which blocks it trains on, its learning rate and
its random seed all come from the step, so a resumed run gives the losses of an uninterrupted one bit for bit (at equal
rank and thread counts) without any saved loader, scheduler or generator state.

Order at the end of a step: log, save, evaluate. A crash in the evaluation never costs a checkpoint; a resumed run
evaluates what is missing first.

Left out: tensor and pipeline parallelism, CPU offload, going on with another number of ranks.
"""

from __future__ import annotations

import json
import math
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.runs.contract import Input, Recipe, option
from studio.runs.directory import RunDirectory, Stopped, launch, write_json
from training.recipes.attention_heads import unservable_head_size

DEEPSPEED_TAG = "deepspeed"
PREPARE_EVERY = 1  # batches of documents between two looks at the stop flag while tokens are written


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
        256, "Sequence length", "Longest context of the model.", unit="tokens", minimum=8, maximum=1048576, group="Model"
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
        None, "Token budget", "Instead of steps: train until this many tokens have been seen.", unit="tokens", minimum=1, group="Budget"
    )

    micro_batch_size: int = option(
        4, "Micro batch size", "Sequences in memory at once, for each rank.", unit="sequences", minimum=1, group="Batch"
    )
    gradient_accumulation: int = option(
        1, "Gradient accumulation", "Micro batches a step, for each rank.", minimum=1, group="Batch"
    )

    learning_rate: float = option(1.5e-3, "Learning rate", "At its peak, after the warm-up.", minimum=0, group="Optimizer")
    warmup_share: float = option(
        0.05, "Warm-up", "Share of the steps in which the learning rate rises from 0 to its peak.", minimum=0, maximum=1, group="Optimizer"
    )
    final_learning_rate_share: float = option(
        0.1, "Final learning rate", "Share of the peak where the cosine decay ends.", minimum=0, maximum=1, group="Optimizer"
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
        64, "Sequences for the validation loss", "The first so many of the held-out text.", unit="sequences", minimum=1, group="Watching"
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
                f"The hidden size ({self.hidden_size}) must be a multiple of the number of attention heads ({self.attention_heads})."
            )
        head_size = self.hidden_size // self.attention_heads
        if problem := unservable_head_size(head_size):
            raise ValueError(f"{problem} Change the hidden size or the number of attention heads.")
        if int(head_size * self.rotary_pct) % 2:
            raise ValueError(
                f"A rotary share of {self.rotary_pct:g} turns {int(head_size * self.rotary_pct)} of {head_size} dimensions; "
                "it must be an even number."
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


def learning_rate(config: PretrainConfig, step: int) -> float:
    """Of step `step` (from 1): linear warm-up, then a cosine from the peak to `final_learning_rate_share` of it."""
    warmup = round(config.warmup_share * config.total_steps)
    if step <= warmup:
        return config.learning_rate * step / warmup
    progress = (step - warmup) / max(1, config.total_steps - warmup)
    low = config.final_learning_rate_share
    return config.learning_rate * (low + (1 - low) * 0.5 * (1 + math.cos(math.pi * progress)))


def step_blocks(config: PretrainConfig, order: Any, step: int, rank: int) -> list[Any]:
    """The blocks that `rank` trains on in step `step` (from 1): one array of `micro_batch_size` a micro batch."""
    size = config.micro_batch_size
    places = order.blocks((step - 1) * config.sequences_per_step, config.sequences_per_step)
    micro_batches = places.reshape(config.gradient_accumulation, config.ranks, size)
    return [micro_batch[rank] for micro_batch in micro_batches]


def deepspeed_config(config: PretrainConfig) -> dict[str, Any]:
    document: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": config.micro_batch_size,
        "gradient_accumulation_steps": config.gradient_accumulation,
        "gradient_clipping": config.gradient_clipping,
        "bf16": {"enabled": config.precision == "bf16"},
        "zero_optimization": {"stage": config.zero_stage, "stage3_gather_16bit_weights_on_model_save": True},
    }
    if config.precision == "bf16" and config.zero_stage:
        document["bf16"]["check_grad_overflow"] = True  # skip steps with non-finite gradients
    return document


def run(directory: RunDirectory) -> None:
    import torch

    cuda = torch.cuda.is_available()
    if not cuda:
        os.environ["DS_ACCELERATOR"] = "cpu"
    import deepspeed

    if cuda:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    deepspeed.init_distributed(dist_backend="nccl" if cuda else "gloo", verbose=False)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False
    try:
        Pretraining(directory).run()
    finally:
        torch.distributed.destroy_process_group()


class Pretraining:
    """One rank's part of the run."""

    def __init__(self, directory: RunDirectory):
        import torch.distributed as dist
        from transformers import AutoTokenizer

        from training.corpus.packing import BlockOrder

        self.directory = directory
        self.config: PretrainConfig = directory.config
        self.rank, self.world = dist.get_rank(), dist.get_world_size()
        assert self.world == self.config.ranks
        self.tokenizer = AutoTokenizer.from_pretrained(directory.input("tokenizer"))
        self.train_blocks, self.heldout_blocks = self._prepare_data()
        self.order = BlockOrder(self.train_blocks.count, self.config.seed)
        self.engine = self._build_engine()
        self.parameters = _number_of_parameters(self.engine.module)
        self.step = 0
        self.train_seconds = 0.0
        self.skipped_steps = self.skipped_in_a_row = 0

    def run(self) -> None:
        self._resume()
        self._watch()
        while self.step < self.config.total_steps:
            self._train_step()
            last = self.step == self.config.total_steps
            stop = self._any_rank_stops() and not last
            if stop or last or self.step % self.config.checkpoint_every == 0:
                self._save_checkpoint()
            if stop:
                raise Stopped(f"checkpoint saved at step {self.step}")
            self._watch()
        self._finish()

    # Data

    def _prepare_data(self) -> tuple[Any, Any]:
        """The corpus as packed tokens: rank 0 writes them once a run, then all ranks map them."""
        import torch.distributed as dist

        from training.corpus.packing import PackedBlocks

        folder = self.directory.path / "tokens"
        if not self.rank:
            folder.mkdir(exist_ok=True)
            for split in ("heldout", "train"):
                if not (folder / f"{split}.bin").exists():
                    self._write_tokens(split, folder / f"{split}.bin")
        dist.barrier()
        blocks = {s: PackedBlocks(folder / f"{s}.bin", self.config.sequence_length) for s in ("train", "heldout")}
        for split, packed in blocks.items():
            if not packed.count:
                raise ValueError(
                    f"The corpus's {split} part has {len(packed.tokens)} tokens, too few for one sequence of "
                    f"{self.config.sequence_length}: take a larger corpus or a shorter sequence length."
                )
        return blocks["train"], blocks["heldout"]

    def _write_tokens(self, split: str, path: Path) -> None:
        from training.corpus.packing import corpus_texts, write_token_stream

        source = self.directory.input("corpus") / f"{split}.jsonl"
        if not source.exists():
            raise ValueError(f"{source.parent} has no {split}.jsonl: give an artifact of kind corpus.")
        if self.tokenizer.eos_token_id is None:
            raise ValueError("The tokenizer has no end-of-text token: give one that the tokenizer recipe made.")
        write_token_stream(
            path,
            corpus_texts(source),
            lambda texts: self.tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"],
            self.tokenizer.eos_token_id,
            lambda tokens: self.directory.progress(0, self._total_tokens, "tokens", f"{tokens} {split} tokens packed"),
        )

    # Model

    def _build_engine(self) -> Any:
        import deepspeed
        import torch
        from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

        config = self.config
        torch.manual_seed(config.seed)
        model = GPTNeoXForCausalLM(
            GPTNeoXConfig(
                vocab_size=len(self.tokenizer),
                hidden_size=config.hidden_size,
                intermediate_size=4 * config.hidden_size,
                num_hidden_layers=config.layers,
                num_attention_heads=config.attention_heads,
                max_position_embeddings=config.sequence_length,
                rotary_pct=config.rotary_pct,
                use_parallel_residual=config.parallel_residual,
                tie_word_embeddings=config.tie_embeddings,
                bos_token_id=self.tokenizer.bos_token_id,
                eos_token_id=self.tokenizer.eos_token_id,
                pad_token_id=self.tokenizer.pad_token_id,
            )
        )
        optimizer = _adamw(model, config)
        engine, *_ = deepspeed.initialize(model=model, optimizer=optimizer, config=deepspeed_config(config))
        return engine

    # Steps

    def _train_step(self) -> None:
        import torch

        started = time.perf_counter()
        self.step += 1
        torch.manual_seed(self.config.seed + self.step)
        self.engine.train()
        rate = learning_rate(self.config, self.step)
        for group in self.engine.optimizer.param_groups:
            group["lr"] = rate
        loss = torch.zeros((), device=self.engine.device)
        for blocks in step_blocks(self.config, self.order, self.step, self.rank):
            micro_loss = self._loss(self.train_blocks.batch(blocks))
            self.engine.backward(micro_loss)
            self.engine.step()
            loss += micro_loss.detach() / self.config.gradient_accumulation
        loss = self._mean_over_ranks(loss)
        seconds = time.perf_counter() - started
        self.train_seconds += seconds
        self._count_skipped(self.engine.was_step_applied())
        self.directory.log_metrics(
            self.step,
            loss=loss,
            learning_rate=rate,
            grad_norm=self._gradient_norm(),
            tokens=self.step * self.config.tokens_per_step,
            tokens_per_second=self.config.tokens_per_step / seconds,
            skipped_steps=self.skipped_steps,
        )
        self.directory.progress(self.step * self.config.tokens_per_step, self._total_tokens, "tokens")
        self._give_up_when_unstable()

    def _loss(self, blocks: Any, reduction: str = "mean") -> Any:
        """Cross-entropy in nats a token of blocks [batch, sequence_length + 1]."""
        import torch

        tokens = torch.from_numpy(blocks).to(self.engine.device)
        logits = self.engine(input_ids=tokens[:, :-1], use_cache=False).logits
        return torch.nn.functional.cross_entropy(
            logits.float().flatten(0, 1), tokens[:, 1:].flatten(), reduction=reduction
        )

    def _mean_over_ranks(self, value: Any) -> float:
        import torch.distributed as dist

        dist.all_reduce(value)
        return float(value) / self.world

    def _any_rank_stops(self) -> bool:
        """Whether SIGTERM reached any rank: all must leave at the same step."""
        import torch

        return self._mean_over_ranks(torch.tensor(float(self.directory.stop_requested), device=self.engine.device)) > 0

    def _gradient_norm(self) -> float:
        norm = self.engine.get_global_grad_norm()
        return float("nan") if norm is None else float(norm)

    def _count_skipped(self, applied: bool) -> None:
        self.skipped_steps += not applied
        self.skipped_in_a_row = 0 if applied else self.skipped_in_a_row + 1

    def _give_up_when_unstable(self) -> None:
        if self.skipped_in_a_row > self.config.skipped_steps_allowed:
            raise ValueError(
                f"Training diverged: {self.skipped_in_a_row} steps in a row up to step {self.step} had a loss or gradient "
                "that is not finite. Lower the learning rate, lengthen the warm-up or clip gradients more strongly, then repeat the run."
            )

    # Checkpoints

    def _save_checkpoint(self) -> None:
        import torch.distributed as dist

        aside = self.directory.begin_checkpoint(self.step)
        dist.barrier()  # rank 0 made the directory
        self.engine.save_checkpoint(str(aside), tag=DEEPSPEED_TAG)
        if not self.rank:
            write_json(
                aside / "state.json",
                {
                    "step": self.step,
                    "ranks": self.world,
                    "zero_stage": self.config.zero_stage,
                    "precision": self.config.precision,
                    "train_seconds": self.train_seconds,
                    "skipped_steps": self.skipped_steps,
                    "skipped_in_a_row": self.skipped_in_a_row,
                },
            )
        dist.barrier()  # every rank has written its part
        self.directory.complete_checkpoint(self.step)
        dist.barrier()

    def _resume(self) -> None:
        import torch.distributed as dist

        found = self.directory.latest_checkpoint()
        dist.barrier()  # nobody moves checkpoints before all have looked
        self.directory.truncate_to(found[0] if found else 0)
        if not found:
            return
        self.step, folder = found
        state = json.loads((folder / "state.json").read_text(encoding="utf8"))
        for name, now in (("ranks", self.world), ("zero_stage", self.config.zero_stage), ("precision", self.config.precision)):
            if state[name] != now:
                raise ValueError(
                    f"The checkpoint at step {self.step} was written with {name} = {state[name]} and cannot go on with {now}: "
                    f"resume with {name} = {state[name]}, or repeat the run from its start."
                )
        loaded, _ = self.engine.load_checkpoint(str(folder), tag=DEEPSPEED_TAG)
        assert loaded, folder
        self.train_seconds = state["train_seconds"]
        self.skipped_steps, self.skipped_in_a_row = state["skipped_steps"], state["skipped_in_a_row"]

    # Watching

    def _watch(self) -> None:
        """Validation loss and text samples, when due at this step and not there yet (a resumed run may have them)."""
        first_or_last = self.step in (0, self.config.total_steps)
        if first_or_last or self.step % self.config.evaluate_every == 0:
            if self._missing("metrics.jsonl", "val_loss"):
                loss = self._validation_loss()
                self.directory.log_metrics(self.step, val_loss=loss, perplexity=math.exp(min(loss, 700)))
        sampling = self.config.sample_every and self.config.sample_prompts
        if sampling and self.step and (self.step % self.config.sample_every == 0 or first_or_last):
            if self._missing("samples.jsonl", "text"):
                self._sample_texts()

    def _missing(self, file: str, key: str) -> bool:
        """Whether rank 0 finds no row of this step with `key` in `file`; all ranks hear its answer."""
        import torch
        import torch.distributed as dist

        from studio.runs.directory import read_jsonl

        missing = torch.ones(1, device=self.engine.device)
        if not self.rank:
            rows = read_jsonl(self.directory.path / file)
            missing[0] = float(not any(row["step"] == self.step and key in row for row in rows))
        dist.broadcast(missing, 0)
        return bool(missing.item())

    def _validation_loss(self) -> float:
        """Mean cross-entropy (nats a token) over the first `evaluation_sequences` held-out blocks."""
        import numpy as np
        import torch

        count = min(self.config.evaluation_sequences, self.heldout_blocks.count)
        size = self.config.micro_batch_size
        total = torch.zeros((), dtype=torch.float64, device=self.engine.device)
        self.engine.eval()
        with torch.no_grad():
            for first in range(0, count, size * self.world):  # as many forwards on each rank: ZeRO-3 needs them in step
                places = first + self.rank * size + np.arange(size)
                mine = places[places < count]
                loss = self._loss(self.heldout_blocks.batch(mine if len(mine) else places[:1] * 0), reduction="sum")
                total += loss.double() if len(mine) else 0.0
        return self._mean_over_ranks(total) * self.world / (count * self.config.sequence_length)

    def _sample_texts(self) -> None:
        """Continuations of the fixed prompts, drawn with a seed that depends on the step; the same on every rank."""
        import torch

        self.engine.eval()
        for prompt in self.config.sample_prompts:
            torch.manual_seed(self.config.seed + self.step)
            tokens = self.tokenizer(prompt, return_tensors="pt", return_token_type_ids=False).to(self.engine.device)
            room = self.config.sequence_length - tokens["input_ids"].shape[1]
            if room < 1:
                continue
            with torch.no_grad():
                output = self.engine.module.generate(
                    **tokens, max_new_tokens=min(room, self.config.sample_tokens), do_sample=True, temperature=0.8, top_p=0.95
                )
            text = self.tokenizer.decode(output[0, tokens["input_ids"].shape[1] :], skip_special_tokens=True)
            self.directory.log_sample(self.step, prompt=prompt, text=text)

    # The end

    def _finish(self) -> None:
        state = self._consolidated_weights()
        if self.rank:
            return
        output = self.directory.output("model")
        self.engine.module.save_pretrained(output, state_dict=state)
        self.tokenizer.model_max_length = self.config.sequence_length
        self.tokenizer.save_pretrained(output)
        metrics = self._final_metrics()
        licence = _corpus_licence(self.directory.input("corpus"))
        figures = {key: metrics[key] for key in ("parameters", "tokens")}
        name = f"GPT-NeoX {self.parameters / 1e6:.1f}M"
        metadata = {"name": name, "architecture": "gpt_neox", "origin": "pretrained from scratch", "licence": licence}
        self.directory.finish(metrics, {"model": {**metadata, **figures}})

    def _consolidated_weights(self) -> dict[str, Any] | None:
        """The whole state dict on rank 0's CPU, whatever the ZeRO stage; collective."""
        if self.config.zero_stage == 3:
            return self.engine._zero3_consolidated_16bit_state_dict()
        return {name: tensor.cpu() for name, tensor in self.engine.module.state_dict().items()}

    def _final_metrics(self) -> dict[str, Any]:
        rows = self.directory.metrics()
        losses = [row["val_loss"] for row in rows if "val_loss" in row]
        tokens = self.config.total_steps * self.config.tokens_per_step
        return {
            "parameters": self.parameters,
            "tokens": tokens,
            "tokens_per_second": tokens / self.train_seconds,
            "val_loss_start": losses[0],
            "val_loss_end": losses[-1],
            "loss": [row["loss"] for row in rows if "loss" in row][-1],
            "skipped_steps": self.skipped_steps,
        }

    @property
    def _total_tokens(self) -> int:
        return self.config.total_steps * self.config.tokens_per_step


def _number_of_parameters(model: Any) -> int:
    """Also of a model whose parameters ZeRO-3 has spread over the ranks (`ds_numel`)."""
    return sum(getattr(parameter, "ds_numel", parameter.numel()) for parameter in model.parameters())


def _adamw(model: Any, config: PretrainConfig) -> Any:
    """AdamW with weight decay on matrices alone.

    Outside ZeRO and bf16 DeepSpeed applies any gradient it is given, so there the optimizer itself leaves out a step whose
    gradients are not finite and says so in `overflow`, the attribute DeepSpeed looks at.
    """
    import torch

    class GuardedAdamW(torch.optim.AdamW):
        overflow = False

        def step(self, closure=None):
            gradients = [p.grad for group in self.param_groups for p in group["params"] if p.grad is not None]
            self.overflow = not all(bool(torch.isfinite(gradient).all()) for gradient in gradients)
            return None if self.overflow else super().step(closure)

    matrices = [p for p in model.parameters() if p.dim() >= 2]
    others = [p for p in model.parameters() if p.dim() < 2]
    groups = [{"params": matrices, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]
    guarded = config.zero_stage == 0 and config.precision == "fp32"
    return (GuardedAdamW if guarded else torch.optim.AdamW)(
        groups, lr=config.learning_rate, betas=(config.adam_beta1, config.adam_beta2)
    )


def _corpus_licence(corpus: Path) -> str:
    summary = corpus / "corpus.json"
    return json.loads(summary.read_text(encoding="utf8")).get("licence", "unknown") if summary.exists() else "unknown"


if __name__ == "__main__":
    launch(RECIPE, run)
