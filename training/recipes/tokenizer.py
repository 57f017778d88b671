"""Train a byte-level BPE tokenizer on a corpus.

Byte-level (as GPT-2 and GPT-NeoX): every text can be encoded and decoded back exactly; there is no unknown token.
Training takes seconds for megabytes of text, so a stopped run simply starts again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from studio.runs.contract import Input, Recipe, option
from studio.runs.directory import RunDirectory, Stopped, launch
from training.chat import CHATML_TEMPLATE
from training.corpus.packing import corpus_texts

END_OF_TEXT = "<|endoftext|>"
PAD = "<|pad|>"
IM_START, IM_END = "<|im_start|>", "<|im_end|>"
SPECIAL_TOKENS = (END_OF_TEXT, PAD, IM_START, IM_END)  # ids 0 to 3
BYTES = 256  # the alphabet of a byte-level tokenizer


@dataclass(frozen=True)
class TokenizerConfig:
    vocab_size: int = option(
        4096,
        "Vocabulary size",
        "The 256 bytes and 4 special tokens included. Small models are mostly embeddings: keep it small for them.",
        unit="tokens",
        minimum=BYTES + len(SPECIAL_TOKENS),
        maximum=262144,
    )
    minimum_frequency: int = option(2, "Least frequency of a merge", "Pairs seen less often are not merged.", minimum=1)


RECIPE = Recipe(
    module="training.recipes.tokenizer",
    name="tokenizer",
    title="Tokenizer",
    summary="Train a byte-level BPE tokenizer with a ChatML chat template on a corpus.",
    stage="data",
    config=TokenizerConfig,
    inputs={"corpus": Input("corpus", "Corpus", "The tokenizer is trained on its training part.")},
    outputs={"tokenizer": "tokenizer"},
    queue="cpu",
)


def run(directory: RunDirectory) -> None:
    config: TokenizerConfig = directory.config
    corpus = directory.input("corpus")
    directory.truncate_to(0)
    tokenizer = train_tokenizer(_texts(directory, corpus / "train.jsonl"), config)
    tokenizer.save_pretrained(directory.output("tokenizer"))
    heldout = bytes_per_token(tokenizer, corpus_texts(corpus / "heldout.jsonl"))
    metrics = {"vocab_size": len(tokenizer), "bytes_per_token": round(heldout, 4)}
    directory.log_metrics(1, **metrics)
    directory.finish(
        metrics, {"tokenizer": {"name": f"BPE {len(tokenizer)}", "licence": _licence(directory), **metrics}}
    )


def train_tokenizer(texts: Iterator[str], config: TokenizerConfig):
    """A `PreTrainedTokenizerFast` trained on `texts`."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=config.vocab_size,
        min_frequency=config.minimum_frequency,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token=END_OF_TEXT,
        eos_token=END_OF_TEXT,
        pad_token=PAD,
        additional_special_tokens=[IM_START, IM_END],
        chat_template=CHATML_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )


def bytes_per_token(tokenizer, texts: Iterator[str]) -> float:
    """Mean number of UTF-8 bytes that a token stands for: the higher, the better the compression."""
    size = tokens = 0
    for text in texts:
        size += len(text.encode("utf8"))
        tokens += len(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
    if not tokens:
        raise ValueError("The corpus has no held-out text: build it with a larger held-out fraction.")
    return size / tokens


def _texts(directory: RunDirectory, path: Path) -> Iterator[str]:
    total = path.stat().st_size
    done = 0
    for number, text in enumerate(corpus_texts(path)):
        done += len(text.encode("utf8"))
        if number % 200 == 0:
            directory.progress(min(done, total), total, "bytes", "reading the corpus")
            if directory.stop_requested:
                raise Stopped("the tokenizer is trained anew when the run starts again")
        yield text
    directory.progress(total, total, "bytes", "merging pairs")


def _licence(directory: RunDirectory) -> str:
    summary = directory.input("corpus") / "corpus.json"
    return json.loads(summary.read_text(encoding="utf8"))["licence"] if summary.exists() else "unknown"


if __name__ == "__main__":
    launch(RECIPE, run)
