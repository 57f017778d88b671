"""Runs: the list, the start form, a run's page with what it shows while it is live, and comparisons."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from studio.access import ENGINEERS, EXPERTS, may, member_required
from studio.models import Project
from studio.runs import registry
from studio.runs.charts import metric_label, read_charts, read_titles
from studio.runs.configurations import differences, known_recipe, settings_of
from studio.runs.contract import ConfigError, Recipe
from studio.runs.control import cancel_run, resume_run
from studio.runs.forms import RunFilter, RunForm
from studio.runs.logs import TAIL_BYTES, read_tail
from studio.runs.models import Artifact, Run
from studio.runs.progress import read_progress
from studio.runs.results import read_figures, side_by_side
from studio.runs.samples import read_samples
from studio.runs.submit import submit_run

PAGE = 25
PAGE_OF_LOG = 1_000_000  # bytes
COMPARED = 8  # as many as there are chart colours
STAGES = {
    "data": "Data",
    "pretrain": "Pretraining",
    "sft": "Instruction tuning",
    "reward_model": "Reward model",
    "ppo": "Reinforcement learning",
    "sample": "Sampling",
    "evaluate": "Evaluation",
    "bias": "Bias and toxicity",
}


def find_run(project: Project, run_id: int) -> Run:
    runs = Run.objects.select_related("created_by", "round", "repeat_of", "project")
    return get_object_or_404(runs, pk=run_id, project=project)


# The list


@require_GET
@member_required(*EXPERTS)
def run_list(request: HttpRequest, project: Project) -> HttpResponse:
    runs = Run.objects.filter(project=project).select_related("created_by", "round")
    form = RunFilter(request.GET)
    if form.is_valid():
        if form.cleaned_data["recipe"]:
            runs = runs.filter(recipe_name=form.cleaned_data["recipe"])
        if form.cleaned_data["status"]:
            runs = runs.filter(status=form.cleaned_data["status"])
    page = Paginator(runs, PAGE).get_page(request.GET.get("page"))
    states = [_state(run) for run in page]
    query = request.GET.copy()
    query.pop("page", None)
    context = {
        "project": project,
        "form": form,
        "page": page,
        "states": states,
        "live": [s["run"] for s in states if s["run"].is_live],
        "query": query.urlencode(),
        "filtered": bool(query.get("recipe") or query.get("status")),
        "may_start": may(request.membership, ENGINEERS),
    }
    return render(request, "runs/list.html", context)


@require_GET
@member_required(*EXPERTS)
def states(request: HttpRequest, project: Project) -> HttpResponse:
    """What the list's live rows show now, for the runs asked for (`run=1&run=2`)."""
    ids = _asked_runs(request)[:PAGE]
    found = [_state(run) for run in Run.objects.filter(project=project, pk__in=ids).select_related("project")]
    live = [s["run"] for s in found if s["run"].is_live]
    return render(request, "runs/_states.html", {"project": project, "states": found, "live": live})


def _state(run: Run) -> dict[str, Any]:
    return {
        "run": run,
        "recipe": known_recipe(run),
        "progress": read_progress(run) if run.status == Run.Status.RUNNING else None,
    }


def _asked_runs(request: HttpRequest) -> list[int]:
    return list(dict.fromkeys(int(i) for i in request.GET.getlist("run") if i.isdecimal() and len(i) < 18))


# Starting


@require_GET
@member_required(*ENGINEERS)
def new(request: HttpRequest, project: Project) -> HttpResponse:
    """Choose a recipe."""
    order = list(STAGES)
    ordered = sorted(registry.recipes().values(), key=lambda recipe: order.index(recipe.stage))
    stages = [(STAGES[stage], list(group)) for stage, group in groupby(ordered, key=lambda recipe: recipe.stage)]
    kinds = set(Artifact.objects.filter(project=project).order_by().values_list("kind", flat=True).distinct())
    missing = {
        recipe.name: [i.label for i in recipe.inputs.values() if i.required and i.kind not in kinds]
        for recipe in ordered
    }
    return render(request, "runs/new.html", {"project": project, "stages": stages, "missing": missing})


