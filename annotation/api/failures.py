"""Failure classes and their examples."""

from __future__ import annotations

from typing import Any

from django.db.models import Count
from django.http import Http404, HttpRequest
from ninja import Router

from annotation import failures
from annotation.api.auth import WORK, member
from annotation.api.schemas.failures import FailureClassIn, FailureClassOut, FailureExampleIn, FailureExampleOut
from annotation.api.schemas.shared import REFUSED, Text
from annotation.api.work import find_claim
from annotation.models import Completion, FailureClass
from studio.access import EXPERTS
from studio.models import Project

router = Router(tags=["failures"])


@router.get("/projects/{slug}/failure-classes", response={200: list[FailureClassOut], **REFUSED})
def list_failure_classes(request: HttpRequest, slug: Text) -> Any:
    """The failure classes of the project with the number of their examples."""
    found = FailureClass.objects.filter(project=member(request, slug).project)
    return list(found.values("id", "name", "description", "severity").annotate(examples=Count("examples")))


@router.post("/projects/{slug}/failure-classes", auth=WORK, response={201: FailureClassOut, **REFUSED})
def add_failure_class(request: HttpRequest, slug: Text, body: FailureClassIn) -> Any:
    """A new failure class. For SMEs and engineers."""
    project = member(request, slug, EXPERTS).project
    made = failures.add_class(project, body.name, request.user, description=body.description, severity=body.severity)
    return 201, {
        "id": made.pk, "name": made.name, "description": made.description, "severity": made.severity, "examples": 0,
    }  # fmt: skip


@router.post("/failure-classes/{class_id}/examples", auth=WORK, response={201: FailureExampleOut, **REFUSED})
def add_failure_example(request: HttpRequest, class_id: int, body: FailureExampleIn) -> Any:
    """File a failing completion under a class, with what it should have said. For SMEs and engineers."""
    found = FailureClass.objects.select_related("project").filter(pk=class_id, project__members=request.user).first()
    if found is None:
        raise Http404("There is no such failure class, or you are not a member of its project.")
    member(request, found.project, EXPERTS)
    completion = find_failing_completion(request, found.project, body)
    made = failures.add_example(found, completion, request.user, correction=body.correction, reasoning=body.reasoning)
    return 201, {"id": made.pk, "failure_class": found.pk}


def find_failing_completion(request: HttpRequest, project: Project, body: FailureExampleIn) -> Completion:
    if body.claim is not None and body.answer is not None:
        letters = find_claim(request, body.claim).letters
        if body.answer not in letters:
            raise ValueError(f"There is no answer '{body.answer}': they are called {', '.join(letters)}.")
        wanted = letters[body.answer]
    elif body.completion is not None:
        wanted = body.completion
    else:
        raise ValueError("Name the completion: by 'claim' and 'answer' (its letter), or by 'completion' (its id).")
    found = Completion.objects.select_related("prompt").filter(pk=wanted, prompt__project=project).first()
    if found is None:
        raise Http404("There is no such completion in this project.")
    return found
