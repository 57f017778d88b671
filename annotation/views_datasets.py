"""Datasets frozen from labels: the list, and freezing one."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Count, Exists, OuterRef, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods

from annotation import datasets as freezing
from annotation.forms_datasets import FreezeForm
from annotation.models import Comparison, DatasetItem, Demonstration, Split, Standing
from studio.access import ENGINEERS, member_required
from studio.models import Project, User
from studio.runs.models import Artifact

PAGE = 25


@require_GET
@member_required(*ENGINEERS)
def datasets(request: HttpRequest, project: Project) -> HttpResponse:
    frozen = Exists(DatasetItem.objects.filter(artifact=OuterRef("pk")))
    found = Artifact.objects.filter(frozen, project=project, kind=Artifact.Kind.DATASET).select_related("created_by")
    page = Paginator(found.order_by("-id"), PAGE).get_page(request.GET.get("page"))
    counts = _label_counts(project, [artifact.pk for artifact in page])
    rows = [
        {"artifact": artifact, "rows": sum(artifact.metadata["counts"].values()), **counts[artifact.pk]}
        for artifact in page
    ]
    return render(request, "annotation/datasets.html", {"project": project, "page": page, "rows": rows})


def _label_counts(project: Project, ids: list[int]) -> dict[int, dict[str, int]]:
    """For each artifact how many labels it came from, how many of them were withdrawn since, and of how many others
    the maker took their consent back; one query."""
    gone = Q(demonstration__withdrawn_at__isnull=False) | Q(comparison__withdrawn_at__isnull=False)
    away = Standing.objects.filter(freezing.CONSENT_GONE, project=project).order_by().values("user")
    theirs = ~gone & (Q(demonstration__annotator__in=away) | Q(comparison__annotator__in=away))
    counted = DatasetItem.objects.filter(artifact__in=ids).order_by().values("artifact").annotate(
        labels=Count("demonstration", distinct=True) + Count("comparison", distinct=True),
        withdrawn=Count("demonstration", filter=gone, distinct=True) + Count("comparison", filter=gone, distinct=True),
        without_consent=Count("demonstration", filter=theirs, distinct=True)
        + Count("comparison", filter=theirs, distinct=True),
    )  # fmt: skip
    return {row.pop("artifact"): row for row in counted}


@require_http_methods(["GET", "POST"])
@member_required(*ENGINEERS)
def freeze(request: HttpRequest, project: Project) -> HttpResponse:
    form = FreezeForm(request.POST or None, initial={"kind": request.GET.get("kind", "demonstrations")})
    if request.method == "POST" and form.is_valid():
        try:
            made = _freeze(project, request.user, form.cleaned_data)
        except ValueError as error:
            form.add_error(None, str(error))
        else:
            messages.success(request, f"“{made.name}” is frozen: it will never change.")
            return redirect("runs:artifact", project.slug, made.pk)
    context = {"project": project, "form": form, **_available(project)}
    return render(request, "annotation/freeze.html", context, status=422 if form.errors else 200)


def _freeze(project: Project, user: User, data: dict[str, Any]) -> Artifact:
    if data["kind"] == "prompts":
        return freezing.freeze_prompts(project, user, name=data["name"])
    settings = {"name": data["name"], "test_fraction": data["test_fraction"]}
    if data["kind"] == "demonstrations":
        return freezing.freeze_demonstrations(project, user, **settings)
    settings |= {name: data[name] for name in FreezeForm.COMPARISONS_ONLY}
    return freezing.freeze_comparisons(project, user, **settings)


def _available(project: Project) -> dict[str, int]:
    """What could be frozen now."""
    demonstrations = Demonstration.objects.filter(prompt__project=project)
    comparisons = Comparison.objects.filter(prompt__project=project, review=None)
    prompts = project.prompts.aggregate(all=Count("pk"), held_out=Count("pk", filter=Q(split=Split.TEST)))
    return {
        "demonstrations": freezing.usable(demonstrations).count(),
        "comparisons": freezing.usable(comparisons).count(),
        "no_consent_demonstrations": freezing.without_consent(demonstrations).count(),
        "no_consent_comparisons": freezing.without_consent(comparisons).count(),
        "prompts": prompts["all"],
        "held_out": prompts["held_out"],
    }
