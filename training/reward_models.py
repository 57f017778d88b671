"""Reward models: build from a language model, load, score dialogues.

A reward model is a transformer with a linear head of one output, read at the EOS that ends the answer. torch and
transformers are imported inside the functions.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from training.chat import prepare_tokenizer
from training.language_models import check_model_directory


def from_language_model(path: Path, dtype: Any, seed: int) -> tuple[Any, Any]:
    """(reward model, tokenizer) with a new head, N(0, 1/(d+1)) as in Stiennon et al.

    2020 (lm-human-preference-details).
    """
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    check_model_directory(path)
    tokenizer = AutoTokenizer.from_pretrained(path)
    model = AutoModelForSequenceClassification.from_pretrained(path, num_labels=1, dtype=dtype)
    prepare_tokenizer(tokenizer, model)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        width = model.score.weight.shape[1]
        torch.nn.init.normal_(model.score.weight, std=(width + 1) ** -0.5)
    use_float32_head(model)
    return model, tokenizer


def load_reward_model(path: Path, dtype: Any) -> tuple[Any, Any, dict[str, float]]:
    """(model, tokenizer, {"mean", "std", …} of its rewards) of a reward_model artifact."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    check_model_directory(path)
    if not (path / "reward.json").is_file():
        raise ValueError(
            f"{path} is not a reward model: it has no reward.json with the mean and spread of its rewards."
        )
    model = AutoModelForSequenceClassification.from_pretrained(path, dtype=dtype)
    use_float32_head(model)
    return model, AutoTokenizer.from_pretrained(path), json.loads((path / "reward.json").read_text(encoding="utf8"))


def use_float32_head(model: Any, mean: float = 0.0, std: float = 1.0) -> None:
    """Compute the head in float32, and give (score - mean) / std.

    In bfloat16, scores nearer than one part in 256 would be equal.
    """
    import torch

    class Float32Head(torch.nn.Linear):
        def forward(self, hidden: Any) -> Any:
            with torch.autocast(hidden.device.type, enabled=False):
                score = torch.nn.functional.linear(hidden.float(), self.weight.float())
            return (score - mean) / std

    head = Float32Head(model.score.in_features, 1, bias=False)
    head.weight = torch.nn.Parameter(model.score.weight.data.float())
    model.score = head


def score_dialogues(model: Any, dialogues: Sequence[list[int]], pad_token_id: int, batch_size: int = 16) -> list[float]:
    """The reward of each sequence of token ids, read at its last token."""
    import torch

    scores = [0.0] * len(dialogues)
    order = sorted(range(len(dialogues)), key=lambda i: len(dialogues[i]))
    was_training = model.training
    model.eval()
    with torch.no_grad():
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            longest = len(dialogues[rows[-1]])
            ids = torch.tensor(
                [dialogues[i] + [pad_token_id] * (longest - len(dialogues[i])) for i in rows], device=model.device
            )
            mask = torch.tensor(
                [[1] * len(dialogues[i]) + [0] * (longest - len(dialogues[i])) for i in rows], device=model.device
            )
            backbone = getattr(model, model.base_model_prefix)
            hidden = backbone(input_ids=ids, attention_mask=mask).last_hidden_state
            last = torch.tensor([len(dialogues[i]) - 1 for i in rows], device=model.device)
            ends = hidden[torch.arange(len(rows), device=model.device), last]
            for i, score in zip(rows, model.score(ends).squeeze(-1).tolist(), strict=True):
                scores[i] = score
    model.train(was_training)
    return scores


def pair_accuracy(chosen: Sequence[float], rejected: Sequence[float]) -> list[float]:
    """For each pair 1 when the chosen answer scores higher, ½ when both are equal, else 0."""
    return [1.0 if c > r else 0.5 if c == r else 0.0 for c, r in zip(chosen, rejected, strict=True)]
