"""Freeze labels into an immutable dataset artifact: JSONL in TRL's columns, a data card, and a row a line that says
which label it came from.

Held-out prompts never get into what trains, nor do judgements of blind reviews, withdrawn labels and surplus ones.
"""

from __future__ import annotations

import json
import shutil
import uuid
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from annotation.comparisons import pairs
from annotation.models import Comparison, DatasetItem, Demonstration, Label, Prompt, Split
from annotation.prompts import hash_fraction
from studio.models import Project, User
from studio.runs.directory import write_json
from studio.runs.models import Artifact

BATCH = 1000


@dataclass(frozen=True)
class Row:
    """One line of a dataset and the label (or prompt) that it came from."""

    content: dict[str, Any]
    source: Demonstration | Comparison | Prompt
    prompt: Prompt


def freeze_demonstrations(
    project: Project,
    user: User,
    *,
    name: str = "",
    demonstrations: QuerySet[Demonstration] | None = None,
    test_fraction: float = 0.1,
) -> Artifact:
    """A dataset of the project's demonstrations (or of the given ones of them), for SFT.

    `test_fraction` of the conversations, chosen by hash, become the test split. Raises ValueError when none is left.
    """
    labels = usable(Demonstration.objects.filter(prompt__project=project), demonstrations)
    rows = [
        Row(
            {
                "prompt": label.prompt.messages,
                "completion": [{"role": "assistant", "content": label.completion.text}],
                "prompt_id": label.prompt_id,
                "cluster": label.prompt.cluster,
                "demonstration_id": label.pk,
            },
            label,
            label.prompt,
        )
        for label in labels.select_related("prompt", "completion", "annotator", "guideline").order_by("id")
    ]
    if not rows:
        raise ValueError(
            "There is no demonstration to freeze: write some on training prompts first (held-out prompts do not train)."
        )
    return _freeze(project, user, name or "Demonstrations", "demonstrations", split_rows(rows, test_fraction))


def freeze_comparisons(
    project: Project,
    user: User,
    *,
    name: str = "",
    comparisons: QuerySet[Comparison] | None = None,
    test_fraction: float = 0.2,
) -> Artifact:
    """A dataset of the pairs that the project's rankings (or the given ones of them) imply, for reward models.

    A ranking becomes every pair of answers from different tiers; ties say nothing. Train and test share no
    conversation. Raises ValueError when there is no pair.
    """
    labels = usable(Comparison.objects.filter(prompt__project=project, review=None), comparisons)
    rows = [
        row
        for label in labels.select_related("prompt", "annotator", "guideline")
        .prefetch_related("completions")
        .order_by("id")
        for row in _pair_rows(label)
    ]
    if not rows:
        raise ValueError(
            "There is no comparison to freeze that prefers one answer to another: rank answers to training prompts "
            "first (ties, blind reviews and held-out prompts do not train)."
        )
    return _freeze(project, user, name or "Comparisons", "comparisons", split_rows(rows, test_fraction))


def freeze_prompts(
    project: Project, user: User, *, name: str = "", prompts: QuerySet[Prompt] | None = None
) -> Artifact:
    """A dataset of prompts: train.jsonl those that may train, test.jsonl the held-out ones. ValueError for none."""
    chosen = Prompt.objects.filter(project=project)
    if prompts is not None:
        chosen = chosen.filter(pk__in=prompts.values("pk"))
    splits: dict[str, list[Row]] = {Split.TRAIN: [], Split.TEST: []}
    for prompt in chosen.order_by("id"):
        content = {"prompt": prompt.messages, "prompt_id": prompt.pk, "cluster": prompt.cluster}
        splits[prompt.split].append(Row(content, prompt, prompt))
    if not any(splits.values()):
        raise ValueError("There is no prompt to freeze: import some first.")
    return _freeze(project, user, name or "Prompts", "prompts", splits)


def usable(labels: QuerySet[Any], chosen: QuerySet[Any] | None = None) -> QuerySet[Any]:
    """Those of `labels` (and of `chosen`, where given) that may train."""
    if chosen is not None:
        labels = labels.filter(pk__in=chosen.order_by().values("pk"))
    return labels.filter(withdrawn_at=None, surplus=False, prompt__split=Split.TRAIN)


