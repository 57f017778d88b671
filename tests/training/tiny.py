"""Tiny models and datasets that the training tests share: random weights, one or two layers, a byte-level tokenizer."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

SPECIAL = ["<|endoftext|>", "<|pad|>", "<|im_start|>", "<|im_end|>"]


def tokenizer() -> PreTrainedTokenizerFast:
    """One token a byte (256) and four special ones."""
    vocabulary = {token: i for i, token in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()) + SPECIAL)}
    inner = Tokenizer(models.BPE(vocabulary, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=inner, eos_token=SPECIAL[0], pad_token=SPECIAL[1])
    fast.add_special_tokens({"additional_special_tokens": SPECIAL[2:]})
    return fast


def save_model(path: Path, kind: str = "llama", seed: int = 0, layers: int = 1) -> Path:
    """A model directory: Llama or GPT-NeoX, hidden size 64, head size 32, float32, no chat template."""
    torch.manual_seed(seed)
    fast = tokenizer()
    sizes = {
        "vocab_size": len(fast),
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": layers,
        "num_attention_heads": 2,
        "max_position_embeddings": 256,
        "eos_token_id": fast.eos_token_id,
        "pad_token_id": fast.pad_token_id,
    }
    model = LlamaForCausalLM(LlamaConfig(**sizes)) if kind == "llama" else GPTNeoXForCausalLM(GPTNeoXConfig(**sizes))
    model.save_pretrained(path)
    fast.save_pretrained(path)
    return path


def user(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def assistant(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def save_dataset(path: Path, dataset_type: str, **splits: list[dict]) -> Path:
    path.mkdir(parents=True)
    for split, rows in splits.items():
        (path / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    counts = {split: len(rows) for split, rows in splits.items()}
    (path / "dataset.json").write_text(json.dumps({"type": dataset_type, "counts": counts}))
    return path
