"""Failure classes and their examples."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Count, Q
from django.http import Http404, HttpRequest
from ninja import Query, Router

from annotation import failure_labels, failures, merging, withdraw
from annotation.api.auth import MANAGE, READ_OR_WORK, WORK, WORK_OR_MANAGE, find, member, named
from annotation.api.queues import find_member
from annotation.api.schemas.failures import (
    ExamplePage,
    FailureClassDetail,
    FailureClassIn,
    FailureClassOut,
    FailureClassPage,
    FailureClassPatch,
    FailureExampleIn,
    FailureExampleOut,
    FailureStatusIn,
    FailureStatusOut,
    FiledExampleOut,
    MadeLabelOut,
    MergeIn,
    MergeOut,
    UndoneMergeOut,
)
from annotation.api.schemas.shared import REFUSED, PageIn, ReasonIn, Text
from annotation.api.work import find_claim
from annotation.models import Completion, FailureClass, FailureExample, FailureMerge
from studio.access import ENGINEERS, EXPERTS
from studio.models import Membership, Project, Role

router = Router(tags=["failures"])


@router.get("/projects/{slug}/failure-classes", response={200: FailureClassPage, **REFUSED})
def list_failure_classes(request: HttpRequest, slug: Text, page: Query[PageIn]) -> Any:
    """The failure classes of the project with the number of their examples, in the order of their ids."""
    found = FailureClass.objects.filter(project=member(request, slug).project)
    standing = Q(examples__withdrawn_at=None)
    classes, after = page.cut(found.annotate(examples_standing=Count("examples", filter=standing)))
    return {"items": [FailureClassOut.of(each, each.examples_standing) for each in classes], "next": after}


@router.post("/projects/{slug}/failure-classes", auth=WORK, response={201: FailureClassOut, **REFUSED})
def add_failure_class(request: HttpRequest, slug: Text, body: FailureClassIn) -> Any:
    """A new failure class. For SMEs and engineers."""
    project = member(request, slug, EXPERTS).project
    made = failures.add_class(project, body.name, request.user, description=body.description, severity=body.severity)
    return 201, FailureClassOut.of(made, 0)


@router.get("/failure-classes/{class_id}", auth=READ_OR_WORK, response={200: FailureClassDetail, **REFUSED})
def show_failure_class(request: HttpRequest, class_id: int) -> Any:
    """A failure class with how models fare on it and what was merged. For SMEs and engineers."""
    return _detail(find_class(request, class_id)[0])


@router.patch("/failure-classes/{class_id}", auth=WORK, response={200: FailureClassDetail, **REFUSED})
def change_failure_class(request: HttpRequest, class_id: int, body: FailureClassPatch) -> Any:
    """Change the fields that are given; what they said before stays in the journal. For SMEs and engineers."""
    found, _ = find_class(request, class_id)
    given = body.dict(exclude_unset=True)
    if body.owner is not None:
        given["owner"] = find_member(found.project, body.owner)
    with transaction.atomic():  # what is left out stays what it is by now, whoever else changes the class
        now = FailureClass.objects.select_for_update(of=("self",)).select_related("owner").get(pk=found.pk)
        failures.edit_class(now, request.user, **{name: getattr(now, name) for name in failures.EDITABLE} | given)
    return _detail(find_class(request, class_id)[0])


@router.post("/failure-classes/{class_id}/statuses", auth=MANAGE, response={201: FailureStatusOut, **REFUSED})
def set_failure_status(request: HttpRequest, class_id: int, body: FailureStatusIn) -> Any:
    """Say how a model fares on the class from now on; earlier states stay as its history. For engineers."""
    found, _ = find_class(request, class_id, ENGINEERS)
    model = named(found.project.artifacts, body.model, "model")
    return 201, FailureStatusOut.of(failures.set_status(found, model, body.state, request.user, note=body.note))


@router.post("/failure-classes/{class_id}/merge", auth=WORK_OR_MANAGE, response={201: MergeOut, **REFUSED})
def merge_failure_class(request: HttpRequest, class_id: int, body: MergeIn) -> Any:
    """Merge a class into another that means the same. For engineers and whoever owns it."""
    found, membership = find_class(request, class_id)
    _check_may_curate(membership, found)
    target = named(found.project.failure_classes, body.into, "failure class")
    return 201, MergeOut.of(merging.merge(found, target, request.user, reason=body.reason))


@router.post("/failure-merges/{merge_id}/undo", auth=WORK_OR_MANAGE, response={200: UndoneMergeOut, **REFUSED})
def undo_failure_merge(request: HttpRequest, merge_id: int) -> Any:
    """Make the merged class one of its own again, with its examples. For engineers and whoever owns it."""
    merges = FailureMerge.objects.select_related("target")
    done, membership = find(request, merges, merge_id, "source__project", EXPERTS)
    _check_may_curate(membership, done.source)
    return {"examples": merging.undo_merge(done, request.user)}


@router.get("/failure-classes/{class_id}/examples", auth=READ_OR_WORK, response={200: ExamplePage, **REFUSED})
def list_failure_examples(request: HttpRequest, class_id: int, page: Query[PageIn]) -> Any:
    """The examples of a class, oldest first, without the models that wrote the answers. For SMEs and engineers."""
    found, _ = find_class(request, class_id)
    examples, after = page.cut(found.examples.select_related("completion", "author"))
    return {"items": [FiledExampleOut.of(example) for example in examples], "next": after}


@router.post("/failure-classes/{class_id}/examples", auth=WORK, response={201: FailureExampleOut, **REFUSED})
def add_failure_example(request: HttpRequest, class_id: int, body: FailureExampleIn) -> Any:
    """File a failing completion under a class, with what it should have said. For SMEs and engineers."""
    found, _ = find_class(request, class_id)
    completion = find_failing_completion(request, found.project, body)
    made = failures.add_example(found, completion, request.user, correction=body.correction, reasoning=body.reasoning)
    return 201, {"id": made.pk, "failure_class": made.failure_class_id}


@router.post("/failure-examples/{example_id}/withdraw", auth=WORK_OR_MANAGE, response={204: None, **REFUSED})
def withdraw_failure_example(request: HttpRequest, example_id: int, body: ReasonIn) -> Any:
    """Take an example back: your own, or for engineers any; it stays on record."""
    found, membership = find_example(request, example_id)
    if not withdraw.may_withdraw(membership, found):
        raise PermissionDenied("Who filed an example may take it back, and engineers and owners.")
    withdraw.withdraw(found, request.user, body.reason)
    return 204, None


@router.post("/failure-examples/{example_id}/demonstration", auth=WORK, response={201: MadeLabelOut, **REFUSED})
def make_demonstration(request: HttpRequest, example_id: int) -> Any:
    """Make the correction a demonstration by who filed it, once. For SMEs and engineers."""
    return 201, {"label": failure_labels.demonstration_from(find_example(request, example_id)[0], request.user).pk}


@router.post("/failure-examples/{example_id}/comparison", auth=WORK, response={201: MadeLabelOut, **REFUSED})
def make_comparison(request: HttpRequest, example_id: int) -> Any:
    """Make a ranking of it, the correction above the failing answer, once. For SMEs and engineers."""
    return 201, {"label": failure_labels.comparison_from(find_example(request, example_id)[0], request.user).pk}


def find_example(request: HttpRequest, example_id: int) -> tuple[FailureExample, Membership]:
    examples = FailureExample.objects.select_related("prompt")
    return find(request, examples, example_id, "failure_class__project", EXPERTS)


def find_class(
    request: HttpRequest, class_id: int, roles: tuple[Role, ...] = EXPERTS
) -> tuple[FailureClass, Membership]:
    return find(request, FailureClass.objects.select_related("owner", "merged_into"), class_id, roles=roles)


def _check_may_curate(membership: Membership, failure_class: FailureClass) -> None:
    if not failures.may_curate(membership, failure_class):
        raise PermissionDenied("This is for engineers and owners of the project, and for whoever owns the class.")


def _detail(found: FailureClass) -> FailureClassDetail:
    statuses = sorted(failures.statuses([found]).values(), key=lambda status: -status.model_id)
    merges = FailureMerge.objects.filter(Q(source=found) | Q(target=found))
    return FailureClassDetail.of(found, statuses, list(merges))


def find_failing_completion(request: HttpRequest, project: Project, body: FailureExampleIn) -> Completion:
    if body.claim is not None and body.answer is not None:
        letters = find_claim(request, body.claim).letters
        if body.answer not in letters:
            raise ValueError(f"There is no answer '{body.answer}': they are called {', '.join(letters)}.")
        wanted = letters[body.answer]
        among = Completion.objects.filter(prompt__project=project).select_related("prompt")
    elif body.completion is not None:
        wanted, among = body.completion, failures.fileable(project, request.user)
    else:
        raise ValueError("Name the completion: by 'claim' and 'answer' (its letter), or by 'completion' (its id).")
    found = among.filter(pk=wanted).first()
    if found is None:
        raise Http404("There is no such completion in this project.")
    return found
