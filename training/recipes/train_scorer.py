"""Train a toxicity scorer from labelled texts: a small transformer encoder, saved in Detoxify's checkpoint format.

By default a small ModernBERT with its own byte-level BPE tokenizer, from scratch; its mean pooling learns from a few
hundred examples what a [CLS] token would need many more for. Given a model, its weights are the start. The number of
epochs is fixed and nothing is selected on the held-out examples, so their AUROC is an unbiased estimate.

    python -m training.recipes.train_scorer var/runs/42
"""

from __future__ import annotations

import hashlib
import json
import math
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.runs.contract import Input, Recipe, option
from studio.runs.directory import RunDirectory, Stopped, launch, write_json
from training.jsonl import read_jsonl
from training.scorers.auroc import auroc, auroc_interval
from training.scorers.loading import CHECKPOINT, ENCODER, load_scorer

# Detoxify renames these classes when it loads a checkpoint
DETOXIFY_NAMES = {"toxic": "toxicity", "identity_hate": "identity_attack", "severe_toxic": "severe_toxicity"}


@dataclass(frozen=True)
class TrainScorerConfig:
    test_share: float = option(
        0.2,
        "Held-out share",
        "Taken from the training rows when the dataset has no test split.",
        minimum=0.05,
        maximum=0.5,
    )
    vocabulary_size: int = option(4096, "Vocabulary", unit="tokens", minimum=300, maximum=100000, group="Model")
    hidden_size: int = option(128, "Hidden size", "A multiple of 32.", minimum=32, maximum=4096, group="Model")
    layers: int = option(2, "Layers", minimum=1, maximum=48, group="Model")
    max_length: int = option(
        128, "Maximum length", "Longer texts lose their end.", unit="tokens", minimum=8, maximum=8192, group="Model"
    )
    epochs: int = option(12, "Epochs", minimum=1, maximum=1000, group="Training")
    batch_size: int = option(32, "Batch size", unit="texts", minimum=1, maximum=4096, group="Training")
    learning_rate: float = option(
        1e-3,
        "Learning rate",
        "1e-3 from scratch; 2e-5 when a model is given.",
        minimum=1e-7,
        maximum=0.1,
        group="Training",
    )
    weight_decay: float = option(0.05, "Weight decay", minimum=0.0, maximum=1.0, group="Training")
    dropout: float = option(0.2, "Dropout", minimum=0.0, maximum=0.9, group="Training")
    seed: int = option(0, "Seed", minimum=0)

    def __post_init__(self) -> None:
        if self.hidden_size % 32:
            raise ValueError(f"Hidden size: {self.hidden_size} is not a multiple of 32, the size of an attention head.")


RECIPE = Recipe(
    module="training.recipes.train_scorer",
    name="train_scorer",
    title="Train a toxicity scorer",
    summary="Trains a small text classifier in Detoxify's format from labelled texts and measures it on held-out ones.",
    stage="evaluate",
    config=TrainScorerConfig,
    inputs={
        "dataset": Input("dataset", "Labelled texts", dataset_type="labelled"),
        "model": Input(
            "model", "Model", "Its weights are the start; without it training is from scratch.", required=False
        ),
    },
    outputs={"scorer": "scorer"},
)


def run(directory: RunDirectory) -> None:
    config = directory.config
    labels, train, test = load_labelled(directory.input("dataset"), config.test_share, config.seed)
    encoder = directory.output("scorer") / ENCODER
    model, tokenizer = build_classifier(directory, [row["text"] for row in train], len(labels))
    train_classifier(directory, model, tokenizer, labels, train)
    model.config.save_pretrained(encoder)
    tokenizer.save_pretrained(encoder)
    save_checkpoint(model, tokenizer, labels, directory.output("scorer") / CHECKPOINT)
    info = directory.input_info("dataset")[0]
    trained_on = {
        "dataset": info["name"],
        "id": info["id"],
        "sha256": hashlib.sha256((directory.input("dataset") / "train.jsonl").read_bytes()).hexdigest(),
        "texts": len(train),
    }
    card = {"name": f"Detoxify format, trained on {info['name']}", "labels": labels, "trained_on": trained_on}
    write_json(directory.output("scorer") / "scorer.json", card)
    card["auroc"] = measure(directory.output("scorer"), labels, test)
    write_json(directory.output("scorer") / "scorer.json", card)
    for label, found in card["auroc"].items():
        print(f"held-out AUROC {label}: {found['value']:.3f} [{found['low']:.3f}, {found['high']:.3f}]", flush=True)
    metrics = {f"auroc_{label}": found["value"] for label, found in card["auroc"].items()}
    directory.finish(metrics, {"scorer": {"labels": labels, "trained_on": trained_on, "auroc": card["auroc"]}})


