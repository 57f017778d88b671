"""Comparisons and demonstrations: one's own for everybody, the project's for engineers; in pages that follow ids."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest
from ninja import Query, Router

from annotation import withdraw
from annotation.api.auth import READ, READ_OR_WORK, WORK_OR_MANAGE, find, member
from annotation.api.schemas.labels import (
    ArtifactOut,
    ComparisonOut,
    ComparisonPage,
    DemonstrationOut,
    DemonstrationPage,
    RevisionOut,
    UsesOut,
)
from annotation.api.schemas.shared import REFUSED, PageIn, ReasonIn, Text
from annotation.lineage import datasets_using, models_using
from annotation.models import Claim, Comparison, Demonstration
from annotation.revisions import history
from studio.access import ENGINEERS, may
from studio.models import Membership

router = Router(tags=["labels"])
MINE = "Only your own; annotators and SMEs get no others."
Label = Comparison | Demonstration


@router.get("/projects/{slug}/comparisons", auth=READ_OR_WORK, response={200: ComparisonPage, **REFUSED})
def list_comparisons(
    request: HttpRequest,
    slug: Text,
    page: Query[PageIn],
    mine: bool = Query(False, description=MINE),
) -> Any:
    """Rankings, oldest first. Which model wrote an answer is told to engineers, except on what they are judging."""
    membership = member(request, slug)
    labels = _told(Comparison.objects.filter(prompt__project=membership.project), membership, mine)
    found, after = page.cut(labels.prefetch_related("completions").select_related("guideline", "annotator"))
    blind = _blind_prompts(membership)
    items = [
        ComparisonOut.of(label, tells_models=may(membership, ENGINEERS) and label.prompt_id not in blind)
        for label in found
    ]
    return {"items": items, "next": after}


@router.get("/projects/{slug}/demonstrations", auth=READ_OR_WORK, response={200: DemonstrationPage, **REFUSED})
def list_demonstrations(
    request: HttpRequest,
    slug: Text,
    page: Query[PageIn],
    mine: bool = Query(False, description=MINE),
) -> Any:
    """Demonstrations, oldest first."""
    membership = member(request, slug)
    labels = _told(Demonstration.objects.filter(prompt__project=membership.project), membership, mine)
    found, after = page.cut(labels.select_related("completion", "guideline", "annotator"))
    return {"items": [DemonstrationOut.of(label) for label in found], "next": after}


@router.post("/comparisons/{label_id}/withdraw", auth=WORK_OR_MANAGE, response={204: None, **REFUSED})
def withdraw_comparison(request: HttpRequest, label_id: int, body: ReasonIn) -> Any:
    """Take a ranking back: it stays, and leaves every dataset that is frozen from now on."""
    return _withdraw(request, Comparison, label_id, body.reason)


@router.post("/demonstrations/{label_id}/withdraw", auth=WORK_OR_MANAGE, response={204: None, **REFUSED})
def withdraw_demonstration(request: HttpRequest, label_id: int, body: ReasonIn) -> Any:
    """Take a demonstration back: it stays, and leaves every dataset that is frozen from now on."""
    return _withdraw(request, Demonstration, label_id, body.reason)


@router.get("/comparisons/{label_id}/history", auth=READ_OR_WORK, response={200: list[RevisionOut], **REFUSED})
def comparison_history(request: HttpRequest, label_id: int) -> Any:
    """What a ranking said, from its first revision to now."""
    return _history(request, Comparison, label_id)


@router.get("/demonstrations/{label_id}/history", auth=READ_OR_WORK, response={200: list[RevisionOut], **REFUSED})
def demonstration_history(request: HttpRequest, label_id: int) -> Any:
    """What a demonstration said, from its first revision to now."""
    return _history(request, Demonstration, label_id)


@router.get("/comparisons/{label_id}/uses", auth=READ, response={200: UsesOut, **REFUSED})
def comparison_uses(request: HttpRequest, label_id: int) -> Any:
    """Which datasets have a ranking, and which models came from them, withdrawn or not. For engineers."""
    return _uses(request, Comparison, label_id)


@router.get("/demonstrations/{label_id}/uses", auth=READ, response={200: UsesOut, **REFUSED})
def demonstration_uses(request: HttpRequest, label_id: int) -> Any:
    """Which datasets have a demonstration, and which models came from them, withdrawn or not. For engineers."""
    return _uses(request, Demonstration, label_id)


def _told(labels: QuerySet[Any], membership: Membership, mine: bool) -> QuerySet[Any]:
    """Those of the labels that the caller is told of."""
    return labels.filter(annotator=membership.user_id) if mine or not may(membership, ENGINEERS) else labels


def _blind_prompts(membership: Membership) -> set[int]:
    mine = Claim.objects.filter(annotator=membership.user_id, status=Claim.Status.LIVE)
    return set(mine.order_by().values_list("task__prompt", flat=True))


def _history(request: HttpRequest, kind: type[Label], label_id: int) -> list[dict[str, Any]]:
    label, membership = find(request, kind.objects.all(), label_id, "prompt__project")
    if label.annotator_id != membership.user_id and not may(membership, ENGINEERS):
        raise PermissionDenied("Who made a label may read its history, and engineers and owners.")
    return [row | {"by": row["by"].username} for row in history(label)]


def _uses(request: HttpRequest, kind: type[Label], label_id: int) -> UsesOut:
    label, _ = find(request, kind.objects.all(), label_id, "prompt__project", ENGINEERS)
    return UsesOut(
        datasets=[ArtifactOut.of(found) for found in datasets_using(label)],
        models=[ArtifactOut.of(found) for found in models_using(label)],
    )


def _withdraw(request: HttpRequest, kind: type[Label], label_id: int, reason: str) -> Any:
    label, membership = find(request, kind.objects.select_related("annotator"), label_id, "prompt__project")
    if not withdraw.may_withdraw(membership, label):
        raise PermissionDenied("Who made a label may take it back, and engineers and owners.")
    withdraw.withdraw(label, request.user, reason)
    return 204, None
