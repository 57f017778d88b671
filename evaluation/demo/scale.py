"""How large the demo is. The stock demo fits two CPU cores in a quarter of an hour; tests run a tiny one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Scale:
    """Settings of each stage's recipe; `limit_prompts` and `limit_demonstrations` shorten the content for tests."""

    limit_prompts: int = 0
    limit_demonstrations: int = 0
    overlap: int = 1
    corpus: dict[str, Any] = field(default_factory=dict)
    tokenizer: dict[str, Any] = field(default_factory=lambda: {"vocab_size": 4096})
    pretrain: dict[str, Any] = field(default_factory=lambda: {"steps": 300})
    import_model: dict[str, Any] = field(default_factory=lambda: {"source": "builtin:smollm2"})
    sft: dict[str, Any] = field(default_factory=dict)
    round: dict[str, Any] = field(default_factory=dict)
    evaluate: dict[str, Any] = field(default_factory=dict)
    bias: dict[str, Any] = field(default_factory=dict)
    train_scorer: dict[str, Any] = field(default_factory=dict)
    toxicity: dict[str, Any] = field(default_factory=dict)


STOCK = Scale()
