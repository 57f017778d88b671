"""Projects, their guideline and their prompts."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import PermissionDenied
from django.db.models import OuterRef, Subquery
from django.http import Http404, HttpRequest
from ninja import Query, Router

from annotation.api.auth import IMPORT, READ_OR_WORK, member
from annotation.api.schemas.projects import ProjectOut, PromptPage, PromptsImported, PromptsIn
from annotation.api.schemas.shared import REFUSED, Text
from annotation.models import Prompt
from annotation.prompts import import_prompts
from studio.access import ENGINEERS, EXPERTS
from studio.models import Guideline, Membership

router = Router(tags=["projects"])


@router.get("/projects", auth=READ_OR_WORK, response={200: list[ProjectOut], **REFUSED})
def list_projects(request: HttpRequest) -> Any:
    """The projects that you are a member of, with your role."""
    newest = Guideline.objects.filter(project=OuterRef("project")).order_by("-version").values("version")[:1]
    memberships = Membership.objects.filter(user=request.user).select_related("project").order_by("project__name")
    return [
        ProjectOut(
            slug=m.project.slug,
            name=m.project.name,
            description=m.project.description,
            role=m.role,
            guideline_version=m.guideline_version,
        )
        for m in memberships.annotate(guideline_version=Subquery(newest))
    ]


@router.get("/projects/{slug}/guideline", auth=READ_OR_WORK, response={200: dict[str, Any], **REFUSED})
def read_guideline(request: HttpRequest, slug: Text) -> Any:
    """The guideline in force, in Markdown."""
    guideline = member(request, slug).project.guideline
    if guideline is None:
        raise Http404("This project has no guideline yet.")
    return {"version": guideline.version, "text": guideline.text}


@router.get("/projects/{slug}/prompts", response={200: PromptPage, **REFUSED}, tags=["prompts"])
def list_prompts(
    request: HttpRequest,
    slug: Text,
    limit: int = Query(100, ge=1, le=1000),
    offset: int = Query(0, ge=0, le=10_000_000),
    split: Text = "",
    cluster: Text = "",
) -> Any:
    """The project's prompts in the order they came."""
    membership = member(request, slug)
    told = membership.role in EXPERTS
    found = Prompt.objects.filter(project=membership.project)
    if split:
        if not told:
            raise PermissionDenied("Which prompts are held out is not told to annotators.")
        found = found.filter(split=split)
    if cluster:
        found = found.filter(cluster=cluster)
    items = list(found[offset : offset + limit])
    if not told:
        for prompt in items:  # not saved
            prompt.reference = prompt.split = None
    return {"count": found.count(), "items": items}


@router.post("/projects/{slug}/prompts", auth=IMPORT, response={201: PromptsImported, **REFUSED}, tags=["prompts"])
def add_prompts(request: HttpRequest, slug: Text, body: PromptsIn) -> Any:
    """Add prompts, all or none; those that are there already are counted as known."""
    project = member(request, slug, ENGINEERS).project
    done = import_prompts(project, body.prompts, request.user, source=body.source, test_fraction=body.test_fraction)
    return 201, {"created": done.created, "known": done.known, "ids": [p.pk for p in done.prompts]}
