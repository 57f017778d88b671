"""Labels whose makers want somebody to look at them again, and what a lead makes of that."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.db.models import CharField, QuerySet, Value

from annotation.journal import record
from annotation.models import Comparison, Demonstration, Kind
from annotation.settling import send_to_adjudication
from annotation.withdraw import withdraw
from studio.models import Project, User

KINDS: dict[str, type[Comparison] | type[Demonstration]] = {"comparison": Comparison, "demonstration": Demonstration}

Label = Comparison | Demonstration


def flagged(project: Project, *, done: bool = False) -> QuerySet[Any]:
    """{"kind", "pk", "created_at"} of the labels that want a second look (or had it), newest first."""
    parts = [
        model.objects.filter(prompt__project=project, second_look_done=done, withdrawn_at=None)
        .exclude(second_look="")
        .order_by()
        .annotate(kind=Value(kind, output_field=CharField()))
        .values("kind", "pk", "created_at")
        for kind, model in KINDS.items()
    ]
    return parts[0].union(*parts[1:], all=True).order_by("-created_at", "kind", "-pk")


def look_up(rows: list[dict[str, Any]]) -> list[Label]:
    """The labels of these rows of `flagged`, in their order, with prompt, person and (of a comparison) its task."""
    found: dict[tuple[str, int], Label] = {}
    for kind, related in (("comparison", ("task__queue", "task__gold")), ("demonstration", ("completion",))):
        wanted = [row["pk"] for row in rows if row["kind"] == kind]
        labels = KINDS[kind].objects.select_related("prompt", "annotator", "guideline", *related).in_bulk(wanted)
        found |= {(kind, pk): label for pk, label in labels.items()}
    return [found[row["kind"], row["pk"]] for row in rows if (row["kind"], row["pk"]) in found]


@transaction.atomic
def mark_done(label: Label, user: User, note: str = "") -> None:
    """It was looked at and stands. Raises ValueError when nobody asked for it, or somebody has done so already."""
    note = _note(note)
    _conclude(label)
    record(label.prompt.project_id, user, "looked at again", label, asked=label.second_look, note=note)


@transaction.atomic
def send_on(label: Label, user: User, note: str = "") -> None:
    """Have the ranking settled by somebody who has not judged it. Raises ValueError when that cannot be."""
    note = _note(note)
    if not may_be_settled(label):
        raise ValueError(
            "Only a ranking that came from a queue, and not of a gold item, can be settled by another. "
            "Withdraw it, or let it stand."
        )
    _conclude(label)
    (task,) = send_to_adjudication(label.prompt.project, [label.task_id], user, at_least=1)  # type: ignore[union-attr]
    record(
        label.prompt.project_id, user, "sent to a second look", label,
        asked=label.second_look, note=note, adjudication=task.pk,
    )  # fmt: skip


@transaction.atomic
def take_out(label: Label, user: User, reason: str) -> None:
    """It was right to doubt it: withdraw it. Raises ValueError without a reason."""
    _conclude(label)
    withdraw(label, user, reason)


def may_be_settled(label: Label) -> bool:
    """Not what answers a gold item: its answer is known."""
    task = label.task if isinstance(label, Comparison) else None
    return task is not None and task.queue.kind == Kind.RANK and not hasattr(task, "gold")


def _conclude(label: Label) -> None:
    standing = type(label).objects.filter(pk=label.pk, withdrawn_at=None)
    waiting = standing.filter(second_look_done=False).exclude(second_look="")
    if waiting.update(second_look_done=True) != 1:
        raise ValueError("Nobody waits for a second look at this label any more: somebody was faster.")
    label.second_look_done = True


def _note(text: str) -> str:
    text = " ".join(text.replace("\0", "").split())
    if len(text) > 300:
        raise ValueError(f"The note has {len(text)} characters; at most 300 fit.")
    return text