@require_http_methods(["GET", "POST"])
@member_required(*ENGINEERS)
def start(request: HttpRequest, project: Project, recipe_name: str) -> HttpResponse:
    recipe = registry.recipes().get(recipe_name)
    if recipe is None:
        raise Http404(f"There is no recipe '{recipe_name}'.")
    repeat_of = _repeated(request, project, recipe)
    if request.method == "POST":
        form = RunForm(recipe, project, request.POST, repeat_of=repeat_of)
        if form.is_valid() and (run := _submit(form, request, project)):
            messages.success(request, f"Run {run.pk} is in the queue.")
            return redirect("runs:detail", project.slug, run.pk)
    else:
        asked = {key: request.GET[key] for key in request.GET if key.startswith("input-")}
        form = RunForm(recipe, project, repeat_of=repeat_of, initial=asked)
    waiting = Run.objects.filter(queue=recipe.queue, status__in=Run.LIVE).count()
    context = {"project": project, "recipe": recipe, "form": form, "repeat_of": repeat_of, "waiting": waiting}
    return render(request, "runs/start.html", context, status=422 if form.errors else 200)


def _repeated(request: HttpRequest, project: Project, recipe: Recipe) -> Run | None:
    wanted = request.GET.get("repeat", "")
    if not wanted.isdecimal():
        return None
    runs = Run.objects.prefetch_related("inputs").filter(project=project, recipe_name=recipe.name)
    return get_object_or_404(runs, pk=int(wanted))


def _submit(form: RunForm, request: HttpRequest, project: Project) -> Run | None:
    try:
        return submit_run(
            project,
            request.user,
            form.recipe.name,
            form.values(),
            form.inputs(),
            title=form.cleaned_data["title"],
            round=form.repeat_of.round if form.repeat_of else None,
            repeat_of=form.repeat_of,
        )
    except ConfigError as error:
        form.add_config_errors(error)
        return None


@require_POST
@member_required(*ENGINEERS)
def repeat(request: HttpRequest, project: Project, run_id: int) -> HttpResponse:
    """Open the start form with the values and inputs of an old run."""
    run = find_run(project, run_id)
    if known_recipe(run) is None:
        messages.error(request, f"The recipe '{run.recipe_name}' is no longer installed: this run cannot be repeated.")
        return redirect("runs:detail", project.slug, run.pk)
    return redirect(reverse("runs:start", args=[project.slug, run.recipe_name]) + f"?repeat={run.pk}")


@require_POST
@member_required(*ENGINEERS)
def cancel(request: HttpRequest, project: Project, run_id: int) -> HttpResponse:
    run = find_run(project, run_id)
    try:
        cancel_run(run)
    except ValueError as error:
        messages.error(request, str(error))
    else:
        messages.success(request, "Cancelling: the run saves what it can resume from, then stops.")
    return redirect("runs:detail", project.slug, run.pk)


@require_POST
@member_required(*ENGINEERS)
def resume(request: HttpRequest, project: Project, run_id: int) -> HttpResponse:
    run = find_run(project, run_id)
    try:
        resume_run(run)
    except ValueError as error:
        messages.error(request, str(error))
    else:
        messages.success(request, "The run is in the queue again.")
    return redirect("runs:detail", project.slug, run.pk)


# One run


@require_GET
@member_required(*EXPERTS)
def detail(request: HttpRequest, project: Project, run_id: int) -> HttpResponse:
    run = find_run(project, run_id)
    inputs = run.inputs.select_related("artifact")
    settings = settings_of(run)
    titles = read_titles(run.directory / "metrics.jsonl")
    context = _live_context(request, run) | {
        "crumb": f"Run {run.pk}",
        "settings": settings,
        "changed_settings": sum(setting.changed for setting in settings),
        "inputs": [(recipe_input_label(run, row.role), row.artifact) for row in inputs],
        "repeats": run.repeats.order_by("id"),
        "samples": _samples(run),
        "log": read_tail(run.directory / "log.txt"),
        "environment": run.environment,
        "chart_titles": titles,
        "has_metrics": run.is_live or bool(titles),
    }
    return render(request, "runs/detail.html", context)


