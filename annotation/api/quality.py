"""How far people agree, for engineers."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from ninja import Query, Router

from annotation.agreement import agreement_of
from annotation.api.auth import READ, member
from annotation.api.schemas.shared import REFUSED, Text
from studio.access import ENGINEERS

router = Router(tags=["quality"])


@router.get("/projects/{slug}/agreement", auth=READ, response={200: dict[str, Any], **REFUSED})
def read_agreement(
    request: HttpRequest,
    slug: Text,
    queue: int | None = Query(None, ge=1, le=2**62, description="Of this queue only."),
    days: int | None = Query(None, description="Of the last so many days only."),
) -> Any:
    """Krippendorff's alpha, Cohen's kappa, Kendall's tau and plain agreement, each with its interval and n.

    Over all, and by task cluster, queue, guideline version, annotator, pair of annotators, period and prompt.
    """
    return agreement_of(member(request, slug, ENGINEERS).project, queue=queue, days=days).as_dict()
