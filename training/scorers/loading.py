"""Load toxicity scorers: Detoxify's own class over a checkpoint of ours, or over one that Detoxify publishes.

Trust. A Detoxify checkpoint is a pickle, and `detoxify.Detoxify(checkpoint=…)` unpickles it without limits, which lets
a crafted file run code. So a checkpoint on disk never reaches it as it is: it is read with `weights_only=True` (tensors
and plain containers alone), its class names are checked, and Detoxify is handed a fresh copy in memory. The published
checkpoints are fetched by Detoxify itself from its project's releases and are trusted as far as that project is.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.scorers.interface import Scorer

if TYPE_CHECKING:
    from detoxify import Detoxify

PUBLISHED = {
    "original": "Jigsaw Toxic Comment Classification Challenge",
    "unbiased": "Jigsaw Unintended Bias in Toxicity Classification",
    "multilingual": "Jigsaw Multilingual Toxic Comment Classification",
    "original-small": "Jigsaw Toxic Comment Classification Challenge",
    "unbiased-small": "Jigsaw Unintended Bias in Toxicity Classification",
}
CHECKPOINT = "scorer.ckpt"
ENCODER = "encoder"
TEXTS_AT_ONCE = 64


class DetoxifyScorer:
    """A `detoxify.Detoxify` as a `Scorer`."""

    def __init__(self, detoxify: Detoxify, name: str, description: dict[str, Any]):
        self.name = name
        self.labels = tuple(detoxify.class_names)
        self._detoxify = detoxify
        self._description = description

    def score(self, texts: Sequence[str]) -> dict[str, list[float]]:
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))  # alike lengths pad little
        scores: dict[str, list[float]] = {label: [0.0] * len(texts) for label in self.labels}
        for start in range(0, len(order), TEXTS_AT_ONCE):
            batch = order[start : start + TEXTS_AT_ONCE]
            for label, values in self._detoxify.predict([texts[i] for i in batch]).items():
                # Detoxify squeezes: a batch of one comes back as a number
                for i, value in zip(batch, values if isinstance(values, list) else [values], strict=True):
                    scores[label][i] = value
        return scores

    def describe(self) -> dict[str, Any]:
        return {"name": self.name, "labels": list(self.labels), **self._description}


def load_scorer(path_or_name: Path | str, device: str = "cpu") -> Scorer:
    """A scorer from a scorer artifact's directory, a checkpoint file with `encoder/` beside it, or a published name.

    Raises ValueError with what to do when there is none, it is damaged, or a published one cannot be downloaded.
    """
    if str(path_or_name) in PUBLISHED:
        return _load_published(str(path_or_name), device)
    path = Path(path_or_name)
    checkpoint = path / CHECKPOINT if path.is_dir() else path
    if not checkpoint.is_file():
        raise ValueError(
            f"No toxicity scorer at '{path_or_name}': give a scorer artifact, a Detoxify checkpoint, "
            f"or one of {', '.join(PUBLISHED)}."
        )
    return _load_local(checkpoint, device)


def _load_local(checkpoint: Path, device: str) -> Scorer:
    import torch
    from detoxify import Detoxify

    encoder = checkpoint.with_name(ENCODER)
    if not (encoder / "config.json").is_file():
        raise ValueError(f"{checkpoint.name} needs its encoder's config and tokenizer in {ENCODER}/ beside it.")
    try:
        loaded = torch.load(checkpoint, map_location="cpu", weights_only=True)
        arguments = loaded["config"]["arch"]["args"]
    except Exception as error:  # torch raises UnpicklingError, RuntimeError or KeyError, by what is wrong
        raise ValueError(
            f"{checkpoint.name} is not a Detoxify checkpoint of tensors and plain values: {error}"
        ) from error
    _check_classes(arguments)
    arguments["model_type"] = str(encoder)  # Detoxify would ask the hub for what is named here
    copy = io.BytesIO()
    torch.save(loaded, copy)
    copy.seek(0)
    card_file = checkpoint.with_name("scorer.json")
    card = json.loads(card_file.read_text(encoding="utf8")) if card_file.is_file() else {}
    description = {key: card[key] for key in ("trained_on", "auroc") if key in card}
    digest = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    name = card.get("name", checkpoint.stem)
    return DetoxifyScorer(Detoxify(checkpoint=copy, device=device), name, {"sha256": digest, **description})


def _check_classes(arguments: dict[str, Any]) -> None:
    """Detoxify looks the class names up in transformers: only classifiers and tokenizers may be named."""
    model, tokenizer = str(arguments["model_name"]), str(arguments["tokenizer_name"])
    if not model.endswith("ForSequenceClassification") or "Tokenizer" not in tokenizer:
        raise ValueError(f"The checkpoint names {model} and {tokenizer}, which are no classifier and tokenizer.")


def _load_published(name: str, device: str) -> Scorer:
    from detoxify import Detoxify

    try:
        detoxify = Detoxify(name, device=device)
    except Exception as error:  # urllib, hub and file errors, by where the download broke off
        raise ValueError(
            f"Detoxify's checkpoint '{name}' could not be downloaded ({type(error).__name__}: {error}). "
            "Train a scorer from labelled data instead, or try again where github.com and huggingface.co answer."
        ) from error
    return DetoxifyScorer(detoxify, f"Detoxify {name}", {"trained_on": PUBLISHED[name]})