def recipe_input_label(run: Run, role: str) -> str:
    recipe = known_recipe(run)
    return recipe.inputs[role].label if recipe and role in recipe.inputs else role


@require_GET
@member_required(*EXPERTS)
def live(request: HttpRequest, project: Project, run_id: int) -> HttpResponse:
    """Status, progress and newest metrics. When the status is no longer the one `shown`, also what depends on it."""
    run = find_run(project, run_id)
    context = _live_context(request, run)
    context["changed"] = request.GET.get("shown") != run.status and not run.is_live
    return render(request, "runs/_live.html", context)


def _live_context(request: HttpRequest, run: Run) -> dict[str, Any]:
    return {
        "project": run.project,
        "run": run,
        "recipe": known_recipe(run),
        "progress": read_progress(run),
        "queue_position": run.queue_position() if run.status == Run.Status.QUEUED else None,
        "figures": read_figures(run),
        "may_manage": may(request.membership, ENGINEERS),
        "outputs": list(run.outputs.order_by("id")),
        "checkpoint": newest_checkpoint(run) if run.status != Run.Status.SUCCEEDED else None,
    }


def newest_checkpoint(run: Run) -> int | None:
    """The step that the run would resume from."""
    names = sorted(path.name for path in (run.directory / "checkpoints").glob("step-*"))
    return int(names[-1].removeprefix("step-")) if names else None


@require_GET
@member_required(*EXPERTS)
def metrics(request: HttpRequest, project: Project, run_id: int) -> JsonResponse:
    """Charts as JSON; with `since` (an earlier answer's cursor) only what is new."""
    run = get_object_or_404(Run, pk=run_id, project=project)
    charts = read_charts(run.directory / "metrics.jsonl", request.GET.get("since", ""))
    return JsonResponse(charts | {"live": run.is_live, "run": run.pk, "title": str(run)})


@require_GET
@member_required(*EXPERTS)
def samples(request: HttpRequest, project: Project, run_id: int) -> HttpResponse:
    run = find_run(project, run_id)
    context = {"project": project, "run": run, "samples": _samples(run)}
    return render(request, "runs/_samples.html", context, status=_polling_status(run))


def _polling_status(run: Run) -> int:
    """286 tells htmx to ask no more."""
    return 200 if run.is_live else 286


def _samples(run: Run) -> list[dict[str, Any]]:
    return read_samples(run.directory / "samples.jsonl", metric_label)


@require_GET
@member_required(*EXPERTS)
def log(request: HttpRequest, project: Project, run_id: int) -> HttpResponse:
    """The end of the log; all of it with `download`."""
    run = find_run(project, run_id)
    path = run.directory / "log.txt"
    if "download" in request.GET:
        if not path.exists():
            raise Http404("This run has written no log yet.")
        return FileResponse(open(path, "rb"), as_attachment=True, filename=f"run-{run.pk}.log.txt")
    context = {"project": project, "run": run, "log": read_tail(path, TAIL_BYTES if request.htmx else PAGE_OF_LOG)}
    if request.htmx:
        return render(request, "runs/_log.html", context, status=_polling_status(run))
    return render(request, "runs/log.html", context)


# Comparing


@require_GET
@member_required(*EXPERTS)
def compare(request: HttpRequest, project: Project) -> HttpResponse:
    ids = _asked_runs(request)[:COMPARED]
    found = {run.pk: run for run in Run.objects.filter(project=project, pk__in=ids).select_related("created_by")}
    runs = [found[i] for i in ids if i in found]
    context = {
        "project": project,
        "runs": runs,
        "differences": differences(runs),
        "chart_titles": _titles(runs),
        "results": side_by_side(runs),
        "others": Run.objects.filter(project=project).exclude(pk__in=found)[:PAGE] if len(runs) < COMPARED else [],
    }
    return render(request, "runs/compare.html", context)


def _titles(runs: list[Run]) -> list[str]:
    """The charts that any of the runs has, so that the page can keep their places."""
    return list(dict.fromkeys(t for run in runs for t in read_titles(run.directory / "metrics.jsonl")))
