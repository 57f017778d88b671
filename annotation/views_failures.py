"""Failure classes: how models fail, with examples, and which model still does."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models import Count, Q
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from annotation import failures
from annotation.blindness import hides_models
from annotation.forms import FailureClassForm, FailureExampleForm, FailureStatusForm, PromptFilterForm
from annotation.models import Completion, FailureClass, FailureExample, Prompt
from annotation.withdraw import may_withdraw, withdraw
from studio.access import ENGINEERS, EXPERTS, may, member_required
from studio.models import Project

SHOWN = 50  # examples of a class, prompts to choose from


@require_GET
@member_required(*EXPERTS)
def failure_classes(request: HttpRequest, project: Project) -> HttpResponse:
    standing = Q(examples__withdrawn_at=None)
    found = list(
        project.failure_classes.annotate(count=Count("examples", filter=standing)).order_by("-severity", "name")
    )
    by_class: dict[int, list[Any]] = {}
    for (class_id, _), status in failures.statuses(found).items():
        by_class.setdefault(class_id, []).append(status)
    for each in found:
        each.states = sorted(by_class.get(each.pk, []), key=lambda status: -status.model_id)
    context = {"project": project, "classes": found}
    return render(request, "annotation/failure_classes.html", context)


@require_http_methods(["GET", "POST"])
@member_required(*EXPERTS)
def new_failure_class(request: HttpRequest, project: Project) -> HttpResponse:
    """With `?completion=` on to filing that answer under the new class."""
    completion = _number(request, "completion") if "completion" in request.GET else None
    form = FailureClassForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            made = failures.add_class(project, user=request.user, **form.cleaned_data)
        except ValueError as error:
            form.add_error("name", str(error))
        else:
            messages.success(request, f"“{made.name}” is there. Add an example, so that others recognise it.")
            if completion:
                file_url = reverse("annotation:file-failure", args=[project.slug])
                return redirect(f"{file_url}?class={made.pk}&completion={completion}")
            return redirect("annotation:failure-class", project.slug, made.pk)
    context = {"project": project, "form": form}
    return render(request, "annotation/new_failure_class.html", context, status=422 if form.errors else 200)


@require_GET
@member_required(*EXPERTS)
def failure_class(request: HttpRequest, project: Project, class_id: int) -> HttpResponse:
    return _show_class(request, project, _find(project, class_id), FailureStatusForm(project=project))


def _find(project: Project, class_id: int) -> FailureClass:
    return get_object_or_404(FailureClass.objects.select_related("created_by"), pk=class_id, project=project)


def _show_class(request: HttpRequest, project: Project, found: FailureClass, form: FailureStatusForm) -> HttpResponse:
    engineer = may(request.membership, ENGINEERS)
    examples = found.examples.select_related("prompt", "completion__model", "author", "guideline", "withdrawn_by")
    history = list(found.statuses.select_related("model", "created_by"))
    newest = {status.model_id: status for status in reversed(history)}
    shown = list(examples[:SHOWN])
    for example in shown:
        example.may_withdraw = may_withdraw(request.membership, example) and example.withdrawn_at is None
    context = {
        "project": project,
        "class": found,
        "examples": shown,
        "states": sorted(newest.values(), key=lambda status: -status.model_id),
        "history": history if len(history) > len(newest) else [],
        "form": form,
        "is_engineer": engineer,
    }
    return render(request, "annotation/failure_class.html", context, status=422 if form.errors else 200)


@require_POST
@member_required(*ENGINEERS)
def set_failure_status(request: HttpRequest, project: Project, class_id: int) -> HttpResponse:
    """How a model fares on the class from now on."""
    found = _find(project, class_id)
    form = FailureStatusForm(request.POST, project=project)
    if not form.is_valid():
        return _show_class(request, project, found, form)
    data = form.cleaned_data
    failures.set_status(found, data["model"], data["state"], request.user, note=data["note"])
    messages.success(request, f"{data['model'].name} is “{data['state']}” from now on.")
    return redirect("annotation:failure-class", project.slug, found.pk)


@require_http_methods(["GET", "POST"])
@member_required(*EXPERTS)
def file_failure(request: HttpRequest, project: Project) -> HttpResponse:
    """File a failing answer in three steps at one address: choose a prompt, an answer to it, and say what is wrong."""
    if "completion" in request.GET:
        return _file_completion(request, project)
    if request.method == "POST":
        raise Http404("Choose an answer first.")
    if "prompt" in request.GET:
        prompt = get_object_or_404(Prompt, pk=_number(request, "prompt"), project=project)
        answers = prompt.completions.exclude(model=None)[:SHOWN]
        context = {"project": project, "prompt": prompt, "answers": answers, "class": request.GET.get("class", "")}
        return render(request, "annotation/file_failure_answer.html", context)
    form = PromptFilterForm(request.GET, project=project)
    found = form.prompts().annotate(answers=Count("completions", filter=Q(completions__model__isnull=False)))
    page = Paginator(found.filter(answers__gt=0).order_by("-id"), SHOWN).get_page(request.GET.get("page"))
    context = {"project": project, "page": page, "form": form, "class": request.GET.get("class", "")}
    return render(request, "annotation/file_failure_prompt.html", context)


def _file_completion(request: HttpRequest, project: Project) -> HttpResponse:
    completions = Completion.objects.select_related("prompt", "model")
    completion = get_object_or_404(completions, pk=_number(request, "completion"), prompt__project=project)
    form = FailureExampleForm(
        request.POST or None, project=project, initial={"failure_class": request.GET.get("class", "")}
    )
    if request.method == "POST" and form.is_valid():
        data = form.cleaned_data
        chosen = data["failure_class"]
        try:
            failures.add_example(
                chosen, completion, request.user, correction=data["correction"], reasoning=data["reasoning"]
            )
        except ValueError as error:
            form.add_error(None, str(error))
        else:
            messages.success(request, "The example is filed.")
            return redirect("annotation:failure-class", project.slug, chosen.pk)
    context = {
        "project": project,
        "completion": completion,
        "form": form,
        "blind": hides_models(request.membership, completion.prompt),
    }
    return render(request, "annotation/file_failure.html", context, status=422 if form.errors else 200)


def _number(request: HttpRequest, name: str) -> int:
    text = request.GET[name]
    if not text.isdecimal() or len(text) > 18:
        raise Http404("There is no such prompt or answer.")
    return int(text)


@require_POST
@member_required(*EXPERTS)
def withdraw_example(request: HttpRequest, project: Project, example_id: int) -> HttpResponse:
    found = get_object_or_404(FailureExample, pk=example_id, failure_class__project=project)
    if not may_withdraw(request.membership, found):
        raise PermissionDenied("Only who filed an example and engineers may withdraw it.")
    try:
        withdraw(found, request.user, request.POST.get("reason", "").replace("\0", ""))
    except ValueError as error:
        messages.error(request, str(error))
    else:
        messages.success(request, "The example is withdrawn.")
    return redirect("annotation:failure-class", project.slug, found.failure_class_id)
