"""New content for a label, as its next revision: what it said before is kept. Called inside a transaction."""

from __future__ import annotations

from typing import Any

from annotation.models import Comparison, Completion, Demonstration, Revision
from studio.models import User

Label = Demonstration | Comparison
RANKING = ("tiers", "unrankable", "strength", "ratings", "flags", "rationale")


class ChangedMeanwhile(ValueError):
    """Somebody (or another tab) changed the label since it was read."""


def content_of(label: Label) -> dict[str, Any]:
    """What the label says, as `Revision.content` keeps it."""
    if isinstance(label, Demonstration):
        return {"text": label.completion.text, "reasoning": label.reasoning}
    return {name: getattr(label, name) for name in RANKING}


def rewrite(label: Label, editor: User, content: dict[str, Any], **fields: Any) -> bool:
    """Let the label say `content` from now on, and set `fields` with it. False when it said the same before.

    `content` has what `content_of` gives; a revision number goes up only when something changed. Raises
    ChangedMeanwhile when the label is not at the revision that was read.
    """
    before = content_of(label)
    after = {**before, **content}
    changed = before != after
    values: dict[str, Any] = dict(fields)
    if changed:
        values["revision"] = label.revision + 1
        values.update(_columns(label, after))
    if values and type(label).everything.filter(pk=label.pk, revision=label.revision).update(**values) != 1:
        raise ChangedMeanwhile("This judgement was changed somewhere else meanwhile. Reload and look at it again.")
    if changed:
        kind = "demonstration" if isinstance(label, Demonstration) else "comparison"
        Revision.objects.create(number=label.revision, content=before, edited_by=editor, **{kind: label})
    label.refresh_from_db(from_queryset=type(label).everything.all())
    return changed


def _columns(label: Label, content: dict[str, Any]) -> dict[str, Any]:
    if isinstance(label, Comparison):
        return content
    columns: dict[str, Any] = {"reasoning": content["reasoning"]}
    answer = label.completion
    if content["text"] == answer.text:
        return columns
    if _is_judged(answer):  # others saw that text: it stays, and the demonstration gets another completion
        columns["completion"] = Completion.objects.create(
            prompt_id=answer.prompt_id, text=content["text"], author_id=answer.author_id
        )
    else:
        Completion.objects.filter(pk=answer.pk).update(text=content["text"])
    return columns


def _is_judged(completion: Completion) -> bool:
    return completion.offered_in.exists() or completion.comparisons.exists() or completion.failures.exists()


def history(label: Label) -> list[dict[str, Any]]:
    """Every revision of the label, oldest first: {"number", "content", "by", "at"}; the last is what it says now."""
    kept = list(label.revisions.select_related("edited_by"))
    rows: list[dict[str, Any]] = [{"number": r.number, "content": r.content} for r in kept]
    rows.append({"number": label.revision, "content": content_of(label)})
    makers = [(label.annotator, label.created_at), *((r.edited_by, r.edited_at) for r in kept)]
    for row, (by, at) in zip(rows, makers, strict=True):
        row.update(by=by, at=at)
    return rows
