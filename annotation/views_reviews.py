"""Blind side-by-side reviews of models: start one, follow it, read its result down to each judgement."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Count, Prefetch, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from annotation.blindness import hides_result
from annotation.forms import ReviewForm
from annotation.models import Review, Slot
from annotation.progress import progress
from annotation.reviews import Judgement, close_review, judgements, start_review, win_rates
from studio.access import ENGINEERS, EXPERTS, may, member_required
from studio.models import Project
from studio.runs.models import Artifact

PAGE = 25


@require_GET
@member_required(*EXPERTS)
def reviews(request: HttpRequest, project: Project) -> HttpResponse:
    slots = Q(queue__slots__status=Slot.Status.DONE)
    asked = ~Q(queue__slots__status=Slot.Status.WITHDRAWN)
    models = Prefetch("models", Artifact.objects.order_by("id"))
    found = project.reviews.select_related("created_by").prefetch_related(models)
    counted = found.annotate(done=Count("queue__slots", filter=slots), total=Count("queue__slots", filter=asked))
    page = Paginator(counted.order_by("-id"), PAGE).get_page(request.GET.get("page"))
    context = {"project": project, "page": page, "may_start": may(request.membership, ENGINEERS)}
    return render(request, "annotation/reviews.html", context)


@require_http_methods(["GET", "POST"])
@member_required(*ENGINEERS)
def new_review(request: HttpRequest, project: Project) -> HttpResponse:
    form = ReviewForm(request.POST or None, project=project, initial={"models": request.GET.getlist("models")})
    if request.method == "POST" and form.is_valid():
        data = form.cleaned_data
        try:
            made = start_review(
                project, request.user, data["name"], list(data["models"]), overlap=data["overlap"],
                per_prompt=data["per_prompt"],
            )  # fmt: skip
        except ValueError as error:
            form.add_error(None, str(error))
        else:
            messages.success(request, "The review is open. It waits under Annotate.")
            return redirect("annotation:review", project.slug, made.pk)
    context = {"project": project, "form": form, "choices": len(form.fields["models"].choices)}
    return render(request, "annotation/new_review.html", context, status=422 if form.errors else 200)


@require_GET
@member_required(*EXPERTS)
def review(request: HttpRequest, project: Project, review_id: int) -> HttpResponse:
    """Win rates and every judgement; while the review is open, those who may judge in it see its progress alone."""
    found = get_object_or_404(project.reviews.select_related("queue", "round", "created_by"), pk=review_id)
    so_far = progress(found.queue)
    hidden = hides_result(request.membership, found)
    made = [] if hidden else judgements(found)
    page = Paginator(made, PAGE).get_page(request.GET.get("page"))
    context = {
        "project": project,
        "review": found,
        "models": list(found.models.order_by("id")),
        "progress": so_far,
        "total": sum(so_far.values()) - so_far[Slot.Status.WITHDRAWN],
        "hidden": hidden,
        "rates": win_rates(found, made),
        "page": page,
        "rows": [_row(judgement) for judgement in page],
        "people": _people(made),
        "may_close": may(request.membership, ENGINEERS) and found.status == Review.Status.OPEN,
    }
    return render(request, "annotation/review.html", context)


def _row(judgement: Judgement) -> dict[str, Any]:
    """A line of the table: the models in the order of the ranking, equals together."""
    names = [[c.model.name if c.model else "a person" for c in tier] for tier in judgement.tiers]
    return {
        "comparison": judgement.comparison,
        "ranking": " › ".join(" = ".join(tier) for tier in names),
        "left_out": ", ".join(c.model.name for c in judgement.unrankable if c.model),
    }


def _people(made: list[Judgement]) -> list[dict[str, Any]]:
    """Who judged, and how much of it."""
    counts: dict[Any, int] = {}
    for judgement in made:
        annotator = judgement.comparison.annotator
        counts[annotator] = counts.get(annotator, 0) + 1
    return [{"person": person, "count": n} for person, n in sorted(counts.items(), key=lambda item: -item[1])]


@require_POST
@member_required(*ENGINEERS)
def close(request: HttpRequest, project: Project, review_id: int) -> HttpResponse:
    found = get_object_or_404(project.reviews, pk=review_id)
    if found.status == Review.Status.CLOSED:
        messages.info(request, "This review was closed already.")
    else:
        close_review(found)
        messages.success(request, "The review is closed. What was judged is its result.")
    return redirect("annotation:review", project.slug, found.pk)
