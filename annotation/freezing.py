"""Write rows into an immutable dataset artifact: JSONL, a data card, and an item a source of each row.

Rows are read once, in the order of their prompts, and set aside in a file; which split a row goes to is known when all
have been read. So memory does not grow with the dataset. The rows of the database are written in one transaction at
the end, which first asks whether every label that was read may still be used.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO, Any

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from annotation.models import DatasetItem, Label, Prompt, Split
from annotation.prompts import hash_fraction
from studio.models import Project, User
from studio.runs.directory import write_json
from studio.runs.models import Artifact, hash_directory

BATCH = 1000
ATTEMPTS = 3


class LabelsChanged(Exception):
    """A label that was read may not be used any more."""


@dataclass(frozen=True)
class Row:
    """One line of a dataset and the labels (or the prompt) that it came from."""

    content: dict[str, Any]
    sources: tuple[Label | Prompt, ...]
    prompt: Prompt


@dataclass
class Tally:
    """What the data card says, counted while rows go by (in the order of their prompts)."""

    clusters: Counter[str] = field(default_factory=Counter)
    people: Counter[str] = field(default_factory=Counter)
    guidelines: Counter[str] = field(default_factory=Counter)
    labels: int = 0
    _prompt: int | None = None
    _seen: set[int] = field(default_factory=set)

    def add(self, row: Row) -> None:
        self.clusters[row.prompt.cluster or "none"] += 1
        if row.prompt.pk != self._prompt:
            self._prompt, self._seen = row.prompt.pk, set()
        for source in row.sources:
            if isinstance(source, Label) and source.pk not in self._seen:
                self._seen.add(source.pk)
                self._add_label(source)

    def _add_label(self, label: Label) -> None:
        person = label.annotator
        self.labels += 1
        self.people[f"{person.display_name}{' (scripted)' if person.is_scripted else ''}"] += 1
        self.guidelines[f"version {label.guideline.version}" if label.guideline else "none"] += 1


@dataclass(frozen=True)
class Plan:
    """What is to be frozen."""

    project: Project
    user: User
    name: str
    dataset_type: str
    rows: Callable[[], Iterator[Row]]  # read anew at each attempt
    still_usable: Callable[[], bool]  # asked in the transaction that registers what those rows became
    empty: str  # what is said when there is no row
    test_fraction: float | None = None  # None: each row goes to its prompt's own split
    facts: dict[str, Any] = field(default_factory=dict)  # further metadata
    notes: tuple[str, ...] = ()  # sections of the data card


def freeze(plan: Plan) -> Artifact:
    """Raises ValueError for a bad fraction, for no row, and where labels are withdrawn faster than they are read."""
    if plan.test_fraction is not None and not 0 <= plan.test_fraction <= 0.5:
        raise ValueError(f"Test fraction: {plan.test_fraction:g} must be between 0 and 0.5.")
    for _ in range(ATTEMPTS):
        try:
            return _freeze_once(plan)
        except LabelsChanged:
            continue
    raise ValueError("Labels are being withdrawn or settled just now: nothing was frozen. Try again in a minute.")


def _freeze_once(plan: Plan) -> Artifact:
    parent = settings.VAR / "datasets"
    directory = parent / str(uuid.uuid4())
    directory.mkdir(parents=True)
    try:
        with tempfile.TemporaryFile("w+", dir=parent, encoding="utf8") as aside:
            tally, ends = _set_aside(plan, aside)
            with tempfile.TemporaryFile("w+", dir=parent, encoding="utf8") as items:
                counts, prompts = _write_splits(plan, directory, aside, items, ends)
                return _register(plan, directory, items, tally, counts, prompts)
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise


def _set_aside(plan: Plan, file: IO[str]) -> tuple[Tally, tuple[float, float]]:
    """Every row into `file`; and the lowest and highest place (0 … 1) of their conversations."""
    tally, places = Tally(), [1.0, 0.0]
    for row in plan.rows():
        tally.add(row)
        place = hash_fraction(row.prompt.root, "dataset")
        places = [min(places[0], place), max(places[1], place)]
        sources = [(_source_name(s), s.pk, getattr(s, "revision", 1)) for s in row.sources]
        aside = {"place": place, "split": row.prompt.split, "prompt": row.prompt.pk, "sources": sources}
        file.write(json.dumps({**aside, "content": row.content}, ensure_ascii=False) + "\n")
    if not tally.clusters:
        raise ValueError(plan.empty)
    return tally, (places[0], places[1])


def _source_name(source: Label | Prompt) -> str:
    return type(source)._meta.model_name  # type: ignore[return-value]


def split_of(place: float, ends: tuple[float, float], test_fraction: float) -> str:
    """Train or test by a hash of the conversation's root, so that later freezes split the same way.

    With two conversations or more (`ends`: the lowest and highest place) each split gets one, which small projects
    need: the lowest is test, the highest train.
    """
    low, high = ends
    if test_fraction and low < high and place in ends:
        return Split.TEST if place == low else Split.TRAIN
    return Split.TEST if place < test_fraction else Split.TRAIN


def _write_splits(
    plan: Plan, directory: Path, aside: IO[str], items: IO[str], ends: tuple[float, float]
) -> tuple[dict[str, int], dict[str, int]]:
    """Rows and prompts of each split. A prompt's rows stand together, so a change of prompt is a new one."""
    aside.seek(0)
    rows, prompts = dict.fromkeys(Split.values, 0), dict.fromkeys(Split.values, 0)
    last: dict[str, int] = {}
    with ExitStack() as stack:
        files = {
            split: stack.enter_context(open(directory / f"{split}.jsonl", "w", encoding="utf8"))
            for split in Split.values
        }
        for line in aside:
            row = json.loads(line)
            split = row["split"]
            if plan.test_fraction is not None:
                split = str(split_of(row["place"], ends, plan.test_fraction))
            files[split].write(json.dumps(row["content"], ensure_ascii=False) + "\n")
            items.write(json.dumps([split, rows[split], row["sources"]]) + "\n")
            rows[split] += 1
            prompts[split] += last.get(split) != row["prompt"]
            last[split] = row["prompt"]
    return rows, prompts


