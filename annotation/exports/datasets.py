"""A frozen dataset in the formats of other tools, as an archive that is made while it is sent.

Every archive has the dataset's card (README.md) with a section on what the export kept and dropped. The web process
never loads Hugging Face's `datasets`: its files on disk are written with pyarrow.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.db import transaction

from annotation import journal
from annotation.exports import label_studio
from annotation.exports.columns import features_of, kinds_of, read_rows, schema_of, typed
from annotation.exports.stream import Member, arrow_chunks, gather, json_lines, parquet_chunks, zip_chunks
from annotation.models import Split
from studio.models import Project, User
from studio.runs.models import Artifact

FROZEN = ("demonstrations", "comparisons", "prompts")
TRL_COLUMNS = ("prompt", "completion", "chosen", "rejected", "margin")


@dataclass(frozen=True)
class Format:
    """`types`: the dataset types it can hold (empty: every one); `drops`: in words, what does not come through."""

    name: str
    title: str
    holds: str
    drops: str
    files: Callable[[Artifact], Iterator[Member]]
    types: tuple[str, ...] = ()
    by_split: Callable[[Path], Iterator[bytes]] | None = None  # one split as one file
    extension: str = ""

    def takes(self, artifact: Artifact) -> bool:
        return not self.types or artifact.dataset_type in self.types


@dataclass(frozen=True)
class Export:
    """What is sent: a file name, its type, and its bytes piece by piece."""

    filename: str
    content_type: str
    chunks: Iterable[bytes] = field(repr=False)


def export_dataset(artifact: Artifact, format: str, user: User, split: str = "") -> Export:
    """The dataset as an archive, or one `split` of it as a single file; and an entry in the journal.

    Raises ValueError when there is no such format, it cannot hold this dataset, or the split is not there.
    """
    made = FORMATS.get(format)
    if made is None:
        raise ValueError(f"There is no format '{format}': choose one of {', '.join(FORMATS)}.")
    if artifact.kind != Artifact.Kind.DATASET or not splits_of(artifact):
        raise ValueError(f"“{artifact.name}” is not a dataset with rows: freeze one first.")
    if not made.takes(artifact):
        raise ValueError(f"{made.title} holds {', '.join(made.types)}; “{artifact.name}” has {artifact.dataset_type}.")
    stem = f"{_slug(artifact.project.slug)}-{artifact.pk}-{_slug(artifact.name)}"[:80]
    if split:
        export = _one_file(artifact, made, split, stem)
    else:
        chunks = zip_chunks(_with_card(artifact, made), artifact.created_at)
        export = Export(f"{stem}.{made.name}.zip", "application/zip", gather(chunks))
    with transaction.atomic():
        journal.record(
            artifact.project, user, "exported", artifact=artifact.pk, dataset=artifact.name, format=made.name,
            **({"split": split} if split else {}),
        )  # fmt: skip
    return export


def _one_file(artifact: Artifact, format: Format, split: str, stem: str) -> Export:
    if format.by_split is None:
        raise ValueError(f"{format.title} has several files: take the archive.")
    if split not in splits_of(artifact):
        raise ValueError(f"“{artifact.name}” has no rows in '{split}': choose {' or '.join(splits_of(artifact))}.")
    chunks = format.by_split(artifact.directory / f"{split}.jsonl")
    return Export(f"{stem}-{split}.{format.extension}", "application/octet-stream", gather(chunks))


def splits_of(artifact: Artifact) -> list[str]:
    """The splits that have rows."""
    return [
        split for split in Split.values
        if (path := artifact.directory / f"{split}.jsonl").is_file() and path.stat().st_size
    ]  # fmt: skip


def formats_for(artifact: Artifact) -> list[Format]:
    return [format for format in FORMATS.values() if format.takes(artifact)]


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "dataset"


def _with_card(artifact: Artifact, format: Format) -> Iterator[Member]:
    yield Member("README.md", [_card(artifact, format).encode()])
    yield from format.files(artifact)


def _card(artifact: Artifact, format: Format) -> str:
    """The dataset's own card, under the front matter that Hugging Face's hub reads."""
    path = artifact.directory / "README.md"
    card = path.read_text(encoding="utf8") if path.is_file() else f"# {artifact.name}\n"
    return "\n".join(
        [
            "---",
            f"pretty_name: {json.dumps(artifact.name, ensure_ascii=False)}",
            f"tags: {json.dumps(['studio', 'trl', artifact.dataset_type])}",
            "---",
            "",
            card.rstrip(),
            "",
            "## This export",
            "",
            f"{format.title}. {format.holds} Dropped: {format.drops}",
            "",
            f"Dataset {artifact.pk}, sha256 of its files: `{artifact.sha256}`.",
            "",
        ]
    )


# TRL


def _jsonl_files(artifact: Artifact) -> Iterator[Member]:
    for split in splits_of(artifact):
        yield Member(f"{split}.jsonl", json_lines(read_rows(artifact.directory / f"{split}.jsonl")))


def _jsonl(path: Path) -> Iterator[bytes]:
    return json_lines(read_rows(path))


def _conversation(row: dict[str, Any]) -> dict[str, Any]:
    """TRL's language-modelling type: the prompt and its answer as one conversation."""
    rest = {name: value for name, value in row.items() if name not in ("prompt", "completion")}
    return {"messages": row["prompt"] + row["completion"], **rest}


