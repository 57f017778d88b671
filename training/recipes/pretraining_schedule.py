"""What a pretraining step does, as functions of its number alone: its learning rate and the blocks it trains on."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from training.corpus.packing import BlockOrder

if TYPE_CHECKING:
    from training.recipes.pretrain import PretrainConfig


def learning_rate(config: PretrainConfig, step: int) -> float:
    """Of step `step` (from 1): linear warm-up, then a cosine from the peak to `final_learning_rate_share` of it."""
    warmup = round(config.warmup_share * config.total_steps)
    if step <= warmup:
        return config.learning_rate * step / warmup
    progress = (step - warmup) / max(1, config.total_steps - warmup)
    low = config.final_learning_rate_share
    return config.learning_rate * (low + (1 - low) * 0.5 * (1 + math.cos(math.pi * progress)))


def step_blocks(config: PretrainConfig, order: BlockOrder, step: int, rank: int) -> list[np.ndarray]:
    """The blocks that `rank` trains on in step `step` (from 1): one array of `micro_batch_size` a micro batch."""
    size = config.micro_batch_size
    places = order.blocks((step - 1) * config.sequences_per_step, config.sequences_per_step)
    micro_batches = places.reshape(config.gradient_accumulation, config.ranks, size)
    return [micro_batch[rank] for micro_batch in micro_batches]
