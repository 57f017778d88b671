"""Pages of the reports: the list, and one report comparing its models."""

from __future__ import annotations

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_GET

from evaluation.reports import TYPES, ReportError, project_reports, read_report
from studio.access import ENGINEERS, EXPERTS, may, member_required
from studio.models import Project

PAGE = 25


@require_GET
@member_required(*EXPERTS)
def report_list(request: HttpRequest, project: Project) -> HttpResponse:
    kind = request.GET.get("type", "")
    kind = kind if kind in TYPES else ""
    context = {
        "project": project,
        "page": Paginator(project_reports(project, kind), PAGE).get_page(request.GET.get("page")),
        "types": TYPES.items(),
        "type": kind,
        "may_start": may(request.membership, ENGINEERS),
    }
    return render(request, "evaluation/reports.html", context)


@require_GET
@member_required(*EXPERTS)
def report(request: HttpRequest, project: Project, artifact_id: int) -> HttpResponse:
    """`?model=<name>`, repeated, shows only those models."""
    artifact = get_object_or_404(project_reports(project), pk=artifact_id)
    chosen = request.GET.getlist("model")
    try:
        found, problem = read_report(artifact, chosen), ""
    except ReportError as error:
        found, problem = None, str(error)
    context = {"project": project, "artifact": artifact, "report": found, "problem": problem, "chosen": chosen}
    return render(request, "evaluation/report.html", context)
