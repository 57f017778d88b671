"""Take a label back: it stays, with who, when and why, and leaves every dataset that is frozen from now on."""

from __future__ import annotations

from django.db import transaction
from django.utils import timezone

from annotation import journal
from annotation.models import Comparison, Demonstration, FailureExample
from studio.access import ENGINEERS
from studio.models import Membership, User


def may_withdraw(membership: Membership, label: Demonstration | Comparison | FailureExample) -> bool:
    """Who made a label may take it back; engineers and owners may take back any."""
    maker = label.author_id if isinstance(label, FailureExample) else label.annotator_id
    return maker == membership.user_id or membership.role in ENGINEERS


def withdraw(label: Demonstration | Comparison | FailureExample, user: User, reason: str) -> None:
    """Mark the label as withdrawn. `annotation.lineage` says which datasets and models have used it.

    Raises ValueError without a reason, and when it has been withdrawn before.
    """
    reason = reason.strip()
    if not 1 <= len(reason) <= 300:
        raise ValueError("Say in at most 300 characters why the label is withdrawn.")
    values = {"withdrawn_at": timezone.now(), "withdrawn_by": user, "withdrawn_reason": reason}
    with transaction.atomic():
        if type(label).objects.filter(pk=label.pk, withdrawn_at=None).update(**values) != 1:
            raise ValueError("This label has been withdrawn already.")
        journal.record(label.prompt.project_id, user, "withdrawn", label, reason=reason)
    label.refresh_from_db()