def load_labelled(dataset: Path, test_share: float, seed: int) -> tuple[list[str], list[dict], list[dict]]:
    """(labels as Detoxify names them, training rows, held-out rows); a row is {"text", "<label>": 0 or 1, …}.

    Without test.jsonl the split goes by a hash of the text, so that equal texts stay on one side.
    """
    try:
        columns = json.loads((dataset / "dataset.json").read_text(encoding="utf8"))["labels"]
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(
            f'{dataset.name} is not a labelled dataset: its dataset.json must name the label columns as "labels".'
        ) from error
    train = _read_rows(dataset / "train.jsonl", columns)
    if (dataset / "test.jsonl").is_file():
        test = _read_rows(dataset / "test.jsonl", columns)
    else:
        test = [row for row in train if _unit_hash(f"{seed}:{row['text']}") < test_share]
        train = [row for row in train if _unit_hash(f"{seed}:{row['text']}") >= test_share]
    labels = [DETOXIFY_NAMES.get(column, column) for column in columns]
    for name, rows in (("training", train), ("held-out", test)):
        for label in labels:
            if len({row[label] for row in rows}) < 2:
                raise ValueError(
                    f"The {name} texts need at least one with and one without '{label}'; add more labelled texts."
                )
    return labels, train, test


def _read_rows(path: Path, columns: list[str]) -> list[dict[str, Any]]:
    rows = []
    for number, row in enumerate(read_jsonl(path), start=1):
        if not isinstance(row.get("text"), str) or not row["text"].strip():
            raise ValueError(f"{path.name}, row {number}: 'text' must be a text that is not empty.")
        wrong = [c for c in columns if row.get(c) not in (0, 1)]
        if wrong:
            raise ValueError(f"{path.name}, row {number}: '{wrong[0]}' must be 0 or 1, not {row.get(wrong[0])!r}.")
        rows.append({"text": row["text"], **{DETOXIFY_NAMES.get(c, c): int(row[c]) for c in columns}})
    return rows


def _unit_hash(text: str) -> float:
    """A number in [0, 1) that is the same for the same text on every machine."""
    return int.from_bytes(hashlib.sha256(text.encode("utf8")).digest()[:8], "big") / 2**64


def build_classifier(directory: RunDirectory, texts: list[str], num_labels: int) -> tuple[Any, Any]:
    """A sequence classifier and its tokenizer: from the given model, or new."""
    import torch

    config, start = directory.config, directory.optional_input("model")
    torch.manual_seed(config.seed)
    if start is None:
        tokenizer = train_tokenizer(texts, config.vocabulary_size, config.max_length)
        return new_encoder(config, tokenizer, num_labels), tokenizer
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(start, local_files_only=True)
    tokenizer.model_max_length = config.max_length
    model = AutoModelForSequenceClassification.from_pretrained(
        start, num_labels=num_labels, dtype=torch.float32, local_files_only=True
    )
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    model.config.pad_token_id = tokenizer.pad_token_id
    return model, tokenizer


