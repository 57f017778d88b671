"""Prompts: the list, one with all that was answered and judged, and the work that is queued from them."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_http_methods

from annotation import tasks
from annotation.blindness import hides_models
from annotation.forms import (
    PromptFilterForm,
    QueueDemonstrationsForm,
    QueueRankingsForm,
    matching_prompts,
)
from annotation.models import Comparison, Demonstration, Kind, Prompt
from annotation.views_labels import in_letters
from studio.access import ENGINEERS, EXPERTS, may, member_required
from studio.models import Project

PAGE = 30
SHOWN = 50  # answers and judgements of one prompt


@require_GET
@member_required(*EXPERTS)
def prompts(request: HttpRequest, project: Project) -> HttpResponse:
    form = PromptFilterForm(request.GET, project=project)
    page = Paginator(form.prompts().order_by("-id"), PAGE).get_page(request.GET.get("page"))
    page.object_list = _with_counts(page.object_list)
    context = {
        "project": project,
        "page": page,
        "form": form,
        "filtered": any(form.cleaned_data.values()),
        "may_edit": may(request.membership, ENGINEERS),
    }
    return render(request, "annotation/prompts.html", context)


def _with_counts(shown: Any) -> list[Prompt]:
    """The prompts of one page with how much there is to each: three queries."""
    ids = [prompt.pk for prompt in shown]
    by_models = Count("completions", filter=Q(completions__model__isnull=False))
    found = {prompt.pk: prompt for prompt in Prompt.objects.filter(pk__in=ids).annotate(answers=by_models)}
    for name, label in (("demonstrations", Demonstration), ("comparisons", Comparison)):
        standing = label.objects.filter(prompt__in=ids, withdrawn_at=None, surplus=False).order_by()
        counts = dict(standing.values_list("prompt").annotate(n=Count("pk")))
        for prompt in found.values():
            setattr(prompt, f"{name}_count", counts.get(prompt.pk, 0))
    return [found[pk] for pk in ids]


@require_GET
@member_required(*EXPERTS)
def prompt(request: HttpRequest, project: Project, prompt_id: int) -> HttpResponse:
    found = get_object_or_404(Prompt.objects.select_related("created_by"), pk=prompt_id, project=project)
    comparisons = list(found.comparisons.select_related("annotator", "review", "task")[:SHOWN])
    for comparison in comparisons:
        comparison.words = in_letters(comparison)
    blind = hides_models(request.membership, found)
    context = {
        "project": project,
        "prompt": found,
        "answers": list(found.completions.exclude(model=None, author__isnull=False).select_related("model")[:SHOWN]),
        "demonstrations": list(found.demonstrations.select_related("annotator", "completion")[:SHOWN]),
        "comparisons": [] if blind else comparisons,
        "hidden": len(comparisons) if blind else 0,
        "blind": blind,
        "reference": _as_text(found.reference),
        "shown": SHOWN,
        "may_edit": may(request.membership, ENGINEERS),
    }
    return render(request, "annotation/prompt.html", context)


def _as_text(reference: dict[str, Any]) -> list[tuple[str, str]]:
    shown = {name: value if isinstance(value, list) else [value] for name, value in reference.items()}
    return [(name, ", ".join(map(str, values))) for name, values in shown.items()]


@require_http_methods(["GET", "POST"])
@member_required(*ENGINEERS)
def queue_work(request: HttpRequest, project: Project) -> HttpResponse:
    """Two forms, `kind` says which: demonstrations of prompts, or rankings of what a run has sampled."""
    kind = request.POST.get("kind") or request.GET.get("kind") or Kind.DEMONSTRATE
    is_ranking = kind == Kind.RANK
    form_class = QueueRankingsForm if is_ranking else QueueDemonstrationsForm
    given = {name: value for name, value in request.GET.items() if name in form_class.base_fields}
    form = form_class(request.POST or None, project=project, initial=given)
    if request.method == "POST" and form.is_valid():
        try:
            made = (_queue_rankings if is_ranking else _queue_demonstrations)(project, form)
        except ValueError as error:
            form.add_error(None, str(error))
        else:
            messages.success(request, f"{len(made):,} task{'' if len(made) == 1 else 's'} queued.")
            return redirect("annotation:queue-tasks", project.slug, made[0].queue_id)
    context = {"project": project, "form": form, "is_ranking": is_ranking}
    return render(request, "annotation/queue_work.html", context, status=422 if form.errors else 200)


def _queue_demonstrations(project: Project, form: QueueDemonstrationsForm) -> list[Any]:
    data = form.cleaned_data
    chosen = matching_prompts(project, data).order_by("id")
    if data["fresh"]:
        asked = Q(tasks__queue__kind=Kind.DEMONSTRATE) & ~Q(tasks__status="withdrawn")
        done = Q(demonstrations__withdrawn_at=None, demonstrations__isnull=False)
        chosen = chosen.exclude(pk__in=Prompt.objects.filter(asked | done, project=project).values("pk"))
    found = list(chosen[: data["limit"]])
    if not found:
        raise ValueError("No prompt is left under these conditions: widen them, or import prompts.")
    work = data["queue"] or tasks.find_queue(project, Kind.DEMONSTRATE)
    return tasks.add_demonstration_tasks(work, found, **form.shared())


def _queue_rankings(project: Project, form: QueueRankingsForm) -> list[Any]:
    data = form.cleaned_data
    answers = tasks.completions_of(data["artifact"])
    if data["model"]:
        answers = answers.filter(model=data["model"])
    if data["temperature"] is not None:
        answers = answers.filter(sampling__temperature=data["temperature"])
    return tasks.add_ranking_tasks(
        data["queue"] or tasks.find_queue(project, Kind.RANK),
        answers,
        answers=data["answers"],
        per_prompt=data["per_prompt"],
        split=data["split"] or None,
        **form.shared(),
    )
