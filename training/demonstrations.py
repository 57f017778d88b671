"""Demonstrations as SFT trains on them: held out by prompt, as token ids with labels, and the loss on these."""

from __future__ import annotations

import json
import random
from typing import Any

from training.chat import encode_answer, encode_prompt

IGNORED = -100  # label of tokens without loss


def hold_out(rows: list[dict[str, Any]], share: float, seed: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """(train, validation): a share of the prompts, at least one if any; demonstrations of one prompt stay together."""
    prompts = list(dict.fromkeys(json.dumps(row["prompt"]) for row in rows))
    count = min(max(1, round(share * len(prompts))), len(prompts) - 1) if share else 0
    held = set(random.Random(seed).sample(prompts, count))
    parts: tuple[list[dict[str, Any]], list[dict[str, Any]]] = [], []
    for row in rows:
        parts[json.dumps(row["prompt"]) in held].append(row)
    return parts


def encode_demonstrations(
    tokenizer: Any, rows: list[dict[str, Any]], max_length: int, completion_only_loss: bool
) -> tuple[list[dict[str, list[int]]], int]:
    """Token ids and labels of each demonstration, and how many were left out for their length."""
    encoded = []
    for row in rows:
        prompt = encode_prompt(tokenizer, row["prompt"])
        answer = encode_answer(tokenizer, row["completion"][0]["content"])
        labels = [IGNORED] * len(prompt) + answer if completion_only_loss else prompt + answer
        encoded.append({"input_ids": prompt + answer, "labels": labels})
    kept = [row for row in encoded if len(row["input_ids"]) <= max_length]
    return kept, len(encoded) - len(kept)


def token_loss(model: Any, rows: list[dict[str, Any]], pad_token_id: int, batch_size: int) -> float:
    """Mean negative log-likelihood, in nats a token, over all tokens that have a label."""
    import torch
    from torch.nn.functional import cross_entropy

    total, count = 0.0, 0
    with torch.no_grad():
        for start in range(0, len(rows), batch_size):
            batch = rows[start : start + batch_size]
            longest = max(len(row["input_ids"]) for row in batch)
            gaps = [longest - len(row["input_ids"]) for row in batch]
            columns = (
                [row["input_ids"] + [pad_token_id] * gap for row, gap in zip(batch, gaps, strict=True)],
                [[1] * (longest - gap) + [0] * gap for gap in gaps],
                [row["labels"] + [IGNORED] * gap for row, gap in zip(batch, gaps, strict=True)],
            )
            ids, mask, labels = (torch.tensor(column, device=model.device) for column in columns)
            logits = model(input_ids=ids, attention_mask=mask).logits[:, :-1].float()
            total += cross_entropy(
                logits.flatten(0, 1), labels[:, 1:].flatten(), ignore_index=IGNORED, reduction="sum"
            ).item()
            count += int((labels[:, 1:] != IGNORED).sum())
    return total / count
