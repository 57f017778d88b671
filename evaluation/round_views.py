"""Rounds: the list, the form that starts the next one, a round's page and what is done on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from evaluation import rounds
from evaluation.forms import CloseForm, RoundForm
from evaluation.round_story import Line, lines, tell, trainable_comparisons
from studio.access import ENGINEERS, EXPERTS, may, member_required
from studio.models import Project, Round
from studio.runs.contract import ConfigError, options

PAGE = 20


@require_GET
@member_required(*EXPERTS)
def round_list(request: HttpRequest, project: Project) -> HttpResponse:
    found = project.rounds.select_related("start_policy", "final_policy")
    page = Paginator(found, PAGE).get_page(request.GET.get("page"))
    shown = lines(list(page), request.membership)
    context = {
        "project": project,
        "page": page,
        "lines": shown,
        "gain_bound": _gain_bound(shown),
        "under_way": found.filter(status__in=rounds.OPEN).first(),
        "may_start": may(request.membership, ENGINEERS),
    }
    return render(request, "evaluation/rounds.html", context)


def _gain_bound(shown: list[Line]) -> float:
    """The rewards' common scale reaches from minus this to plus this, so that the bars compare."""
    gains = [line.reward_gain for line in shown if line.reward_gain]
    return max((abs(x) for g in gains for x in (g.value, g.low, g.high) if x is not None), default=1.0) or 1.0


@require_http_methods(["GET", "POST"])
@member_required(*ENGINEERS)
def new_round(request: HttpRequest, project: Project) -> HttpResponse:
    before = project.rounds.order_by("-number").first()
    if request.method == "POST":
        form = RoundForm(project, request.POST, before=before)
        if form.is_valid() and (round := _start(form, request, project)):
            messages.success(request, f"{round} has begun: answers are being drawn.")
            return redirect("evaluation:round", project.slug, round.number)
    else:
        form = RoundForm(project, before=before)
    context = {
        "project": project,
        "form": form,
        "before": before,
        "number": before.number + 1 if before else 1,
        "under_way": before if before and before.status in rounds.OPEN else None,
        "comparisons": trainable_comparisons(project),
    }
    return render(request, "evaluation/new_round.html", context, status=422 if form.is_bound else 200)


def _start(form: RoundForm, request: HttpRequest, project: Project) -> Round | None:
    try:
        return rounds.start_round(project, request.user, form.values())
    except ConfigError as error:
        form.add_config_errors(error)
    except ValueError as error:
        form.add_error(None, str(error))
    return None


def find_round(project: Project, number: int) -> Round:
    found = Round.objects.select_related("project", "start_policy", "final_policy", "created_by")
    return get_object_or_404(found, project=project, number=number)


@require_GET
@member_required(*EXPERTS)
def round_page(request: HttpRequest, project: Project, number: int) -> HttpResponse:
    """With htmx only what changes; announced when it is no longer the version `shown`."""
    round = find_round(project, number)
    context = _context(request, round)
    if request.htmx:
        context["announce"] = request.GET.get("shown") != context["story"].version
        return render(request, "evaluation/_round.html", context)
    return render(request, "evaluation/round.html", context | {"close_form": CloseForm(label_suffix="")})


def _context(request: HttpRequest, round: Round) -> dict[str, Any]:
    story, config = tell(round, request.membership), rounds.config_of(round)
    gain = story.reward_gain
    bound = max((abs(x) for x in (gain.value, gain.low, gain.high) if x is not None), default=1.0) if gain else 1.0
    return {
        "project": round.project,
        "round": round,
        "story": story,
        "gain_bound": bound or 1.0,
        "crumb": f"Round {round.number}",
        "config": config,
        "settings": _settings(config),
        "is_over": round.status not in rounds.OPEN,
        "may_act": may(request.membership, ENGINEERS),
    }


def _settings(config: rounds.RoundConfig) -> list[tuple[str, list[tuple[str, Any]]]]:
    """What the starting form asked for, by group."""
    groups: dict[str, list[tuple[str, Any]]] = {}
    for o in options(rounds.RoundConfig):
        value = getattr(config, o.name)
        if value != "":
            shown = "all" if o.name == "prompts" and not value else f"{value} {o.unit}".strip()
            groups.setdefault(o.group, []).append((o.label, shown))
    return list(groups.items())


@require_POST
@member_required(*ENGINEERS)
def train(request: HttpRequest, project: Project, number: int) -> HttpResponse:
    said = "The reward model is in the queue; PPO and the review's answers follow by themselves."
    return _act(request, project, number, lambda round: rounds.train_round(round, request.user), said)


@require_POST
@member_required(*ENGINEERS)
def promote(request: HttpRequest, project: Project, number: int) -> HttpResponse:
    said = "Promoted: the next round starts from this policy."
    return _act(request, project, number, lambda round: rounds.promote(round, request.user), said)


@require_POST
@member_required(*ENGINEERS)
def close(request: HttpRequest, project: Project, number: int) -> HttpResponse:
    form = CloseForm(request.POST, label_suffix="")
    if not form.is_valid():
        context = _context(request, find_round(project, number)) | {"close_form": form}
        return render(request, "evaluation/round.html", context, status=422)
    said = "The round is closed. The project's policy is what it was."
    return _act(request, project, number, lambda round: rounds.close(round, form.cleaned_data["note"]), said)


def _act(request: HttpRequest, project: Project, number: int, act: Callable[[Round], Any], said: str) -> HttpResponse:
    """Do it, or say why not, and show the round as it is now."""
    round = find_round(project, number)
    try:
        act(round)
    except ValueError as error:
        messages.error(request, str(error))
    else:
        messages.success(request, said)
    return redirect("evaluation:round", project.slug, round.number)