def train_tokenizer(texts: list[str], vocabulary_size: int, max_length: int) -> Any:
    """A byte-level BPE tokenizer that puts [CLS] and [SEP] around a text."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    special = ["[PAD]", "[CLS]", "[SEP]", "[MASK]"]
    bpe = Tokenizer(models.BPE())
    bpe.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        min_frequency=2,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    bpe.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=max_length,
        model_input_names=["input_ids", "attention_mask"],
    )


def new_encoder(config: TrainScorerConfig, tokenizer: Any, num_labels: int) -> Any:
    from transformers import ModernBertConfig, ModernBertForSequenceClassification

    encoder = ModernBertConfig(
        vocab_size=len(tokenizer),
        hidden_size=config.hidden_size,
        intermediate_size=2 * config.hidden_size,
        num_hidden_layers=config.layers,
        num_attention_heads=config.hidden_size // 32,
        max_position_embeddings=config.max_length,
        pad_token_id=0,
        cls_token_id=1,
        bos_token_id=1,
        sep_token_id=2,
        eos_token_id=2,
        classifier_pooling="mean",
        embedding_dropout=config.dropout,
        mlp_dropout=config.dropout,
        attention_dropout=config.dropout,
        classifier_dropout=config.dropout,
        num_labels=num_labels,
    )
    return ModernBertForSequenceClassification(encoder)


def train_classifier(directory: RunDirectory, model: Any, tokenizer: Any, labels: list[str], rows: list[dict]) -> None:
    """Binary cross-entropy a label, AdamW, linear warm-up over a tenth of the steps and linear decay.

    A checkpoint a epoch; the order of the texts and the dropout masks follow from seed and epoch alone.
    """
    import torch

    config = directory.config
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model.to(device)
    steps_per_epoch = math.ceil(len(rows) / config.batch_size)
    total = config.epochs * steps_per_epoch
    optimizer = torch.optim.AdamW(model.parameters(), config.learning_rate, weight_decay=config.weight_decay)
    epoch = _resume(directory, model, optimizer, steps_per_epoch)
    model.train()
    while epoch < config.epochs:
        torch.manual_seed(config.seed * 100_003 + epoch)
        order = list(range(len(rows)))
        random.Random(f"{config.seed}:{epoch}").shuffle(order)
        for index in range(steps_per_epoch):
            step = epoch * steps_per_epoch + index
            rate = config.learning_rate * warmup_and_decay(step, total)
            for group in optimizer.param_groups:
                group["lr"] = rate
            batch = [rows[i] for i in order[index * config.batch_size : (index + 1) * config.batch_size]]
            loss = _loss(model, tokenizer, labels, batch, device)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            if (step + 1) % 10 == 0 or step + 1 == total:
                directory.log_metrics(step + 1, loss=loss.item(), learning_rate=rate)
                directory.progress(step + 1, total, "steps")
        epoch += 1
        with directory.checkpoint(epoch * steps_per_epoch) as aside:
            torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, aside / "state.pt")
        if directory.stop_requested and epoch < config.epochs:
            raise Stopped(f"after epoch {epoch} of {config.epochs}")
    model.eval()
    model.to("cpu")


def warmup_and_decay(step: int, total: int) -> float:
    """Factor of the learning rate: linear from 0 over the first tenth of the steps, then linear to 0."""
    warmup = max(1, total // 10)
    return (step + 1) / warmup if step < warmup else (total - step) / max(1, total - warmup)


def _resume(directory: RunDirectory, model: Any, optimizer: Any, steps_per_epoch: int) -> int:
    """Load the newest checkpoint; returns the number of finished epochs."""
    import torch

    latest = directory.latest_checkpoint()
    directory.truncate_to(latest[0] if latest else 0)
    if latest is None:
        return 0
    state = torch.load(latest[1] / "state.pt", map_location="cpu", weights_only=True)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    return latest[0] // steps_per_epoch


def _loss(model: Any, tokenizer: Any, labels: list[str], rows: list[dict], device: str) -> Any:
    import torch

    inputs = tokenizer([row["text"] for row in rows], return_tensors="pt", truncation=True, padding=True).to(device)
    truth = torch.tensor([[float(row[label]) for label in labels] for row in rows], device=device)
    logits = model(**inputs)[0]
    return torch.nn.functional.binary_cross_entropy_with_logits(logits.float(), truth)


def save_checkpoint(model: Any, tokenizer: Any, labels: list[str], path: Path) -> None:
    """What `detoxify.Detoxify(checkpoint=…)` reads: weights, and the classes to build and their labels.

    `model_type` is a path beside the file; `training.scorers.load_scorer` makes it absolute.
    """
    import torch

    arguments = {
        "model_type": ENCODER,
        "model_name": type(model).__name__,
        "tokenizer_name": type(tokenizer).__name__,
        "num_classes": len(labels),
    }
    config = {"arch": {"args": arguments}, "dataset": {"args": {"classes": labels}}}
    torch.save({"config": config, "state_dict": model.state_dict()}, path)


def measure(scorer: Path, labels: list[str], test: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Each label's AUROC on held-out texts with its interval, through the loader that everybody uses."""
    scores = load_scorer(scorer).score([row["text"] for row in test])
    measured = {}
    for label in labels:
        truth = [row[label] for row in test]
        value = auroc(truth, scores[label])
        low, high = auroc_interval(value, sum(truth), len(truth) - sum(truth))
        measured[label] = {"value": value, "low": low, "high": high, "n": len(truth)}
    return measured


if __name__ == "__main__":
    launch(RECIPE, run)