def _messages(path: Path) -> Iterator[bytes]:
    return json_lines(_conversation(row) for row in read_rows(path))


def _messages_files(artifact: Artifact) -> Iterator[Member]:
    for split in splits_of(artifact):
        yield Member(f"{split}.jsonl", _messages(artifact.directory / f"{split}.jsonl"))


# Parquet and Hugging Face datasets


def _kinds(artifact: Artifact) -> dict[str, str]:
    return kinds_of(artifact.directory / f"{split}.jsonl" for split in splits_of(artifact))


def _parquet_of(path: Path, kinds: dict[str, str]) -> Iterator[bytes]:
    return parquet_chunks(typed(read_rows(path), kinds), schema_of(kinds))


def _parquet_files(artifact: Artifact) -> Iterator[Member]:
    kinds = _kinds(artifact)
    for split in splits_of(artifact):
        yield Member(f"{split}.parquet", _parquet_of(artifact.directory / f"{split}.jsonl", kinds))


def _parquet(path: Path) -> Iterator[bytes]:
    return _parquet_of(path, kinds_of([path]))


def _hugging_face_files(artifact: Artifact) -> Iterator[Member]:
    """What `DatasetDict.save_to_disk` writes: per split one Arrow file, its state and its features."""
    kinds, splits = _kinds(artifact), splits_of(artifact)
    yield Member("dataset_dict.json", [json.dumps({"splits": splits}).encode()])
    for split in splits:
        state = {
            "_data_files": [{"filename": "data-00000-of-00001.arrow"}],
            "_fingerprint": f"{artifact.sha256[:12]}{split:.4}",
            "_format_columns": None, "_format_kwargs": {}, "_format_type": None, "_output_all_columns": False,
            "_split": split,
        }  # fmt: skip
        info = {"citation": "", "description": "", "features": features_of(kinds), "homepage": "", "license": ""}
        yield Member(f"{split}/state.json", [json.dumps(state, indent=2).encode()])
        yield Member(f"{split}/dataset_info.json", [json.dumps(info, indent=2).encode()])
        rows = typed(read_rows(artifact.directory / f"{split}.jsonl"), kinds)
        yield Member(f"{split}/data-00000-of-00001.arrow", arrow_chunks(rows, schema_of(kinds)))


# OpenRLHF


def _open_rlhf(path: Path) -> Iterator[bytes]:
    return json_lines({name: row[name] for name in TRL_COLUMNS if name in row} for row in read_rows(path))


def _open_rlhf_files(artifact: Artifact) -> Iterator[Member]:
    for split in splits_of(artifact):
        yield Member(f"{split}.jsonl", _open_rlhf(artifact.directory / f"{split}.jsonl"))


MIXED = "nothing. A column whose values are of several kinds is kept as JSON text."
FORMATS = {
    made.name: made
    for made in (
        Format(
            "trl", "TRL, JSON lines", "One file a split in TRL's columns, as it was frozen: messages as lists of role "
            "and content, with our ids beside them.",
            "nothing.", _jsonl_files, by_split=_jsonl, extension="jsonl",
        ),
        Format(
            "trl-messages", "TRL, conversations", "Prompt and answer joined in one column, messages.",
            "where the prompt ends; it is what stands before the last message.",
            _messages_files, ("demonstrations",), by_split=_messages, extension="jsonl",
        ),
        Format(
            "parquet", "Parquet", "The same columns as the frozen files, typed; one file a split.", MIXED,
            _parquet_files, by_split=_parquet, extension="parquet",
        ),
        Format(
            "hugging-face", "Hugging Face dataset on disk", "Unpack it and load it with datasets.load_from_disk: a "
            "dictionary of splits, with the data card.",
            MIXED, _hugging_face_files,
        ),
        Format(
            "openrlhf", "OpenRLHF", "JSON lines for --prompt_key prompt --chosen_key chosen --rejected_key rejected "
            "(for SFT --input_key prompt --output_key completion) with --apply_chat_template; margin where there is "
            "one.",
            "our ids, task clusters, and with them the way back to the labels.",
            _open_rlhf_files, FROZEN, by_split=_open_rlhf, extension="jsonl",
        ),
        Format(
            "label-studio", "Label Studio", "Tasks with annotations, and the labelling configuration: each ranking or "
            "demonstration as its maker gave it, at the revision that was frozen.",
            "the order in which each person saw the answers (there all see the task's), the strength of all pairs "
            "where an answer was not rankable or a larger ranking is among them, flags, the split, and who made what "
            "(it knows its own members only).",
            label_studio.files, FROZEN,
        ),
    )
}  # fmt: skip


def exportable(project: Project) -> list[Artifact]:
    """The project's newest datasets."""
    return list(Artifact.objects.filter(project=project, kind=Artifact.Kind.DATASET).order_by("-id")[:200])
