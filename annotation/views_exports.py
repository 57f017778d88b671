"""Exports: frozen datasets in other tools' formats, and every label as it was given; streamed."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET

from annotation.exports.datasets import FORMATS, export_dataset, exportable, formats_for, splits_of
from annotation.exports.labels import export_labels
from annotation.forms_exports import ChooseDatasetForm, DownloadForm, LabelsForm
from annotation.models import Split
from studio.access import ENGINEERS, member_required
from studio.models import Project
from studio.runs.models import Artifact
from studio.web.downloads import download

RECENT = 12


@require_GET
@member_required(*ENGINEERS)
def exports(request: HttpRequest, project: Project) -> HttpResponse:
    """The formats of the dataset in the address (`?dataset=12`), or of the newest."""
    datasets = exportable(project)
    form = ChooseDatasetForm(datasets, request.GET if "dataset" in request.GET else None)
    valid = not form.is_bound or form.is_valid()
    chosen = form.cleaned_data["dataset"] if form.is_bound and valid else next(iter(datasets), None)
    if chosen is not None and not form.is_bound:
        form = ChooseDatasetForm(datasets, initial={"dataset": chosen.pk})
    recent = project.journal.filter(act="exported").select_related("actor")[:RECENT]
    context = {
        "project": project, "form": form, "chosen": chosen, "formats": _formats(chosen) if chosen else [],
        "labels_form": LabelsForm(), "recent": [{"entry": e, "what": _what(e.detail)} for e in recent],
    }  # fmt: skip
    return render(request, "annotation/exports.html", context, status=200 if valid else 422)


def _formats(artifact: Artifact) -> list[dict[str, Any]]:
    splits = [(split, Split(split).label) for split in splits_of(artifact)]
    return [{"format": f, "splits": splits if f.by_split else []} for f in formats_for(artifact)] if splits else []


def _what(detail: dict[str, Any]) -> str:
    if detail.get("format") == "labels":
        return "Every label" + (", by pseudonym" if detail.get("pseudonyms") else "")
    made = FORMATS.get(detail.get("format", ""))
    return f"“{detail.get('dataset')}” as {made.title if made else detail.get('format')}"


@require_GET
@member_required(*ENGINEERS)
def export_artifact(request: HttpRequest, project: Project, artifact_id: int, format: str) -> HttpResponse:
    artifact = get_object_or_404(Artifact, project=project, pk=artifact_id)
    form = DownloadForm(request.GET)
    try:
        if not form.is_valid():
            raise ValueError("There is no such split: choose train or test.")
        export = export_dataset(artifact, format, request.user, form.cleaned_data["split"])
    except ValueError as error:
        messages.error(request, str(error))
        return redirect("annotation:exports", project.slug)
    return download(export.chunks, export.filename, export.content_type)


@require_GET
@member_required(*ENGINEERS)
def export_all_labels(request: HttpRequest, project: Project) -> HttpResponse:
    form = LabelsForm(request.GET)
    form.is_valid()  # two boxes: whatever was sent is one or none
    export = export_labels(project, request.user, **form.cleaned_data)
    return download(export.chunks, export.filename, export.content_type)
