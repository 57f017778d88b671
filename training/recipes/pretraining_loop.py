"""The pretraining loop: one rank's part of a run. See `training.recipes.pretrain` for what it promises."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import deepspeed
import numpy as np
import torch
import torch.distributed as dist
from transformers import AutoTokenizer, GPTNeoXConfig, GPTNeoXForCausalLM

from studio.runs.directory import RunDirectory, Stopped, read_jsonl, write_json
from training.corpus.packing import BlockOrder, PackedBlocks, corpus_texts, write_token_stream
from training.recipes.guarded_adamw import GuardedAdamW
from training.recipes.pretraining_schedule import learning_rate, step_blocks

if TYPE_CHECKING:
    from training.recipes.pretrain import PretrainConfig

DEEPSPEED_TAG = "deepspeed"


class Pretraining:
    """One rank's part of the run."""

    def __init__(self, directory: RunDirectory):
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
        self.already_watched: set[str] = set()  # what the log has of the step that a run is resumed at

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
            self.already_watched = set()
            self._watch()
        self._finish()

    # Data

    def _prepare_data(self) -> tuple[Any, Any]:
        """The corpus as packed tokens: rank 0 writes them once a run, then all ranks map them."""
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
        tokens = torch.from_numpy(blocks).to(self.engine.device)
        logits = self.engine(input_ids=tokens[:, :-1], use_cache=False).logits
        return torch.nn.functional.cross_entropy(
            logits.float().flatten(0, 1), tokens[:, 1:].flatten(), reduction=reduction
        )

    def _mean_over_ranks(self, value: Any) -> float:
        dist.all_reduce(value)
        return float(value) / self.world

    def _any_rank_stops(self) -> bool:
        """Whether SIGTERM reached any rank: all must leave at the same step."""
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
                f"Training diverged: the loss or the gradient was not finite in {self.skipped_in_a_row} steps in a "
                f"row, up to step {self.step}. Lower the learning rate, lengthen the warm-up or clip gradients more "
                "strongly, then repeat the run."
            )

    # Checkpoints

    def _save_checkpoint(self) -> None:
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
        found = self.directory.latest_checkpoint()
        self.directory.truncate_to(found[0] if found else 0)
        dist.barrier()  # rank 0 has truncated, and nobody removes the checkpoint before all have found it
        if not found:
            return
        self.step, folder = found
        logged = [*self.directory.metrics(), *read_jsonl(self.directory.path / "samples.jsonl")]
        self.already_watched = {key for row in logged if row["step"] == self.step for key in row}
        state = json.loads((folder / "state.json").read_text(encoding="utf8"))
        for name, now in (
            ("ranks", self.world),
            ("zero_stage", self.config.zero_stage),
            ("precision", self.config.precision),
        ):
            if state[name] != now:
                raise ValueError(
                    f"The checkpoint at step {self.step} was written with {name} = {state[name]} and cannot go on with "
                    f"{now}: resume with {name} = {state[name]}, or repeat the run from its start."
                )
        loaded, _ = self.engine.load_checkpoint(str(folder), tag=DEEPSPEED_TAG)
        assert loaded, folder
        self.train_seconds = state["train_seconds"]
        self.skipped_steps, self.skipped_in_a_row = state["skipped_steps"], state["skipped_in_a_row"]

    # Watching

    def _watch(self) -> None:
        """Validation loss and text samples, where due at this step."""
        config, last = self.config, self.step == self.config.total_steps
        evaluation_due = self.step % config.evaluate_every == 0 or last  # step 0 too: the loss before training
        if evaluation_due and "val_loss" not in self.already_watched:
            loss = self._validation_loss()
            self.directory.log_metrics(self.step, val_loss=loss, perplexity=math.exp(min(loss, 700)))
        samples_due = config.sample_every and self.step and (self.step % config.sample_every == 0 or last)
        if samples_due and "text" not in self.already_watched:
            self._sample_texts()

    def _validation_loss(self) -> float:
        """Mean cross-entropy (nats a token) over the first `evaluation_sequences` held-out blocks."""
        count = min(self.config.evaluation_sequences, self.heldout_blocks.count)
        size = self.config.micro_batch_size
        total = torch.zeros((), dtype=torch.float64, device=self.engine.device)
        self.engine.eval()
        with torch.no_grad():
            for first in range(0, count, size * self.world):
                mine = first + self.rank * size + np.arange(size)
                inside = mine < count
                # Ranks past the end go along on block 0 and add nothing: ZeRO-3 needs every rank in each forward.
                losses = self._loss(self.heldout_blocks.batch(np.where(inside, mine, 0)), reduction="none")
                total += losses.view(size, -1).double().sum(1)[torch.from_numpy(inside).to(total.device)].sum()
        return self._mean_over_ranks(total) * self.world / (count * self.config.sequence_length)

    def _sample_texts(self) -> None:
        """Continuations of the fixed prompts, drawn with a seed that depends on the step; the same on every rank."""
        self.engine.eval()
        for prompt in self.config.sample_prompts:
            torch.manual_seed(self.config.seed + self.step)
            tokens = self.tokenizer(prompt, return_tensors="pt", return_token_type_ids=False).to(self.engine.device)
            room = self.config.sequence_length - tokens["input_ids"].shape[1]
            if room < 1:
                continue
            with torch.no_grad():
                output = self.engine.module.generate(
                    **tokens,
                    max_new_tokens=min(room, self.config.sample_tokens),
                    do_sample=True,
                    temperature=0.8,
                    top_p=0.95,
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


def deepspeed_config(config: PretrainConfig) -> dict[str, Any]:
    bf16 = config.precision == "bf16"
    document: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": config.micro_batch_size,
        "gradient_accumulation_steps": config.gradient_accumulation,
        "gradient_clipping": 0.0 if _guarded(config) else config.gradient_clipping,
        "bf16": {"enabled": bf16},
        "zero_optimization": {"stage": config.zero_stage, "stage3_gather_16bit_weights_on_model_save": True},
    }
    if bf16 and config.zero_stage:
        document["bf16"]["check_grad_overflow"] = True  # skip steps whose gradients are not finite
    return document


def _guarded(config: PretrainConfig) -> bool:
    """Whether no optimizer of DeepSpeed's wraps ours: ours must clip and look at the gradients itself then."""
    return config.zero_stage == 0 and config.precision == "fp32"


def _adamw(model: Any, config: PretrainConfig) -> torch.optim.AdamW:
    """AdamW with weight decay on matrices alone, and not on biases and norms."""
    matrices = [p for p in model.parameters() if p.dim() >= 2]
    others = [p for p in model.parameters() if p.dim() < 2]
    groups = [{"params": matrices, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]
    settings = {"lr": config.learning_rate, "betas": (config.adam_beta1, config.adam_beta2)}
    if _guarded(config):
        return GuardedAdamW(groups, **settings, gradient_clipping=config.gradient_clipping)
    return torch.optim.AdamW(groups, **settings)


def _corpus_licence(corpus: Path) -> str:
    summary = corpus / "corpus.json"
    return json.loads(summary.read_text(encoding="utf8")).get("licence", "unknown") if summary.exists() else "unknown"
