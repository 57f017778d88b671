"""Artifacts: the list, one artifact with its content and its uses, its files, and the upload of data."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from studio.access import ENGINEERS, EXPERTS, may, member_required
from studio.models import Project
from studio.policy import set_policy
from studio.runs import registry
from studio.runs.artifact_files import LISTED, find_file, list_files
from studio.runs.contract import Recipe
from studio.runs.forms import UploadForm
from studio.runs.models import Artifact, RunInput
from studio.runs.previews import preview
from studio.runs.uploads import BoundedUpload, UploadError, bounded_upload, create_dataset
from studio.web.templatetags.studio import filesize, number

PAGE = 25
SHOWN_USES = 50
# Shown elsewhere on the page, or long.
METADATA_NOT_LISTED = ("type", "counts", "labels", "name")


@require_GET
@member_required(*EXPERTS)
def artifact_list(request: HttpRequest, project: Project) -> HttpResponse:
    artifacts = Artifact.objects.filter(project=project).select_related("produced_by", "created_by")
    kind = request.GET.get("kind", "")
    if kind in Artifact.Kind.values:
        artifacts = artifacts.filter(kind=kind)
    page = Paginator(artifacts, PAGE).get_page(request.GET.get("page"))
    context = {
        "project": project,
        "page": page,
        "kinds": Artifact.Kind.choices,
        "kind": kind,
        "may_upload": may(request.membership, ENGINEERS),
    }
    return render(request, "runs/artifacts.html", context)


@require_GET
@member_required(*EXPERTS)
def artifact(request: HttpRequest, project: Project, artifact_id: int) -> HttpResponse:
    found = _find(project, artifact_id)
    uses = RunInput.objects.filter(artifact=found).select_related("run").order_by("-run_id")
    sealed = _is_sealed(request, found)
    files = [] if sealed else list_files(found)
    context = {
        "project": project,
        "artifact": found,
        "crumb": f"{found.get_kind_display()} {found.pk}",
        "sealed": sealed,
        "preview": None if sealed else preview(found),
        "metadata": _facts(found.metadata),
        "counts": (found.metadata.get("counts") or {}).items(),
        "files": files,
        "files_listed": LISTED if len(files) == LISTED else 0,
        "uses": uses[:SHOWN_USES],
        "takers": _takers(found) if may(request.membership, ENGINEERS) else [],
        "is_policy": project.policy_id == found.pk,
        "choices": found.chosen_as_policy.select_related("chosen_by", "round", "replaced")
        if found.kind == Artifact.Kind.MODEL
        else [],
        "may_set_policy": found.kind == Artifact.Kind.MODEL
        and project.policy_id != found.pk
        and may(request.membership, ENGINEERS),
    }
    return render(request, "runs/artifact.html", context)


@require_POST
@member_required(*ENGINEERS)
def make_policy(request: HttpRequest, project: Project, artifact_id: int) -> HttpResponse:
    """`replaces` is the id of the policy that the page showed, empty for none."""
    found = _find(project, artifact_id)
    replaces = request.POST.get("replaces", "")
    try:
        set_policy(project, found, int(replaces) if replaces.isdecimal() and len(replaces) < 18 else None, request.user)
    except ValueError as error:
        messages.error(request, str(error))
    else:
        messages.success(request, f"“{found.name}” is the project's policy now: the next round starts from it.")
    return redirect("runs:artifact", project.slug, found.pk)


def _find(project: Project, artifact_id: int) -> Artifact:
    artifacts = Artifact.objects.select_related("produced_by", "created_by")
    return get_object_or_404(artifacts, pk=artifact_id, project=project)


def _facts(metadata: dict[str, Any]) -> list[tuple[str, Any]]:
    shown = {
        name: "yes" if value is True else number(value) if isinstance(value, int | float) else value
        for name, value in metadata.items()
        if name not in METADATA_NOT_LISTED and isinstance(value, bool | int | float | str) and value not in ("", False)
    }
    return [(name.replace("_", " ").capitalize(), value) for name, value in shown.items()]


def _is_sealed(request: HttpRequest, found: Artifact) -> bool:
    """Completions with their models are for engineers: experts rank such answers without knowing whose they are."""
    return found.kind == Artifact.Kind.COMPLETIONS and not may(request.membership, ENGINEERS)


def _takers(found: Artifact) -> list[tuple[Recipe, str]]:
    """The recipes that can be started from this artifact, with the input role it would take."""
    fitting = []
    for recipe in registry.recipes().values():
        roles = [
            role
            for role, declared in recipe.inputs.items()
            if declared.kind == found.kind and declared.dataset_type in ("", found.dataset_type)
        ]
        if roles:
            fitting.append((recipe, roles[0]))
    return fitting


SEALED = "Completions are shown with their models to engineers only: who ranks answers must not know whose they are."


@require_GET
@member_required(*EXPERTS)
def artifact_file(request: HttpRequest, project: Project, artifact_id: int, name: str) -> HttpResponse:
    """One file, as a download: what was uploaded is never shown as a page of ours."""
    found = get_object_or_404(Artifact, pk=artifact_id, project=project)
    if _is_sealed(request, found):
        raise PermissionDenied(SEALED)
    try:
        path = find_file(found, name)
    except FileNotFoundError as error:
        raise Http404(str(error)) from error
    return FileResponse(
        open(path, "rb"),
        as_attachment=True,
        filename=path.name,
        content_type="application/octet-stream",
    )


@require_http_methods(["GET", "POST"])
@member_required(*ENGINEERS)
@bounded_upload
def upload(request: HttpRequest, project: Project, bounded: BoundedUpload) -> HttpResponse:
    if request.method == "GET":
        return render(request, "runs/upload.html", {"project": project, "form": UploadForm()})
    form = UploadForm(request.POST, request.FILES)
    if bounded.exceeded:
        form.errors.clear()
        limit = f"The upload is larger than {filesize(bounded.limit)}."
        form.add_error("train", f"{limit} Split it, or ask the administrator to raise MAX_UPLOAD_BYTES.")
    elif form.is_valid() and (made := _create(form, request, project)):
        counts = ", ".join(f"{count:,} {split}" for split, count in made.metadata["counts"].items())
        messages.success(request, f"“{made.name}” is ready: {counts}.")
        return redirect("runs:artifact", project.slug, made.pk)
    return render(request, "runs/upload.html", {"project": project, "form": form}, status=422)


def _create(form: UploadForm, request: HttpRequest, project: Project) -> Artifact | None:
    data = form.cleaned_data
    try:
        return create_dataset(
            project,
            request.user,
            data["dataset_type"],
            data["name"],
            **form.sources(),
            licence=data["licence"],
            origin=data["origin"],
            paragraphs=data["text_documents"] == "paragraph",
        )
    except UploadError as error:
        for problem in error.problems:
            form.add_error(None, problem)
        return None
