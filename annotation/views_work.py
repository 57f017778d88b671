"""The screen on which people judge: one address a claim. Answers are known by their letters alone."""

from __future__ import annotations

import uuid

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST

from annotation import failures, queue, submit
from annotation.forms_work import DemonstrationForm, FailureForm, RankingForm, ReleaseForm, WorkForm
from annotation.models import Claim, Comparison, Demonstration, Kind, Skip
from annotation.views import next_task
from studio.access import EXPERTS, may, member_required
from studio.models import Project, User

HASTY = 2.0  # seconds; nobody reads a prompt and its answers faster


@require_http_methods(["GET", "POST"])
@member_required()
def work(request: HttpRequest, project: Project, claim_id: int) -> HttpResponse:
    """The task with its draft; sending the form hands the answer in and goes on to the next task.

    After its lease has ended the form still works: the answer counts while the task has a free place.
    """
    claim = _own_claim(project, request.user, claim_id)
    if request.method == "GET" and claim.status == Claim.Status.SUBMITTED:
        return redirect(label_view(claim), project.slug, submit.label_of(claim).pk)
    form = _form(request, claim)
    if request.method == "POST" and form.is_valid():
        try:
            label = _hand_in(claim, form)
        except (submit.AlreadySubmitted, submit.KeyReused):  # another tab, or back to a form that was sent
            messages.info(request, "This task has your answer already: the first one counts, this one was not kept.")
            return next_task(project, claim.task.queue, request.user)
        except ValueError as error:
            form.add_error(None, str(error))
        else:
            _acknowledge(request, label)
            return next_task(project, claim.task.queue, request.user)
    return _show(request, project, claim, form)


def _own_claim(project: Project, user: User, claim_id: int) -> Claim:
    claims = Claim.objects.select_related("task__queue__project", "task__prompt", "guideline", "draft", "annotator")
    return get_object_or_404(claims, pk=claim_id, annotator=user, task__queue__project=project)


def _form(request: HttpRequest, claim: Claim) -> WorkForm:
    kind = DemonstrationForm if claim.task.kind == Kind.DEMONSTRATE else RankingForm
    draft = getattr(claim, "draft", None)
    initial = {**kind.initial_from(draft.content if draft else None), "key": str(uuid.uuid4())}
    answers = {} if kind is DemonstrationForm else {"answers": queue.shown_answers(claim)}
    return kind(request.POST or None, initial=initial, **answers)


def _hand_in(claim: Claim, form: WorkForm) -> Demonstration | Comparison:
    data = form.cleaned_data
    if isinstance(form, RankingForm):
        return submit.submit_ranking(claim, **form.ranking(), key=data["key"])
    return submit.submit_demonstration(claim, data["text"], reasoning=data["reasoning"], key=data["key"])


def _acknowledge(request: HttpRequest, label: Demonstration | Comparison) -> None:
    if label.surplus:
        messages.warning(
            request,
            "Somebody else had finished this task by the time you sent it. Your answer is kept, but not counted.",
        )
    elif label.seconds is not None and label.seconds < HASTY:
        messages.warning(
            request,
            f"Saved, after {label.seconds:.1f} seconds. If you did not read it all, withdraw it under your recent work "
            "and take more time for this one.",
        )
    else:
        messages.success(request, "Saved. Thank you.")


def _show(request: HttpRequest, project: Project, claim: Claim, form: WorkForm) -> HttpResponse:
    newest = project.guideline
    expert = may(request.membership, EXPERTS)
    context = {
        "project": project,
        "claim": claim,
        "queue": claim.task.queue,
        "prompt": claim.task.prompt,
        "form": form,
        "is_over": claim.status != Claim.Status.LIVE or claim.expires_at < timezone.now(),
        "newer_guideline": newest if newest and newest.pk != claim.guideline_id else None,
        "waiting": queue.waiting_for([claim.task.queue], request.user).get(claim.task.queue_id, 0),
        "draft": getattr(claim, "draft", None),
    }
    if claim.task.kind == Kind.DEMONSTRATE:
        template = "annotation/demonstrate.html"
    else:
        template = "annotation/rank.html"
        context["failure_form"] = _failure_form(None, project, claim) if expert else None
    return render(request, template, context, status=422 if form.errors else 200)


def label_view(claim: Claim) -> str:
    return "annotation:demonstration" if claim.task.kind == Kind.DEMONSTRATE else "annotation:comparison"


@require_POST
@member_required()
def release(request: HttpRequest, project: Project, claim_id: int) -> HttpResponse:
    """Give the task back: with `skip` for others, and on to the next; without it perhaps again for oneself."""
    claim = _own_claim(project, request.user, claim_id)
    form = ReleaseForm(request.POST)
    if not form.is_valid():
        messages.error(request, "Nothing was given back. Choose Skip or Give back, with a reason of 200 characters.")
        return redirect("annotation:work", project.slug, claim.pk)
    skip = Skip.OTHERS if form.cleaned_data["act"] == "skip" else ""
    if not queue.release(claim, reason=form.cleaned_data["reason"], skip=skip):
        messages.info(request, "This task was not yours any more: its time was over or it has your answer.")
    elif skip:
        messages.success(request, "Skipped. You will not be asked about it again.")
        return next_task(project, claim.task.queue, request.user)
    else:
        messages.success(request, "Given back for others to take.")
    return redirect("annotation:home", project.slug)


@require_POST
@member_required(*EXPERTS)
def failure(request: HttpRequest, project: Project, claim_id: int) -> HttpResponse:
    """File one of the shown answers under a failure class; answers with the dialog's form, empty or with errors."""
    claim = _own_claim(project, request.user, claim_id)
    form = _failure_form(request.POST, project, claim)
    filed = None
    if form.is_valid():
        data = form.cleaned_data
        answer = queue.shown_answers(claim)[data["answer"]]
        try:
            filed = failures.file_failure(
                project, answer, request.user, failure_class=data["failure_class"], name=data["name"],
                correction=data["correction"], reasoning=data["reasoning"],
            )  # fmt: skip
            form = _failure_form(None, project, claim)
        except ValueError as error:
            form.add_error(None, str(error))
    context = {"project": project, "claim": claim, "failure_form": form, "filed": filed}
    return render(request, "annotation/_failure_form.html", context, status=422 if form.errors else 200)


def _failure_form(data: dict | None, project: Project, claim: Claim) -> FailureForm:
    return FailureForm(data, classes=project.failure_classes.all(), answers=list(claim.letters), prefix="failure")
