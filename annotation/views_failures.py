"""Failure classes: how models fail, with examples, and which model still does."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models import Count, Max, Q
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from annotation import failures
from annotation.blindness import hides_models
from annotation.failure_labels import comparison_from, demonstration_from, prompts_like, suggested_prompts
from annotation.forms import PromptFilterForm, make_of
from annotation.forms_failures import (
    EditFailureClassForm,
    FailureClassForm,
    FailureExampleForm,
    FailureFilterForm,
    FailureStatusForm,
    MergeForm,
)
from annotation.journal import history_of
from annotation.merging import merge, undo_merge
from annotation.models import Claim, Completion, FailureClass, FailureExample, FailureMerge, Prompt
from annotation.views_journal import facts
from annotation.withdraw import may_withdraw, withdraw
from studio.access import ENGINEERS, EXPERTS, may, member_required
from studio.models import Project
from studio.web.numbers import whole_number

SHOWN = 50  # classes or examples a page, prompts to choose from
HISTORY = 30  # entries of the journal


@require_GET
@member_required(*EXPERTS)
def failure_classes(request: HttpRequest, project: Project) -> HttpResponse:
    """Every class with its examples and how models fare, filtered; those merged into others on demand."""
    form = FailureFilterForm(request.GET, project=project)
    conditions = form.conditions()
    standing = Q(examples__withdrawn_at=None)
    found = failures.find_classes(project, **conditions).select_related("merged_into")
    found = found.annotate(
        count=Count("examples", filter=standing), newest=Max("examples__created_at", filter=standing)
    )
    page = Paginator(found, SHOWN).get_page(request.GET.get("page"))
    by_class: dict[int, list[Any]] = {}
    for (class_id, _), status in failures.statuses(page.object_list).items():
        by_class.setdefault(class_id, []).append(status)
    for each in page.object_list:
        each.states = sorted(by_class.get(each.pk, []), key=lambda status: -status.model_id)
    context = {"project": project, "page": page, "form": form, "filtered": bool(conditions)}
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
    classes = FailureClass.objects.select_related("created_by", "owner", "merged_into", "project")
    return get_object_or_404(classes, pk=class_id, project=project)


def _show_class(request: HttpRequest, project: Project, found: FailureClass, form: FailureStatusForm) -> HttpResponse:
    related = ("prompt", "completion__model", "author", "guideline", "withdrawn_by")
    page = Paginator(found.examples.select_related(*related), SHOWN).get_page(request.GET.get("page"))
    for example in page.object_list:
        example.may_withdraw = may_withdraw(request.membership, example) and example.withdrawn_at is None
    statuses = list(found.statuses.select_related("model", "created_by"))
    newest = {status.model_id: status for status in reversed(statuses)}
    entries = list(history_of(found)[:HISTORY])
    for entry in entries:
        before, after = entry.detail.get("before") or {}, entry.detail.get("after") or {}
        entry.changes = [(name.replace("_", " "), _line(before[name]), _line(after.get(name))) for name in before]
        entry.facts = [] if entry.changes else facts(entry)
    failed, alike = prompts_like(found)
    context = {
        "project": project,
        "class": found,
        "page": page,
        "states": sorted(newest.values(), key=lambda status: -status.model_id),
        "history": statuses if len(statuses) > len(newest) else [],
        "entries": entries,
        "merges": list(found.merges_in.filter(undone_at=None).select_related("source", "merged_by")),
        "merge": found.merges_out.filter(undone_at=None).select_related("merged_by").first(),
        "form": form,
        "is_engineer": may(request.membership, ENGINEERS),
        "may_curate": failures.may_curate(request.membership, found),
        "suggestions": suggested_prompts(found),
        "failed": failed,
        "alike": alike,
    }
    return render(request, "annotation/failure_class.html", context, status=422 if form.errors else 200)


def _line(value: Any) -> Any:
    return " · ".join(value) if isinstance(value, list) else value


@require_http_methods(["GET", "POST"])
@member_required(*EXPERTS)
def edit_failure_class(request: HttpRequest, project: Project, class_id: int) -> HttpResponse:
    """Name, description, severity, owner and suggested prompts; what they were before stays in the history."""
    found = _find(project, class_id)
    initial = {field: getattr(found, field) for field in failures.EDITABLE}
    initial["suggested_prompts"] = "\n".join(found.suggested_prompts)
    form = EditFailureClassForm(request.POST or None, project=project, initial=initial)
    if request.method == "POST" and form.is_valid():
        try:
            changed = failures.edit_class(found, request.user, **form.cleaned_data)
        except ValueError as error:
            form.add_error(None, str(error))
        else:
            if changed:
                messages.success(request, "Saved. What it was before is in its history.")
            return redirect("annotation:failure-class", project.slug, found.pk)
    context = {"project": project, "class": found, "form": form}
    return render(request, "annotation/edit_failure_class.html", context, status=422 if form.errors else 200)


@require_http_methods(["GET", "POST"])
@member_required(*EXPERTS)
def merge_failure_class(request: HttpRequest, project: Project, class_id: int) -> HttpResponse:
    """Merge a class into another that means the same; for leads and its owner."""
    found = _find(project, class_id)
    if not failures.may_curate(request.membership, found):
        raise PermissionDenied("Only its owner and engineers may merge a failure class.")
    form = MergeForm(request.POST or None, failure_class=found)
    if request.method == "POST" and form.is_valid():
        try:
            done = merge(found, form.cleaned_data["target"], request.user, reason=form.cleaned_data["reason"])
        except ValueError as error:
            form.add_error(None, str(error))
        else:
            count = len(done.examples)
            messages.success(request, f"“{found.name}” is merged; {count} example{'' if count == 1 else 's'} moved.")
            return redirect("annotation:failure-class", project.slug, done.target_id)
    context = {"project": project, "class": found, "form": form, "count": found.examples.count()}
    return render(request, "annotation/merge_failure_class.html", context, status=422 if form.errors else 200)


@require_POST
@member_required(*EXPERTS)
def undo_failure_merge(request: HttpRequest, project: Project, merge_id: int) -> HttpResponse:
    done = get_object_or_404(
        FailureMerge.objects.select_related("source", "target"), pk=merge_id, source__project=project
    )
    if not failures.may_curate(request.membership, done.source):
        raise PermissionDenied("Only its owner and engineers may take back a merge.")
    try:
        returned = undo_merge(done, request.user)
    except ValueError as error:
        messages.error(request, str(error))
    else:
        messages.success(
            request, f"“{done.source.name}” is a class of its own again, with {returned} example"
            f"{'' if returned == 1 else 's'}.",
        )  # fmt: skip
    return redirect("annotation:failure-class", project.slug, done.source_id)


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
    completion = get_object_or_404(failures.fileable(project, request.user), pk=_number(request, "completion"))
    return file_answer(request, project, completion)


def file_answer(
    request: HttpRequest, project: Project, completion: Completion, claim: Claim | None = None
) -> HttpResponse:
    """The last step; asked for by htmx it is the content of a dialog, on whichever page that stands.

    With a claim, of which the completion is an answer, it tells nothing of the model and leads back to the work.
    """
    form = FailureExampleForm(
        request.POST or None, project=project, initial={"failure_class": request.GET.get("class", "")}
    )
    filed = make_of(form, partial(failures.file_failure, project, completion, request.user))
    if filed and not request.htmx:
        messages.success(request, "The example is filed.")
        if claim:
            return redirect("annotation:work", project.slug, claim.pk)
        return redirect("annotation:failure-class", project.slug, filed.failure_class_id)
    context = {
        "project": project,
        "completion": completion,
        "form": form,
        "filed": filed,
        "action": request.get_full_path(),
        "claim": claim,
        "blind": claim is not None or hides_models(request.membership, completion.prompt),
    }
    template = "annotation/_file_failure.html" if request.htmx else "annotation/file_failure.html"
    return render(request, template, context, status=422 if form.errors else 200)


@require_POST
@member_required(*EXPERTS)
def use_example(request: HttpRequest, project: Project, example_id: int) -> HttpResponse:
    """Make a demonstration or a comparison of an example."""
    examples = FailureExample.objects.select_related("failure_class")
    found = get_object_or_404(examples, pk=example_id, failure_class__project=project)
    makers = {"demonstration": demonstration_from, "comparison": comparison_from}
    kind = request.POST.get("kind", "")
    if kind not in makers:
        raise Http404("An example becomes a demonstration or a comparison.")
    try:
        made = makers[kind](found, request.user)
    except ValueError as error:
        messages.error(request, str(error))
        return redirect("annotation:failure-class", project.slug, found.failure_class_id)
    held_out = " Its prompt is held out, so it will never train a model." if made.prompt.split == "test" else ""
    messages.success(request, f"{kind.capitalize()} {made.pk} is made of it.{held_out}")
    return redirect(f"annotation:{kind}", project.slug, made.pk)


def _number(request: HttpRequest, name: str) -> int:
    number = whole_number(request.GET[name])
    if number is None:
        raise Http404("There is no such prompt or answer.")
    return number


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