def _pair_rows(label: Comparison) -> list[Row]:
    texts = {c.pk: c.text for c in label.completions.all()}
    return [
        Row(
            {
                "prompt": label.prompt.messages,
                "chosen": [{"role": "assistant", "content": texts[chosen]}],
                "rejected": [{"role": "assistant", "content": texts[rejected]}],
                "prompt_id": label.prompt_id,
                "cluster": label.prompt.cluster,
                "comparison_id": label.pk,
            },
            label,
            label.prompt,
        )
        for chosen, rejected in pairs(label.tiers)
        if texts[chosen] != texts[rejected]
    ]


def split_rows(rows: list[Row], test_fraction: float) -> dict[str, list[Row]]:
    """Train and test by a hash of each conversation's root, so that later freezes split the same way.

    With two roots or more each split gets at least one, which small projects need. Raises ValueError for a fraction
    outside 0…½.
    """
    if not 0 <= test_fraction <= 0.5:
        raise ValueError(f"Test fraction: {test_fraction:g} must be between 0 and 0.5.")
    place = {row.prompt.root: hash_fraction(row.prompt.root, "dataset") for row in rows}
    test = {root for root, fraction in place.items() if fraction < test_fraction}
    if test_fraction and len(place) > 1:
        test |= {min(place, key=place.__getitem__)}
        test -= {max(place, key=place.__getitem__)}
    return {
        Split.TRAIN: [row for row in rows if row.prompt.root not in test],
        Split.TEST: [row for row in rows if row.prompt.root in test],
    }


def _freeze(project: Project, user: User, name: str, dataset_type: str, splits: dict[str, list[Row]]) -> Artifact:
    directory = settings.VAR / "datasets" / str(uuid.uuid4())
    directory.mkdir(parents=True)
    counts = {str(split): len(rows) for split, rows in splits.items()}
    try:
        for split, rows in splits.items():
            write_rows(directory / f"{split}.jsonl", (row.content for row in rows))
        write_json(directory / "dataset.json", {"type": dataset_type, "counts": counts})
        card = data_card(project, user, name, dataset_type, splits)
        (directory / "README.md").write_text(card, encoding="utf8")
        with transaction.atomic():
            artifact = Artifact.register(
                project, Artifact.Kind.DATASET, name[:160], directory, user, {"type": dataset_type, "counts": counts}
            )
            DatasetItem.objects.bulk_create(
                [
                    DatasetItem(artifact=artifact, split=split, index=index, **{_source_name(row.source): row.source})
                    for split, rows in splits.items()
                    for index, row in enumerate(rows)
                ],
                batch_size=BATCH,
            )
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise
    return artifact


def _source_name(source: Demonstration | Comparison | Prompt) -> str:
    return type(source)._meta.model_name  # type: ignore[return-value]


def write_rows(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    with open(path, "w", encoding="utf8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def data_card(project: Project, user: User, name: str, dataset_type: str, splits: dict[str, list[Row]]) -> str:
    """The README.md: what is in the dataset, who made it, under which guideline, and what was left out."""
    rows = [row for part in splits.values() for row in part]
    labels = list({row.source.pk: row.source for row in rows}.values())
    lines = [
        f"# {name}",
        "",
        f"A dataset of type *{dataset_type}*, frozen from the project “{project.name}” by {user.display_name} "
        f"on {timezone.now():%Y-%m-%d %H:%M} UTC.",
        "",
        "| split | rows | prompts |",
        "|---|---:|---:|",
        *(f"| {split} | {len(part)} | {len({r.prompt.pk for r in part})} |" for split, part in splits.items()),
        "",
        "## Task clusters",
        "",
        *_counted(Counter(row.prompt.cluster or "none" for row in rows), "rows"),
        "",
    ]
    if isinstance(labels[0], Label):
        people = Counter(
            f"{a.display_name}{' (scripted)' if a.is_scripted else ''}" for a in (x.annotator for x in labels)
        )
        versions = Counter(f"version {x.guideline.version}" if x.guideline else "none" for x in labels)
        lines += ["## Who made the labels", "", *_counted(people, "labels"), ""]
        lines += ["## Guideline they worked under", "", *_counted(versions, "labels"), ""]
        lines += [
            "## Left out",
            "",
            "Withdrawn labels, surplus judgements, blind reviews and every held-out prompt. Test rows are those whose "
            "conversation's root hashes below the test fraction, so train and test share no conversation.",
            "",
        ]
    return "\n".join(lines)


def _counted(counter: Counter[str], unit: str) -> list[str]:
    return [f"- {name}: {n} {unit}" for name, n in sorted(counter.items(), key=lambda item: (-item[1], item[0]))]
