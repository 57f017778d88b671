"""What a project asks of its judges: read by those who work, changed by leads."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from ninja import Router

from annotation.api.auth import MANAGE, READ_OR_WORK, member
from annotation.api.schemas.instrument import InstrumentOut, InstrumentPatch
from annotation.api.schemas.shared import REFUSED, Text
from annotation.instrument import instrument_of
from annotation.instrument_changes import change_instrument
from studio.access import ENGINEERS

router = Router(tags=["projects"])


@router.get("/projects/{slug}/instrument", auth=READ_OR_WORK, response={200: InstrumentOut, **REFUSED})
def read_instrument(request: HttpRequest, slug: Text) -> Any:
    """Which parts of an answer are asked for, and which must be there."""
    return instrument_of(member(request, slug).project)


@router.patch("/projects/{slug}/instrument", auth=MANAGE, response={200: InstrumentOut, **REFUSED})
def patch_instrument(request: HttpRequest, slug: Text, body: InstrumentPatch) -> Any:
    """Change what is asked for, from the next task on that anybody opens; settings that are left out stay."""
    project = member(request, slug, ENGINEERS).project
    return change_instrument(project, request.user, body.dict(exclude_unset=True))
