"""Imports: the list, a new file, its preview, its progress, and its undoing."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from annotation.forms_imports import ImportForm, NewImportForm
from annotation.imports import batches, stage, undo
from annotation.imports.batches import AlreadyImported
from annotation.imports.formats import FORMATS
from annotation.imports.items import Item
from annotation.models import ImportBatch
from studio.access import ENGINEERS, member_required
from studio.models import Project
from studio.runs.uploads import BoundedUpload, bounded_upload
from studio.web.templatetags.studio import filesize

PAGE = 25
Status = ImportBatch.Status
LIVE = (Status.WAITING, Status.STAGING, Status.UNDOING)
COUNTED = (("prompts", "prompt"), ("demonstrations", "demonstration"), ("comparisons", "comparison"))


def _find(project: Project, batch_id: int) -> ImportBatch:
    return get_object_or_404(_all(project), pk=batch_id)


def _all(project: Project) -> QuerySet[ImportBatch]:
    """The project's imports; a vendor's return has pages of its own."""
    return ImportBatch.objects.filter(project=project).exclude(format=batches.VENDOR).select_related("created_by")


@require_GET
@member_required(*ENGINEERS)
def imports(request: HttpRequest, project: Project) -> HttpResponse:
    page = Paginator(_all(project), PAGE).get_page(request.GET.get("page"))
    rows = [_facts(batch) for batch in page]
    context = {"project": project, "page": page, "rows": rows, "live": any(b.status in LIVE for b in page)}
    return render(request, "annotation/_imports.html" if request.htmx else "annotation/imports.html", context)


def _facts(batch: ImportBatch) -> dict[str, Any]:
    """What the pages say of a batch: its format in words, what it added and what was known."""
    format = FORMATS.get(batch.format)
    return {
        "batch": batch,
        "format": format.title if format else batch.format,
        "added": [(batch.counts[name], word) for name, word in COUNTED if batch.counts.get(name)],
        "known": [(batch.counts[f"{name}_known"], word) for name, word in COUNTED if batch.counts.get(f"{name}_known")],
        "skipped": batch.counts.get("skipped", 0),
        "live": batch.status in LIVE,
    }


@require_http_methods(["GET", "POST"])
@member_required(*ENGINEERS)
@bounded_upload
def new_import(request: HttpRequest, project: Project, bounded: BoundedUpload) -> HttpResponse:
    form = NewImportForm(request.POST, request.FILES) if request.method == "POST" else NewImportForm()
    if bounded.exceeded:
        form.errors.clear()
        form.add_error("file", f"The file is larger than {filesize(bounded.limit)}: split it, or put it on the server.")
    elif request.method == "POST" and form.is_valid():
        try:
            batch = _keep(project, request, form.cleaned_data)
        except AlreadyImported as error:
            messages.warning(request, str(error))
            return redirect("annotation:import", project.slug, error.batch.pk)
        except ValueError as error:
            form.add_error("file" if form.cleaned_data["file"] else "path", str(error))
        else:
            return redirect("annotation:import", project.slug, batch.pk)
    context = {"project": project, "form": form, "formats": FORMATS.values()}
    return render(request, "annotation/new_import.html", context, status=422 if form.errors else 200)


def _keep(project: Project, request: HttpRequest, data: dict[str, Any]) -> ImportBatch:
    if data["file"]:
        return batches.keep_upload(project, request.user, data["file"].name or "", data["file"].chunks())
    return batches.take_path(project, request.user, data["path"])


@require_GET
@member_required(*ENGINEERS)
def import_prompts(request: HttpRequest, project: Project) -> HttpResponse:
    """Where prompts alone were imported once."""
    return redirect("annotation:new-import", project.slug, permanent=True)


@require_http_methods(["GET", "POST"])
@member_required(*ENGINEERS)
def one_import(request: HttpRequest, project: Project, batch_id: int) -> HttpResponse:
    """The preview with its form until the import is confirmed, then how it goes."""
    batch = _find(project, batch_id)
    if batch.status == Status.PREVIEW:
        return _preview(request, project, batch)
    if request.method == "POST":
        messages.error(request, "This import has been confirmed already.")
        return redirect("annotation:import", project.slug, batch.pk)
    context = {"project": project, **_facts(batch)}
    return render(request, "annotation/_import.html" if request.htmx else "annotation/import.html", context)


def _preview(request: HttpRequest, project: Project, batch: ImportBatch) -> HttpResponse:
    try:
        seen = batches.preview(batch)
    except ValueError as error:
        seen = None
        messages.error(request, str(error))
    form = ImportForm(request.POST or None, batch=batch, columns=seen.columns if seen else [])
    if request.method == "POST" and seen and form.is_valid():
        data = form.cleaned_data
        try:
            batches.choose(batch, data.pop("format"), **data)
            if request.POST.get("act") == "import":
                batches.confirm(batch)
        except ValueError as error:
            messages.error(request, str(error))
        return redirect("annotation:import", project.slug, batch.pk)
    items = [_shown(number, item) for number, item in seen.items] if seen else []
    context = {"project": project, **_facts(batch), "form": form, "seen": seen, "items": items}
    return render(request, "annotation/import_preview.html", context, status=422 if form.errors else 200)


def _shown(number: int, item: Item) -> dict[str, Any]:
    place = {index: rank for rank, tier in enumerate(item.tiers, 1) for index in tier}
    answers = [
        {"letter": chr(ord("A") + index), "text": answer.text, "model": answer.model, "place": place.get(index)}
        for index, answer in enumerate(item.answers)
    ]
    names = ("kind", "messages", "cluster", "split", "annotator", "rationale", "reasoning")
    return {"number": number, "answers": answers, **{name: getattr(item, name) for name in names}}


@require_POST
@member_required(*ENGINEERS)
def cancel_import(request: HttpRequest, project: Project, batch_id: int) -> HttpResponse:
    batch = _find(project, batch_id)
    try:
        if batch.status in (Status.PREVIEW, Status.WAITING):
            batches.discard(batch)
        else:
            stage.cancel(batch)
    except ValueError as error:
        messages.error(request, str(error))
        return redirect("annotation:import", project.slug, batch.pk)
    messages.success(request, f"“{batch.name}” is not imported: nothing of it remains.")
    return redirect("annotation:imports", project.slug)


@require_POST
@member_required(*ENGINEERS)
def undo_import(request: HttpRequest, project: Project, batch_id: int) -> HttpResponse:
    batch = _find(project, batch_id)
    try:
        undo.undo(batch, request.user)
    except ValueError as error:
        messages.error(request, str(error))
    else:
        messages.success(request, f"What “{batch.name}” brought is gone from all pages, and is being deleted.")
    return redirect("annotation:import", project.slug, batch.pk)
