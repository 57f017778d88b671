"""Comparisons and demonstrations: one's own for everybody, the project's for engineers; in pages that follow ids."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest
from ninja import Query, Router

from annotation import withdraw
from annotation.api.auth import READ_OR_WORK, member, scoped
from annotation.api.schemas import (
    REFUSED,
    ComparisonOut,
    ComparisonPage,
    DemonstrationOut,
    DemonstrationPage,
    ReasonIn,
    Text,
)
from annotation.models import Claim, Comparison, Demonstration
from studio.access import ENGINEERS, may
from studio.models import Membership, Scope

router = Router(tags=["labels"])
WITHDRAW = scoped(Scope.ANNOTATE, Scope.MANAGE)
Label = Comparison | Demonstration


@router.get("/projects/{slug}/comparisons", auth=READ_OR_WORK, response={200: ComparisonPage, **REFUSED})
def list_comparisons(
    request: HttpRequest,
    slug: Text,
    after: int = Query(0, ge=0, le=2**62, description="The `next` of the page before."),
    limit: int = Query(100, ge=1, le=1000),
    mine: bool = Query(False, description="Only your own; annotators and SMEs get no others."),
) -> Any:
    """Rankings, oldest first. Which model wrote an answer is told to engineers, except on what they are judging."""
    membership = member(request, slug)
    found = _page(Comparison.objects.filter(prompt__project=membership.project), membership, mine, after, limit)
    found = list(found.prefetch_related("completions").select_related("guideline", "annotator"))
    blind = _blind_prompts(membership)
    items = [
        ComparisonOut.of(label, tells_models=may(membership, ENGINEERS) and label.prompt_id not in blind)
        for label in found
    ]
    return {"items": items, "next": found[-1].pk if len(found) == limit else None}


@router.get("/projects/{slug}/demonstrations", auth=READ_OR_WORK, response={200: DemonstrationPage, **REFUSED})
def list_demonstrations(
    request: HttpRequest,
    slug: Text,
    after: int = Query(0, ge=0, le=2**62, description="The `next` of the page before."),
    limit: int = Query(100, ge=1, le=1000),
    mine: bool = Query(False, description="Only your own; annotators and SMEs get no others."),
) -> Any:
    """Demonstrations, oldest first."""
    membership = member(request, slug)
    found = _page(Demonstration.objects.filter(prompt__project=membership.project), membership, mine, after, limit)
    found = list(found.select_related("completion", "guideline", "annotator"))
    return {
        "items": [DemonstrationOut.of(label) for label in found],
        "next": found[-1].pk if len(found) == limit else None,
    }


@router.post("/comparisons/{label_id}/withdraw", auth=WITHDRAW, response={204: None, **REFUSED})
def withdraw_comparison(request: HttpRequest, label_id: int, body: ReasonIn) -> Any:
    """Take a ranking back: it stays, and leaves every dataset that is frozen from now on."""
    return _withdraw(request, Comparison, label_id, body.reason)


@router.post("/demonstrations/{label_id}/withdraw", auth=WITHDRAW, response={204: None, **REFUSED})
def withdraw_demonstration(request: HttpRequest, label_id: int, body: ReasonIn) -> Any:
    """Take a demonstration back: it stays, and leaves every dataset that is frozen from now on."""
    return _withdraw(request, Demonstration, label_id, body.reason)


def _page(labels: QuerySet[Any], membership: Membership, mine: bool, after: int, limit: int) -> QuerySet[Any]:
    if mine or not may(membership, ENGINEERS):
        labels = labels.filter(annotator=membership.user_id)
    return labels.filter(pk__gt=after).order_by("pk")[:limit]


def _blind_prompts(membership: Membership) -> set[int]:
    mine = Claim.objects.filter(annotator=membership.user_id, status=Claim.Status.LIVE)
    return set(mine.order_by().values_list("task__prompt", flat=True))


def _withdraw(request: HttpRequest, kind: type[Label], label_id: int, reason: str) -> Any:
    found = kind.objects.select_related("prompt__project")
    label = found.filter(pk=label_id, prompt__project__members=request.user).first()
    if label is None:
        raise Http404("There is no such label, or you are not a member of its project.")
    membership = member(request, label.prompt.project)
    if not withdraw.may_withdraw(membership, label):
        raise PermissionDenied("Who made a label may take it back, and engineers and owners.")
    withdraw.withdraw(label, request.user, reason)
    return 204, None
