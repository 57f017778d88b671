"""How large the demo is: the settings that differ from each recipe's own. Tests run a tiny one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Scale:
    """Settings of each stage's recipe, and how many scripted annotators rank each task."""

    overlap: int = 1
    corpus: dict[str, Any] = field(default_factory=dict)
    tokenizer: dict[str, Any] = field(default_factory=lambda: {"vocab_size": 4096})
    pretrain: dict[str, Any] = field(default_factory=lambda: {"steps": 240})
    import_model: dict[str, Any] = field(default_factory=lambda: {"source": "builtin:smollm2"})
    sft: dict[str, Any] = field(default_factory=dict)
    round: dict[str, Any] = field(default_factory=dict)
    evaluate: dict[str, Any] = field(default_factory=dict)
    bias: dict[str, Any] = field(default_factory=dict)
    train_scorer: dict[str, Any] = field(default_factory=dict)
    toxicity: dict[str, Any] = field(default_factory=dict)


STOCK = Scale(
    sft={"epochs": 2, "chat_template": "chatml", "measure_finished": 64},
    round={
        "completions_per_prompt": 3,
        "answers_per_task": 3,
        "max_tokens": 32,
        "reward_model_epochs": 1.0,
        "review_answers": 4,
    },
    evaluate={"limit": 24, "heldout_documents": 16, "max_length": 256, "batch_size": 16},
    train_scorer={"epochs": 8},
    toxicity={"limit": 12, "samples_per_prompt": 3, "max_tokens": 16},
)
