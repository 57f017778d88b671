"""Merge failure classes that are the same, and take a merge back: examples move, and the history says which.

An example that its author has filed under both classes stays with the merged one, since the other has it already.
"""

from __future__ import annotations

from django.db import transaction
from django.db.models import Exists, OuterRef
from django.utils import timezone

from annotation import journal
from annotation.failures import successors
from annotation.models import FailureClass, FailureExample, FailureMerge
from studio.models import User


@transaction.atomic
def merge(source: FailureClass, target: FailureClass, user: User, *, reason: str = "") -> FailureMerge:
    """Move the examples of `source` to `target`; its page stays and says so.

    Raises ValueError when they are the same, of different projects, or one of them is merged already.
    """
    if source.pk == target.pk:
        raise ValueError("A class cannot be merged into itself: choose another one.")
    if source.project_id != target.project_id:
        raise ValueError("The other class belongs to another project.")
    # In the order of their ids: two merges that cross do not wait for each other for ever.
    locked = FailureClass.objects.select_for_update().filter(pk__in=(source.pk, target.pk)).order_by("pk")
    for each in list(locked):
        if each.merged_into_id:
            raise ValueError(f"“{each.name}” is merged into another class already: look at it first.")
    twins = FailureExample.objects.filter(
        failure_class=target, completion=OuterRef("completion"), author=OuterRef("author")
    )
    moving = FailureExample.objects.filter(~Exists(twins), failure_class=source)
    ids = sorted(moving.values_list("pk", flat=True))
    FailureExample.objects.filter(pk__in=ids).update(failure_class=target)
    if FailureClass.objects.filter(pk=source.pk, merged_into=None).update(merged_into=target) != 1:
        raise ValueError(f"“{source.name}” was merged at the same moment: look at it first.")
    done = FailureMerge.objects.create(
        source=source, target=target, examples=ids, reason=reason.strip()[:300], merged_by=user
    )
    left = FailureExample.objects.filter(failure_class=source).count()
    journal.record(
        source.project_id, user, "merged", source, into=target.name, target=target.pk, examples=len(ids),
        doubles=left, reason=done.reason,
    )  # fmt: skip
    return done


@transaction.atomic
def undo_merge(done: FailureMerge, user: User) -> int:
    """Give the examples back to the merged class, wherever they have gone since; returns how many.

    Raises ValueError when it was taken back before.
    """
    standing = FailureMerge.objects.filter(pk=done.pk, undone_at=None)
    if standing.update(undone_at=timezone.now()) != 1:
        raise ValueError("This merge was taken back already.")
    # Not only in the class at the end: a later merge leaves doubles in the class that it merges.
    holders = successors(done.source.project_id)[done.target_id]
    examples = FailureExample.objects.filter(pk__in=done.examples, failure_class__in=holders)
    returned = examples.update(failure_class=done.source)
    FailureClass.objects.filter(pk=done.source_id).update(merged_into=None)
    journal.record(done.source.project_id, user, "merge undone", done.source, into=done.target.name, examples=returned)
    return returned
