"""Build a text corpus: gather documents, drop exact duplicates, set a part aside that nothing trains on.

Left out here: quality filters, near-duplicates, decontamination and mixing. Only the documents' hashes stay in memory.
The Python documentation takes seconds, so a stopped run simply starts again.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

from studio.runs.contract import Input, Recipe, option
from studio.runs.directory import RunDirectory, Stopped, launch, write_json
from training.corpus.exact_deduplication import document_hash, is_held_out
from training.corpus.sources import Document, python_documentation, text_files

PROGRESS_EVERY = 500  # documents


@dataclass(frozen=True)
class CorpusConfig:
    python_documentation: bool = option(
        True,
        "Python documentation",
        "The language reference and the docstrings that this server's Python carries: about 2.4 MB, PSF-2.0.",
        group="Sources",
    )
    text_file_documents: str = option(
        "file",
        "A document in a .txt file is",
        "the whole file, or each paragraph (a block between blank lines). JSONL has one document a line.",
        choices=("file", "paragraph"),
        group="Sources",
    )
    licence: str = option(
        "unknown",
        "Licence of the files",
        "For uploaded files that don't say it themselves: an SPDX identifier such as CC-BY-4.0.",
        group="Sources",
    )
    minimum_characters: int = option(
        32, "Shortest document", "Shorter documents are left out.", unit="characters", minimum=1, group="Documents"
    )
    heldout_fraction: float = option(
        0.05,
        "Held-out fraction",
        "Share of documents, chosen by a hash of their text, that is kept for validation and never trained on.",
        minimum=0.001,
        maximum=0.5,
        group="Documents",
    )


RECIPE = Recipe(
    module="training.recipes.corpus",
    name="corpus",
    title="Corpus",
    summary="Gather documents with their source and licence, drop exact duplicates and set a held-out part aside.",
    stage="data",
    config=CorpusConfig,
    inputs={
        "files": Input(
            "dataset",
            "Text files",
            "Datasets of type text: JSONL with a “text” on each line, or .txt files.",
            dataset_type="text",
            required=False,
            many=True,
        )
    },
    outputs={"corpus": "corpus"},
    queue="cpu",
)


def run(directory: RunDirectory) -> None:
    config: CorpusConfig = directory.config
    sources = list(_sources(directory))
    if not sources:
        raise ValueError("There is nothing to gather: switch the Python documentation on or give text files.")
    directory.truncate_to(0)
    counts = _write_splits(directory, config, chain.from_iterable(sources))
    for split in ("train", "heldout"):
        if not counts[split]:
            raise ValueError(
                f"No document fell into the {split} part ({counts['gathered']} gathered, {counts['duplicates']} "
                f"duplicates, {counts['too_short']} too short): give more documents, split files into paragraphs, "
                "or change the held-out fraction."
            )
    summary = _summary(config, counts)
    write_json(directory.output("corpus") / "corpus.json", summary)
    figures = {key: summary[key] for key in ("train", "heldout", "characters", "duplicates", "too_short")}
    directory.log_metrics(1, **figures)
    directory.finish(figures, {"corpus": {"name": "Corpus", "licence": summary["licence"], **figures}})


def _sources(directory: RunDirectory) -> Iterator[Iterator[Document]]:
    config: CorpusConfig = directory.config
    if config.python_documentation:
        yield python_documentation()
    for path, info in zip(directory.input_list("files"), directory.input_info("files"), strict=True):
        licence = info.get("metadata", {}).get("licence") or config.licence
        source = re.sub(r"[^\w.-]+", "-", info.get("name") or path.name).strip("-").lower()
        yield text_files(path, source, licence, paragraphs=config.text_file_documents == "paragraph")


def _write_splits(directory: RunDirectory, config: CorpusConfig, documents: Iterator[Document]) -> Counter:
    """Write train.jsonl and heldout.jsonl. Counts are keyed by name, and by (source, licence, name)."""
    output = directory.output("corpus")
    seen: set[bytes] = set()
    counts: Counter = Counter()
    with (
        open(output / "train.jsonl", "w", encoding="utf8") as train,
        open(output / "heldout.jsonl", "w", encoding="utf8") as heldout,
    ):
        files = {"train": train, "heldout": heldout}
        for document in documents:
            counts["gathered"] += 1
            if counts["gathered"] % PROGRESS_EVERY == 0:
                directory.progress(counts["gathered"], 0, "documents")
                if directory.stop_requested:
                    raise Stopped("the corpus is built anew when the run starts again")
            digest = document_hash(document.text)
            fate = _fate(document, digest, seen, config)
            counts[fate] += 1
            counts[document.source, document.licence, fate] += 1
            if fate in files:
                counts["characters"] += len(document.text)
                counts[document.source, document.licence, "characters"] += len(document.text)
                row = {"id": digest[:16], "text": document.text, "source": document.source, "licence": document.licence}
                files[fate].write(json.dumps(row, ensure_ascii=False) + "\n")
    directory.progress(counts["gathered"], counts["gathered"], "documents")
    return counts


def _fate(document: Document, digest: str, seen: set[bytes], config: CorpusConfig) -> str:
    """What becomes of a document: train, heldout, duplicates or too_short."""
    if len(document.text.strip()) < config.minimum_characters:
        return "too_short"
    key = bytes.fromhex(digest)
    if key in seen:
        return "duplicates"
    seen.add(key)
    return "heldout" if is_held_out(digest, config.heldout_fraction) else "train"


def _summary(config: CorpusConfig, counts: Counter) -> dict:
    names = ("train", "heldout", "duplicates", "too_short", "characters")
    keys = sorted({key[:2] for key in counts if isinstance(key, tuple)})
    rows = [{"source": s, "licence": lic, **{name: counts[s, lic, name] for name in names}} for s, lic in keys]
    return {
        "sources": rows,
        **{name: counts[name] for name in ("gathered", *names)},
        "licence": " AND ".join(sorted({licence for _, licence in keys})),
        "heldout_fraction": config.heldout_fraction,
    }


if __name__ == "__main__":
    launch(RECIPE, run)
