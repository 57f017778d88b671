"""The journal of a project, for leads: read from the beginning, or on from where a program has got to."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from ninja import Query, Router

from annotation import journal
from annotation.api.auth import READ, member
from annotation.api.schemas.journal import JournalFilter, JournalPage
from annotation.api.schemas.shared import REFUSED, PageIn, Text
from studio.access import ENGINEERS

router = Router(tags=["journal"])


@router.get("/projects/{slug}/journal", auth=READ, response={200: JournalPage, **REFUSED})
def list_journal(request: HttpRequest, slug: Text, page: Query[PageIn], chosen: Query[JournalFilter]) -> Any:
    """Who did what to which label, oldest first; nothing in it is ever changed."""
    project = member(request, slug, ENGINEERS).project
    found, after = page.cut(journal.entries(project, journal.Filter(**chosen.dict())))
    return {"items": [journal.as_row(entry) for entry in found], "next": after}
