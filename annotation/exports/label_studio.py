"""The labels behind a frozen dataset as Label Studio tasks with annotations, and the configuration they fit.

The shapes are those of `annotation.label_studio.formats`, which the synchronisation uses too.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from itertools import groupby
from typing import Any

from django.db.models import Count, Max, Q, QuerySet

from annotation.exports.stream import Member, json_array
from annotation.label_studio.formats import (
    Asked,
    Ranking,
    Result,
    Written,
    demonstration_config,
    demonstration_result,
    pairwise_config,
    ranking_config,
    ranking_result,
    task_data,
)
from annotation.models import Comparison, Demonstration, Prompt
from annotation.reading import with_answers
from studio.runs.models import Artifact

CHUNK = 500
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def files(artifact: Artifact) -> Iterator[Member]:
    dialogue = _prompts_of(artifact).filter(messages__1__isnull=False).exists()
    if artifact.dataset_type == "comparisons":
        yield from _comparison_files(artifact, dialogue)
        return
    rows = _demonstrations(artifact) if artifact.dataset_type == "demonstrations" else _prompts(artifact)
    yield Member("label_config.xml", [demonstration_config(dialogue=dialogue).encode()])
    yield Member("tasks.json", json_array(rows))


def _prompts_of(artifact: Artifact) -> QuerySet[Prompt]:
    source = {"comparisons": "comparison", "demonstrations": "demonstration"}.get(artifact.dataset_type)
    items = artifact.items.order_by()
    return Prompt.everything.filter(pk__in=items.values(f"{source}__prompt" if source else "prompt"))


def _comparison_files(artifact: Artifact, dialogue: bool) -> Iterator[Member]:
    used = Comparison.everything.filter(dataset_items__artifact=artifact)
    most = used.annotate(size=Count("completions", distinct=True)).aggregate(most=Max("size"))["most"] or 2
    pairwise = most == 2 and not used.exclude(unrankable=[]).exists()
    asked = Asked(ratings="optional")
    config = pairwise_config(asked, dialogue=dialogue) if pairwise else ranking_config(most, asked, dialogue=dialogue)
    yield Member("label_config.xml", [config.encode()])
    yield Member("tasks.json", json_array(_rankings(artifact, pairwise)))


def _rankings(artifact: Artifact, pairwise: bool) -> Iterator[dict[str, Any]]:
    """A task a set of answers, with an annotation a ranking."""
    labels = (
        Comparison.everything.filter(dataset_items__artifact=artifact)
        .annotate(frozen=Max("dataset_items__revision", filter=Q(dataset_items__artifact=artifact)))
        .select_related("prompt").order_by("prompt", "id")
    )  # fmt: skip
    for _, group in groupby(with_answers(labels), key=lambda pair: pair[0].prompt_id):
        tasks: dict[tuple[int, ...], dict[str, Any]] = {}
        for label, completions in group:
            texts = {pk: completion.text for pk, completion in completions.items()}
            answers = tuple(sorted(texts))
            if answers not in tasks:
                key = f"{label.prompt_id}:{','.join(map(str, answers))}"
                data = task_data(key, label.prompt.messages, [texts[pk] for pk in answers])
                tasks[answers] = {"data": data, "annotations": []}
            letter = {pk: LETTERS[place] for place, pk in enumerate(answers)}
            result = ranking_result(_in_letters(as_frozen(label), letter), list(letter.values()), pairwise=pairwise)
            tasks[answers]["annotations"].append(_annotation(label, result))
        yield from tasks.values()


def as_frozen(label: Comparison | Demonstration) -> dict[str, Any]:
    """The label's content at revision `label.frozen`; edits since then are not in it."""
    if label.frozen < label.revision:
        earlier = label.revisions.filter(number=label.frozen).first()
        if earlier is not None:
            return earlier.content
    if isinstance(label, Demonstration):
        return {"text": label.completion.text, "reasoning": label.reasoning}
    names = ("tiers", "unrankable", "strength", "ratings", "rationale")
    return {name: getattr(label, name) for name in names}


def _in_letters(content: dict[str, Any], letter: dict[int, str]) -> Ranking:
    ratings = {letter[int(pk)]: rating for pk, rating in (content.get("ratings") or {}).items() if int(pk) in letter}
    return Ranking(
        tiers=[sorted(letter[pk] for pk in tier) for tier in content["tiers"]],
        unrankable=sorted(letter[pk] for pk in content.get("unrankable") or []),
        strength=content.get("strength"), ratings=ratings, rationale=content.get("rationale") or "",
    )  # fmt: skip


def _demonstrations(artifact: Artifact) -> Iterator[dict[str, Any]]:
    labels = (
        Demonstration.everything.filter(dataset_items__artifact=artifact)
        .annotate(frozen=Max("dataset_items__revision", filter=Q(dataset_items__artifact=artifact)))
        .select_related("prompt", "completion").order_by("prompt", "id")
    )  # fmt: skip
    for _, group in groupby(labels.iterator(chunk_size=CHUNK), key=lambda label: label.prompt_id):
        members = list(group)
        annotations = []
        for label in members:
            content = as_frozen(label)
            written = Written(content["text"], content.get("reasoning") or "")
            annotations.append(_annotation(label, demonstration_result(written)))
        data = task_data(str(members[0].prompt_id), members[0].prompt.messages)
        yield {"data": data, "annotations": annotations}


def _prompts(artifact: Artifact) -> Iterator[dict[str, Any]]:
    found = Prompt.everything.filter(dataset_items__artifact=artifact).order_by("id")
    for prompt in found.iterator(chunk_size=CHUNK):
        yield {"data": task_data(str(prompt.pk), prompt.messages)}


def _annotation(label: Comparison | Demonstration, result: Result) -> dict[str, Any]:
    """`unique_id` is the label's for good, so that what is sent twice is known there."""
    name = f"{label._meta.model_name}:{label.pk}:{label.frozen}"
    return {
        "result": result,
        "was_cancelled": False,
        "ground_truth": False,
        "unique_id": str(uuid.uuid5(uuid.NAMESPACE_OID, name)),
        "created_at": label.created_at.isoformat(),
        **({"lead_time": label.seconds} if label.seconds is not None else {}),
    }
