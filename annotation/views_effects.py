"""What labels do to a reward model: accuracy on held-out comparisons, and those that it orders differently."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.core.paginator import Page, Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from annotation import effects, scoring
from annotation.forms_trust import AskAgainForm
from annotation.models import Comparison, Repeat
from studio.access import ENGINEERS, member_required
from studio.models import Project
from studio.runs.models import Artifact, Run

PAGE = 20
PARTS = (  # title, its attribute, what the first column holds
    ("By annotator", "by_annotator", "Annotator"),
    ("By slice", "by_slice", "Task cluster"),
    ("By agreement", "by_agreement", "The task's judges"),
    ("By guideline version", "by_guideline", "Guidelines"),
    ("By time", "by_time", "Judged"),
)


@require_GET
@member_required(*ENGINEERS)
def effects_page(request: HttpRequest, project: Project) -> HttpResponse:
    """Of the reward model in the address (`?model=12`), or else of the newest one with scores."""
    models = list(effects.scored_models(project))
    asked = request.GET.get("model", "")
    chosen = next((m for m in models if str(m.pk) == asked), None)
    if asked and chosen is None:
        return _page(request, project, models, None, status=404)
    return _page(
        request, project, models, chosen or next((m for m in models if m.has_scores), next(iter(models), None))
    )


def _page(
    request: HttpRequest,
    project: Project,
    models: list[Artifact],
    chosen: Artifact | None,
    form: AskAgainForm | None = None,
    status: int = 200,
) -> HttpResponse:
    context: dict[str, Any] = {"project": project, "models": models, "chosen": chosen, "form": form or AskAgainForm()}
    if chosen is not None:
        found = effects.effects_of(chosen) if chosen.has_scores else None
        context |= {
            "found": found,
            "missing": scoring.unscored(project, chosen).count(),
            "run": Run.objects.filter(
                project=project, recipe_name="score", status__in=Run.LIVE, inputs__artifact=chosen
            ).first(),
        }
        if found is not None:
            page = Paginator(found.disputed, PAGE).get_page(request.GET.get("page"))
            context |= {
                "parts": [(title, column, getattr(found, name)) for title, name, column in PARTS],
                "page": page,
                "rows": _disputed(chosen, page),
            }
    return render(request, "annotation/effects.html", context, status=status)


def _disputed(reward_model: Artifact, page: Page) -> list[dict[str, Any]]:
    """The page's comparisons with how sure the model is of the opposite, and the task that asks others, if any."""
    ids = [j.pk for j in page]
    comparisons = Comparison.objects.select_related("prompt", "annotator").in_bulk(ids)
    again = dict(Repeat.objects.filter(reward_model=reward_model, comparison__in=ids).values_list("comparison", "task"))
    return [
        {
            "comparison": comparisons[j.pk],
            "margin": j.margin,
            "probability": effects.probability(j.margin),
            "wrong": sum(value < 1 for value in j.outcomes),
            "pairs": len(j.outcomes),
            "task": again.get(j.pk),
        }
        for j in page
        if j.pk in comparisons
    ]


@require_POST
@member_required(*ENGINEERS)
def score(request: HttpRequest, project: Project, artifact_id: int) -> HttpResponse:
    """Queue a run that scores every ranked answer that has no score by this reward model yet."""
    found = _find(project, artifact_id)
    try:
        run = scoring.request_scores(project, found, request.user)
    except ValueError as error:
        messages.error(request, str(error))
        return redirect(_address(project, found))
    messages.success(request, f"Run {run.pk} scores the answers. The figures appear when it has ended.")
    return redirect("runs:detail", project.slug, run.pk)


@require_POST
@member_required(*ENGINEERS)
def ask_again(request: HttpRequest, project: Project, artifact_id: int) -> HttpResponse:
    """Send the most strongly disputed comparisons that were not sent before to other people."""
    found = _find(project, artifact_id)
    form = AskAgainForm(request.POST)
    if not form.is_valid():
        return _page(request, project, list(effects.scored_models(project)), found, form, status=422)
    strongest = effects.strongest(found, form.cleaned_data["count"])
    try:
        tasks = effects.ask_again(found, strongest, request.user, overlap=form.cleaned_data["overlap"])
    except ValueError as error:
        messages.error(request, str(error))
    else:
        plural = "" if len(tasks) == 1 else "s"
        messages.success(
            request, f"{len(tasks)} task{plural} wait{'' if plural else 's'} in “{effects.SECOND_OPINION}”."
        )
    return redirect(f"{_address(project, found)}#disputed")


def _find(project: Project, artifact_id: int) -> Artifact:
    return get_object_or_404(effects.scored_models(project), pk=artifact_id)


def _address(project: Project, reward_model: Artifact) -> str:
    return f"{reverse('annotation:effects', args=[project.slug])}?model={reward_model.pk}"