def _register(
    plan: Plan, directory: Path, items: IO[str], tally: Tally, counts: dict[str, int], prompts: dict[str, int]
) -> Artifact:
    metadata = {"type": plan.dataset_type, "counts": counts, **plan.facts}
    write_json(directory / "dataset.json", metadata)
    (directory / "README.md").write_text(data_card(plan, tally, counts, prompts), encoding="utf8")
    hashed = hash_directory(directory)
    with transaction.atomic():
        if not plan.still_usable():
            raise LabelsChanged
        artifact = Artifact.register(
            plan.project, Artifact.Kind.DATASET, plan.name[:160], directory, plan.user, metadata, hashed=hashed
        )
        items.seek(0)
        _insert_items(artifact, items)
    return artifact


def _insert_items(artifact: Artifact, lines: Iterable[str]) -> None:
    """By plain INSERTs: the transaction is open, and on SQLite others wait until it ends."""
    names = ["artifact_id", "split", "index", "revision", *(f"{source}_id" for source in DatasetItem.SOURCES)]
    quote = connection.ops.quote_name
    statement = (
        f"INSERT INTO {quote(DatasetItem._meta.db_table)} ({', '.join(map(quote, names))}) "
        f"VALUES ({', '.join(['%s'] * len(names))})"
    )
    rows = (
        [artifact.pk, split, index, revision, *(pk if name == source else None for name in DatasetItem.SOURCES)]
        for split, index, sources in map(json.loads, lines)
        for source, pk, revision in sources
    )
    with connection.cursor() as cursor:
        while batch := list(islice(rows, BATCH)):
            cursor.executemany(statement, batch)


def write_rows(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    with open(path, "w", encoding="utf8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def data_card(plan: Plan, tally: Tally, counts: dict[str, int], prompts: dict[str, int]) -> str:
    """The README.md: what is in the dataset, who made it, under which guideline, and what was left out."""
    lines = [
        f"# {plan.name}",
        "",
        f"A dataset of type *{plan.dataset_type}*, frozen from the project “{plan.project.name}” by "
        f"{plan.user.display_name} on {timezone.now():%Y-%m-%d %H:%M} UTC.",
        "",
        "| split | rows | prompts |",
        "|---|---:|---:|",
        *(f"| {split} | {counts[split]} | {prompts[split]} |" for split in counts),
        "",
        "## Task clusters",
        "",
        *_counted(tally.clusters, "rows"),
        "",
    ]
    if tally.labels:
        lines += ["## Who made the labels", "", *_counted(tally.people, "labels"), ""]
        lines += ["## Guideline they worked under", "", *_counted(tally.guidelines, "labels"), ""]
    for note in plan.notes:
        lines += [note, ""]
    return "\n".join(lines)


def _counted(counter: Counter[str], unit: str) -> list[str]:
    return [f"- {name}: {n} {unit}" for name, n in sorted(counter.items(), key=lambda item: (-item[1], item[0]))]
