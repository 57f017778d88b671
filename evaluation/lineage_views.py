"""Lineage: what an artifact came from and led to, whether its thread holds, and what a label went into."""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_GET, require_POST

from annotation.models import Comparison, Demonstration
from evaluation.lineage import examine
from evaluation.lineage_graph import of_artifact, of_label
from evaluation.lineage_picture import draw
from studio.access import ENGINEERS, EXPERTS, may, member_required
from studio.models import Project
from studio.runs.models import Artifact

CHECKED_BYTES = 2_000_000_000  # hashing them takes some seconds; more belongs into the shell
LABELS = {"demonstration": Demonstration, "comparison": Comparison}


@require_GET
@member_required(*EXPERTS)
def lineage(request: HttpRequest, project: Project, artifact_id: int) -> HttpResponse:
    return render(request, "evaluation/lineage.html", _context(request, project, artifact_id))


def _context(request: HttpRequest, project: Project, artifact_id: int, verify_files: bool = False) -> dict[str, Any]:
    artifact = get_object_or_404(Artifact, pk=artifact_id, project=project)
    found = of_artifact(project, artifact)
    traced = examine(found.ancestry, verify_files)
    return {
        "project": project,
        "artifact": artifact,
        "lineage": found,
        "picture": draw(found),
        "sources": found.sources(),
        "results": found.results(),
        "traced": traced,
        "checked": verify_files,
        "may_check": may(request.membership, ENGINEERS) and traced.bytes <= CHECKED_BYTES,
        "may_act": may(request.membership, ENGINEERS),
    }


@require_POST
@member_required(*ENGINEERS)
def check_files(request: HttpRequest, project: Project, artifact_id: int) -> HttpResponse:
    """Hash the files of everything the artifact came from, unless they are too many for a page."""
    artifact = get_object_or_404(Artifact, pk=artifact_id, project=project)
    ancestry = of_artifact(project, artifact).ancestry
    sizes = Artifact.objects.filter(pk__in=ancestry).values_list("size_bytes", flat=True)
    context = _context(request, project, artifact_id, verify_files=sum(sizes) <= CHECKED_BYTES)
    return render(request, "evaluation/_problems.html" if request.htmx else "evaluation/lineage.html", context)


@require_GET
@member_required(*EXPERTS)
def label_lineage(request: HttpRequest, project: Project, kind: str, label_id: int) -> HttpResponse:
    if kind not in LABELS:
        raise Http404(f"There are no labels of the kind '{kind}'.")
    related = ("prompt", "annotator", *(("completion",) if kind == "demonstration" else ()))
    labels = LABELS[kind].objects.filter(prompt__project=project).select_related(*related)
    label = get_object_or_404(labels, pk=label_id)
    found = of_label(project, label)
    context = {
        "project": project,
        "label": label,
        "kind": kind,
        "lineage": found,
        "picture": draw(found) if found.after else None,
        "results": found.results(),
        "used": [
            ("Datasets", "layers", found.first_results()),
            ("Models", "server", found.of_kind("model", "reward_model", "scorer")),
            ("Reports", "chart", found.of_kind("report")),
        ],
    }
    return render(request, "evaluation/label_lineage.html", context)
