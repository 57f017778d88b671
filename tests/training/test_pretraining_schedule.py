"""A step's data and learning rate are functions of its number; configs that cannot work are refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from studio.runs.contract import ConfigError, parse_config
from training.corpus.packing import BlockOrder, PackedBlocks, write_token_stream
from training.recipes.guarded_adamw import GuardedAdamW
from training.recipes.pretrain import PretrainConfig
from training.recipes.pretraining_schedule import learning_rate, step_blocks


def test_every_block_comes_once_an_epoch_and_the_order_is_a_function_of_the_place():
    order = BlockOrder(count=7, seed=3)
    two_epochs = order.blocks(0, 14)
    assert sorted(two_epochs[:7]) == sorted(two_epochs[7:]) == list(range(7))
    assert list(two_epochs[:7]) != list(two_epochs[7:])
    assert list(BlockOrder(count=7, seed=3).blocks(5, 4)) == list(two_epochs[5:9])  # across the border of epochs
    assert list(BlockOrder(count=7, seed=4).blocks(0, 7)) != list(two_epochs[:7])


def test_ranks_and_micro_batches_share_the_blocks_of_a_step():
    config = PretrainConfig(micro_batch_size=2, gradient_accumulation=3, ranks=2)
    order = BlockOrder(count=100, seed=0)
    shares = [np.concatenate(step_blocks(config, order, step=4, rank=rank)) for rank in (0, 1)]
    # 2 sequences × 3 accumulated × 2 ranks = 12 a step; step 4 takes places 36 to 47
    assert sorted(np.concatenate(shares)) == sorted(order.blocks(36, 12))
    assert [len(share) for share in shares] == [6, 6]


def test_blocks_overlap_by_one_token_so_that_every_token_is_a_target_once(tmp_path):
    texts = ["ab", "cde", "f"]
    count = write_token_stream(
        tmp_path / "train.bin", iter(texts), lambda batch: [[ord(c) for c in text] for text in batch], end_of_text=0
    )
    assert count == 9  # 2 + 3 + 1 letters, each text closed by 0
    blocks = PackedBlocks(tmp_path / "train.bin", sequence_length=3)
    assert blocks.count == 2  # (9 - 1) // 3; the last incomplete block is left out
    a, b, c, d, e, f = map(ord, "abcdef")
    assert blocks.batch(np.array([0, 1])).tolist() == [[a, b, 0, c], [c, d, e, 0]]
    assert f not in blocks.batch(np.array([0, 1]))


def test_learning_rate_rises_then_follows_a_cosine_to_a_tenth():
    config = PretrainConfig(steps=110, learning_rate=1.0, warmup_share=10 / 110, final_learning_rate_share=0.1)
    assert learning_rate(config, 1) == pytest.approx(0.1)  # 1 of 10 warm-up steps
    assert learning_rate(config, 10) == pytest.approx(1.0)
    assert learning_rate(config, 60) == pytest.approx(0.55)  # halfway: 0.1 + 0.9 · (1 + cos 90°) / 2
    assert learning_rate(config, 110) == pytest.approx(0.1)


def test_a_token_budget_is_rounded_up_to_whole_steps():
    config = PretrainConfig(budget_tokens=10_000, sequence_length=256, micro_batch_size=4, gradient_accumulation=2)
    assert config.total_steps == 5  # 10,000 / (256 · 4 · 2) = 4.9


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"hidden_size": 256, "attention_heads": 16}, "vLLM cannot serve attention heads of size 16"),
        ({"hidden_size": 250, "attention_heads": 4}, "must be a multiple"),
        ({"hidden_size": 64, "attention_heads": 1, "rotary_pct": 0.05}, "must be an even number"),
        ({"zero_stage": 4}, "at most 3"),
        ({"hiden_size": 64}, "did you mean 'hidden_size'"),
    ],
)
def test_configs_that_cannot_work_are_refused_with_a_sentence(values, sentence):
    with pytest.raises(ConfigError, match=sentence):
        parse_config(PretrainConfig, values)


def test_guarded_adamw_clips_and_leaves_out_a_step_that_is_not_finite():
    weights, reference = (torch.nn.Parameter(torch.tensor([1.0, 2.0])) for _ in range(2))
    guarded = GuardedAdamW([weights], lr=0.1, gradient_clipping=1.0)
    plain = torch.optim.AdamW([reference], lr=0.1)

    weights.grad = torch.tensor([float("nan"), 1.0])
    guarded.step()
    assert guarded.overflow
    assert weights.tolist() == [1.0, 2.0]
    assert not guarded.state[weights]  # Adam's moments know nothing of it

    weights.grad = torch.tensor([3.0, 4.0])  # norm 5
    reference.grad = torch.tensor([0.6, 0.8])  # clipped to norm 1
    guarded.step()
    plain.step()
    assert not guarded.overflow
    assert guarded._global_grad_norm == pytest.approx(5.0)
    torch.testing.assert_close(weights, reference)
