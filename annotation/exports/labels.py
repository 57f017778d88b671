"""Every label as it was given, one JSON object a line: what was said, in which order it was shown, under which
guideline, how it was edited.

The columns are those that the import of TRL columns reads (`prompt`, `answers`, `tiers`, …), so labels can move from
one studio to another; the rest stands beside them. Left out are the labels of people who took their consent back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone
from django.utils.crypto import salted_hmac

from annotation import journal
from annotation.exports.datasets import Export
from annotation.exports.stream import Member, gather, json_lines, zip_chunks
from annotation.models import Comparison, Completion, Demonstration, FailureExample, Label, Standing
from annotation.reading import with_answers
from studio.models import Project, User

CHUNK = 500


def export_labels(project: Project, user: User, *, pseudonyms: bool = False, withdrawn: bool = False) -> Export:
    """All labels of the project as an archive; and an entry in the journal.

    `pseudonyms`: people are told apart, not named. `withdrawn`: withdrawn labels too, marked as such.
    """
    at = timezone.now()
    names = _Names(project, pseudonyms)
    members = (
        Member("README.md", [_readme(project, user, pseudonyms, withdrawn).encode()]),
        Member("comparisons.jsonl", json_lines(comparison_rows(project, names, withdrawn))),
        Member("demonstrations.jsonl", json_lines(demonstration_rows(project, names, withdrawn))),
        Member("failures.jsonl", json_lines(failure_rows(project, names, withdrawn))),
    )
    with transaction.atomic():
        journal.record(project, user, "exported", format="labels", pseudonyms=pseudonyms, withdrawn=withdrawn)
    return Export(f"{project.slug}-labels-{at:%Y-%m-%d}.zip", "application/zip", gather(zip_chunks(members, at)))


class _Names:
    """How people are called: by user name, or by a name that is the same in every export of the project and tells no
    more."""

    def __init__(self, project: Project, pseudonyms: bool) -> None:
        self.project, self.pseudonyms = project, pseudonyms

    def __call__(self, user: User) -> str:
        if not self.pseudonyms:
            return user.username
        digest = salted_hmac("annotation.exports.labels", f"{self.project.pk}:{user.pk}", algorithm="sha256")
        return f"annotator-{digest.hexdigest()[:12]}"


def _standing(labels: QuerySet[Any], project: Project, withdrawn: bool, maker: str = "annotator") -> QuerySet[Any]:
    away = Standing.objects.filter(project=project, user=OuterRef(maker), consent_withdrawn_at__isnull=False)
    labels = labels.filter(~Exists(away), prompt__project=project)
    return labels if withdrawn else labels.filter(withdrawn_at=None)


def comparison_rows(project: Project, names: _Names, withdrawn: bool) -> Iterator[dict[str, Any]]:
    labels = (
        _standing(Comparison.objects, project, withdrawn)
        .select_related("prompt", "annotator", "guideline", "round", "review", "task__queue", "task__gold", "batch")
        .order_by("id")
    )  # fmt: skip
    for label, completions in with_answers(labels, "model"):
        order = list(completions)
        place = {pk: number for number, pk in enumerate(order)}
        yield {
            "comparison_id": label.pk,
            **_prompt(label),
            "answers": [completions[pk].text for pk in order],  # in the order in which they were shown
            "tiers": [[place[pk] for pk in tier] for tier in label.tiers],
            "unrankable": [place[pk] for pk in label.unrankable],
            **({"strength": label.strength} if label.strength else {}),
            "ratings": _by_place(label.ratings, order),
            "flags": _by_place(label.flags, order),
            "rationale": label.rationale,
            "unchanged": label.unchanged,
            "completion_ids": order,
            "models": [_model(completions[pk]) for pk in order],
            **_task(label),
            **_about(label, names),
        }


def _by_place(values: dict[str, Any], order: Sequence[int]) -> list[Any]:
    """One value (or null) an answer; nothing where there is none at all."""
    return [values.get(str(pk)) for pk in order] if values else []


def _model(completion: Completion) -> dict[str, Any] | None:
    """None: a person wrote it, or nobody knows."""
    if completion.model is None:
        return None
    return {"id": completion.model_id, "name": completion.model.name, "sampling": completion.sampling}


def _task(label: Comparison) -> dict[str, Any]:
    task = label.task
    return {
        "task": label.task_id,
        "queue": task.queue.name if task else None,
        "adjudicates": task.adjudicates_id if task else None,
        "gold": bool(task and getattr(task, "gold", None)),
        "review": label.review.name if label.review else None,
    }


def demonstration_rows(project: Project, names: _Names, withdrawn: bool) -> Iterator[dict[str, Any]]:
    labels = (
        _standing(Demonstration.objects, project, withdrawn)
        .select_related("prompt", "annotator", "guideline", "round", "completion", "draft_of", "batch")
        .order_by("id")
    )  # fmt: skip
    for label in labels.iterator(chunk_size=CHUNK):
        yield {
            "demonstration_id": label.pk,
            **_prompt(label),
            "completion": [{"role": "assistant", "content": label.completion.text}],
            "reasoning": label.reasoning,
            "draft": label.draft_of.text if label.draft_of else None,
            "edit_distance": label.edit_distance,
            **_about(label, names),
        }


def failure_rows(project: Project, names: _Names, withdrawn: bool) -> Iterator[dict[str, Any]]:
    examples = (
        _standing(FailureExample.objects, project, withdrawn, "author")
        .select_related("failure_class", "prompt", "completion__model", "author", "guideline").order_by("id")
    )  # fmt: skip
    for example in examples.iterator(chunk_size=CHUNK):
        yield {
            "failure_id": example.pk,
            "failure_class": example.failure_class.name,
            "severity": example.failure_class.severity,
            **_prompt(example),
            "answer": example.completion.text,
            "model": _model(example.completion),
            "correction": example.correction,
            "reasoning": example.reasoning,
            "annotator": names(example.author),
            "guideline_version": example.guideline.version if example.guideline else None,
            "created_at": example.created_at.isoformat(),
            **_withdrawn(example),
        }


def _prompt(label: Label | FailureExample) -> dict[str, Any]:
    prompt = label.prompt
    found = {"prompt_id": prompt.pk, "prompt": prompt.messages, "cluster": prompt.cluster, "tags": prompt.tags}
    return found | {"split": prompt.split, **({"reference": prompt.reference} if prompt.reference else {})}


def _about(label: Label, names: _Names) -> dict[str, Any]:
    return {
        "annotator": names(label.annotator),
        "scripted": label.annotator.is_scripted,
        "guideline_version": label.guideline.version if label.guideline else None,
        "round": label.round.number if label.round else None,
        "seconds": label.seconds,
        "surplus": label.surplus,
        "second_look": label.second_look,
        "source": label.source,
        "import": label.batch.name if label.batch else None,
        "created_at": label.created_at.isoformat(),
        "revision": label.revision,
        "revisions": [
            {
                "number": r.number, "content": r.content, "edited_by": names(r.edited_by),
                "edited_at": r.edited_at.isoformat(),
            }
            for r in (label.revisions.select_related("edited_by") if label.revision > 1 else ())
        ],
        **_withdrawn(label),
    }  # fmt: skip


def _withdrawn(label: Label | FailureExample) -> dict[str, Any]:
    if label.withdrawn_at is None:
        return {}
    return {"withdrawn_at": label.withdrawn_at.isoformat(), "withdrawn_reason": label.withdrawn_reason}


def _readme(project: Project, user: User, pseudonyms: bool, withdrawn: bool) -> str:
    people = "by pseudonyms, which are the same in every export of this project" if pseudonyms else "by user name"
    kept = (
        "Withdrawn labels are in it, with the time and the reason." if withdrawn else "Withdrawn labels are left out."
    )
    return f"""# Labels of {project.name}

Every label as it was given, exported by {"a lead" if pseudonyms else user.display_name} on \
{timezone.now():%Y-%m-%d %H:%M} UTC. People are told {people}. {kept} Labels of \
people who took their consent back are never in it.

- `comparisons.jsonl`: `answers` in the order in which they were shown; `tiers` are places in it, from 0, best tier
  first; `unrankable`, `ratings` and `flags` too go by place. `revisions` hold what a label said before each edit, by
  `completion_ids`.
- `demonstrations.jsonl`: prompt, answer, reasoning, the draft it was written from.
- `failures.jsonl`: examples of failure classes with corrections.

Held-out prompts are in it (`split` is test): keep them from training. Comparisons and demonstrations can be imported
into a studio as they are; ids, models, tasks, guideline versions and revisions are not taken over then.
"""
