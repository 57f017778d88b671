"""The bridge between the transformers trainers and a run directory: metrics, progress, checkpoints, stopping.

Imported inside recipes' functions only, since it imports transformers.
"""

from __future__ import annotations

import math
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from studio.runs.directory import RunDirectory, Stopped

NAMES = {
    "loss": "loss",
    "eval_loss": "val_loss",
    "eval_accuracy": "val_accuracy",
    "learning_rate": "learning_rate",
    "grad_norm": "grad_norm",
    "accuracy": "accuracy",
    "margin": "margin",
    "mean_reward": "reward",
    "entropy": "entropy",
    "mean_token_accuracy": "token_accuracy",
}


def trainer_files(directory: RunDirectory) -> Path:
    """Where the trainer writes; its finished checkpoints are moved from here to where the run contract wants them."""
    return directory.path / "checkpoints" / ".trainer"


def resume_point(directory: RunDirectory) -> tuple[int, str | None]:
    """(step, checkpoint to resume from), after forgetting what was logged later than that step."""
    found = directory.latest_checkpoint()
    directory.truncate_to(found[0] if found else 0)
    return (found[0], str(found[1])) if found else (0, None)


class RunCallback(TrainerCallback):
    """Logs every optimizer step, reports progress in `unit`, keeps checkpoints, and stops when asked to."""

    def __init__(self, directory: RunDirectory, sample: Callable[[int], None] | None = None, sample_every: int = 0):
        self.directory = directory
        self.sample = sample
        self.sample_every = sample_every
        self.tokens = 0.0
        self.since = time.monotonic()

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.since = time.monotonic()
        self.directory.progress(state.global_step, state.max_steps, "steps")

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        values = {NAMES[name]: float(value) for name, value in (logs or {}).items() if name in NAMES}
        if "loss" in values:
            values["tokens_per_second"] = self._tokens_per_second(logs["num_tokens"])
        if any(name.startswith("eval_") for name in logs or {}):
            values = {name: value for name, value in values.items() if name.startswith("val_")}
        if values:
            self.directory.log_metrics(state.global_step, **values)
        if not math.isfinite(values.get("loss", 0.0)):
            raise ValueError(
                f"The loss became {values['loss']} at step {state.global_step}: lower the learning rate, or use fp32."
            )

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        self.directory.progress(state.global_step, state.max_steps, "steps")
        if _any_rank(self.directory.stop_requested) and state.global_step < state.max_steps:
            control.should_save = control.should_training_stop = True
        if self.sample and self.sample_every and state.global_step % self.sample_every == 0:
            self.sample(state.global_step)
        return control

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Adopt the trainer's checkpoint: it counts once it is complete on every rank, flushed and renamed."""
        _barrier()
        aside = self.directory.begin_checkpoint(state.global_step)
        if not self.directory.rank:
            shutil.rmtree(aside)
            os.replace(Path(args.output_dir) / f"checkpoint-{state.global_step}", aside)
        self.directory.complete_checkpoint(state.global_step)
        _barrier()

    def _tokens_per_second(self, tokens: float) -> float:
        now = time.monotonic()
        rate = (tokens - self.tokens) / max(now - self.since, 1e-9)
        self.tokens, self.since = tokens, now
        return rate


def raise_if_stopped(directory: RunDirectory, state: Any) -> None:
    """After trainer.train(): say that training ended early, on request, with a checkpoint to go on from."""
    if state.global_step < state.max_steps:
        raise Stopped(f"checkpoint saved after step {state.global_step} of {state.max_steps}")


def _any_rank(flag: bool) -> bool:
    """Ranks see SIGTERM at different moments; they must stop at the same step."""
    import torch
    import torch.distributed as dist

    if not dist.is_initialized() or dist.get_world_size() == 1:
        return flag
    on = "cuda" if torch.cuda.is_available() else "cpu"
    votes = torch.tensor([float(flag)], device=on)
    dist.all_reduce(votes, op=dist.ReduceOp.MAX)
    return bool(votes.item())


def _barrier() -> None:
    import torch.distributed as dist

    if dist.is_initialized() and dist.get_world_size() > 1:
        dist.barrier()
