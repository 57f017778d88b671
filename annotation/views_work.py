"""The screen on which people judge: one address a claim. Answers are known by their letters alone."""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib import messages
from django.core.exceptions import ObjectDoesNotExist, PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import mark_safe
from django.views.decorators.http import require_http_methods, require_POST

from annotation import gold, queue, submit
from annotation.forms_work import DemonstrationForm, RankingForm, SkipForm, WorkForm
from annotation.instrument import draft_for, instrument_of
from annotation.models import Claim, Comparison, Demonstration, Instrument, Kind, Skip
from annotation.near_duplicates import nearest
from annotation.progress import MANY, waiting_for
from annotation.revise import reopen, revise
from annotation.settling import earlier_judgements
from annotation.standing import EXPERTS_SETTLE
from annotation.views import next_task
from annotation.views_failures import file_answer
from studio.access import EXPERTS, may, member_required
from studio.models import Project
from studio.web.markdown import render_markdown


@require_http_methods(["GET", "POST"])
@member_required()
def work(request: HttpRequest, project: Project, claim_id: int) -> HttpResponse:
    """The task with its draft; sending the form hands the answer in and goes on to the next task.

    After its lease has ended the form still works: the answer counts while the task has a free place. The page's
    script sends the form itself and asks for JSON: 200 {"next": address}, or 422 when the form has to be shown again.
    """
    claim = own_claim(request, project, claim_id)
    if request.method == "GET" and claim.status == Claim.Status.SUBMITTED:
        return redirect(label_view(claim), project.slug, submit.label_of(claim).pk)
    form = _form(request, claim)
    if request.method == "POST" and form.is_valid() and not _asks_about_twin(claim, form):
        try:
            label = _hand_in(claim, form)
        except submit.KeyReused:  # the same page again: its first answer had arrived, and nobody told it
            _change_instead(request, claim, form)
            return _onward(request, claim)
        except submit.AlreadySubmitted:  # from another tab
            messages.info(request, "This task has your answer already: the first one counts, this one was not kept.")
            return _onward(request, claim)
        except ValueError as error:
            form.add_error(None, str(error))
        else:
            _acknowledge(request, claim, label)
            return _onward(request, claim)
    if form.errors and wants_json(request):
        return JsonResponse({"errors": form.errors}, status=422)
    return _show(request, project, claim, form)


def own_claim(request: HttpRequest, project: Project, claim_id: int) -> Claim:
    related = ("task__queue__project", "task__prompt", "task__review", "guideline", "draft", "annotator")
    claims = Claim.objects.select_related(*related)
    claim = get_object_or_404(claims, pk=claim_id, annotator=request.user, project=project)
    if claim.task.kind == Kind.ADJUDICATE and not may(request.membership, EXPERTS):  # any more
        raise PermissionDenied(EXPERTS_SETTLE)
    return claim


def wants_json(request: HttpRequest) -> bool:
    return request.headers.get("Accept") == "application/json"


def _onward(request: HttpRequest, claim: Claim) -> HttpResponse:
    answer = next_task(request, claim.task.queue)
    return JsonResponse({"next": answer.url}) if wants_json(request) else answer


def _form(request: HttpRequest, claim: Claim) -> WorkForm:
    draft = getattr(claim, "draft", None)
    kind = DemonstrationForm if claim.task.kind == Kind.DEMONSTRATE else RankingForm
    initial = {**kind.initial_from(draft.content if draft else None), "key": str(uuid.uuid4())}
    instrument = instrument_of(claim.task.queue.project)
    if kind is DemonstrationForm and request.GET.get("start") == "draft" and not initial.get("text", "").strip():
        model_answer = draft_for(claim.task.prompt, instrument)
        if model_answer:
            initial.update(text=model_answer.text, draft_of=model_answer.pk)
    return make_form(claim, instrument, request.POST or None, initial)


def make_form(claim: Claim, instrument: Instrument, data: Any, initial: dict[str, Any]) -> WorkForm:
    if claim.task.kind == Kind.DEMONSTRATE:
        return DemonstrationForm(data, initial=initial, instrument=instrument)
    return RankingForm(data, initial=initial, instrument=instrument, answers=queue.shown_answers(claim))


def _asks_about_twin(claim: Claim, form: WorkForm) -> bool:
    """Send a demonstration back once when it is nearly what somebody wrote before."""
    if not isinstance(form, DemonstrationForm):
        return False
    form.twin = nearest(claim.task.prompt, form.cleaned_data["text"], form.instrument.near_duplicate)
    if form.twin:
        same = "to this very prompt" if form.twin.demonstration.prompt_id == claim.task.prompt_id else "to another one"
        form.ask(
            "twin",
            f"This is {form.twin.similarity:.0%} the same as a demonstration {same}. Two of a kind teach little more "
            "than one. Hand it in all the same?",
        )
    return not form.is_valid()


def _hand_in(claim: Claim, form: WorkForm) -> Demonstration | Comparison:
    key = form.cleaned_data["key"]
    if isinstance(form, RankingForm):
        return submit.submit_ranking(claim, **form.answer(), key=key)
    return submit.submit_demonstration(claim, **form.answer(), key=key)


def _change_instead(request: HttpRequest, claim: Claim, form: WorkForm) -> None:
    """Make another answer under the key of the first one its next version."""
    answer = form.answer()
    answer.pop("draft_of", None)
    try:
        revise(submit.label_of(claim), request.user, **answer)
    except (ValueError, ObjectDoesNotExist) as error:
        messages.warning(request, f"This task has your first answer, and the second was not kept. {error}")
    else:
        messages.success(request, "Your first answer had arrived already. This one is its second version.")


def _acknowledge(request: HttpRequest, claim: Claim, label: Demonstration | Comparison) -> None:
    """Say what became of the answer, with the way back beside it where there is one."""
    undo = reverse("annotation:undo", args=[claim.task.queue.project.slug, claim.pk])
    button = format_html(
        '<button class="button small" form="undo-form" formaction="{}" data-key="u" '
        'aria-keyshortcuts="u">Undo<kbd aria-hidden="true">u</kbd></button>',
        undo,
    )
    told = gold.feedback(claim)
    if told:
        level = messages.success if told.accuracy == 1 else messages.warning
        look = reverse("annotation:comparison", args=[claim.task.queue.project.slug, label.pk])
        why = mark_safe(render_markdown(told.explanation))
        level(request, format_html('<p>{} <a href="{}">Look at it again</a></p>{}', told.text, look, why))
    elif label.surplus:
        messages.warning(
            request,
            "Somebody else had finished this task by the time you sent it. Your answer is kept, but not counted.",
        )
    elif label.seconds is not None and label.seconds < claim.task.queue.min_seconds:
        text = "Saved, after {} seconds. If you did not read it all, take it back and look again. {}"
        messages.warning(request, format_html(text, f"{label.seconds:.1f}", button))
    else:
        messages.success(request, format_html("Saved. {}", button))


def _show(request: HttpRequest, project: Project, claim: Claim, form: WorkForm) -> HttpResponse:
    newest = project.guideline
    context = {
        "project": project,
        "claim": claim,
        "queue": claim.task.queue,
        "prompt": claim.task.prompt,
        "form": form,
        "instrument": form.instrument,
        "is_over": claim.status != Claim.Status.LIVE or claim.expires_at < timezone.now(),
        "newer_guideline": newest if newest and newest.pk != claim.guideline_id else None,
        "waiting": waiting_for([claim.task.queue], request.user).get(claim.task.queue_id, 0),
        "many": MANY,
        "draft": getattr(claim, "draft", None),
        "earlier": earlier_judgements(claim),
        "is_expert": may(request.membership, EXPERTS),
    }
    if claim.task.kind == Kind.DEMONSTRATE:
        template = "annotation/demonstrate.html"
        context["model_answer"] = draft_for(claim.task.prompt, form.instrument)
    else:
        template = "annotation/rank.html"
    return render(request, template, context, status=422 if form.errors else 200)


def label_view(claim: Claim) -> str:
    return "annotation:demonstration" if claim.task.kind == Kind.DEMONSTRATE else "annotation:comparison"


@require_POST
@member_required()
def release(request: HttpRequest, project: Project, claim_id: int) -> HttpResponse:
    """Skip the task: for oneself later, for others, or for nobody until somebody has looked at it."""
    claim = own_claim(request, project, claim_id)
    form = SkipForm(request.POST)
    if not form.is_valid():
        sentence = " ".join(error for errors in form.errors.values() for error in errors)
        messages.error(request, f"Nothing was skipped. {sentence}")
        return redirect("annotation:work", project.slug, claim.pk)
    skip = form.cleaned_data["skip"]
    if not queue.release(claim, reason=form.cleaned_data["reason"], skip=skip):
        messages.info(request, "This task was not yours any more: its time was over or it has your answer.")
        return redirect("annotation:home", project.slug)
    messages.success(request, SKIPPED[skip])
    return next_task(request, claim.task.queue)


SKIPPED = {
    Skip.LATER: "Put off. It comes back to you when nothing else is left.",
    Skip.OTHERS: "Left to others. You will not be asked about it again.",
    Skip.UNUSABLE: "Set aside. Nobody is asked about it until a lead has looked at it.",
}


@require_POST
@member_required()
def undo(request: HttpRequest, project: Project, claim_id: int) -> HttpResponse:
    """Take back what was just handed in; the screen shows it again, to be changed and handed in anew."""
    claim = own_claim(request, project, claim_id)
    try:
        reopen(claim, request.user)
    except ValueError as error:
        messages.error(request, f"This cannot be undone. {error}")
        return redirect("annotation:work", project.slug, claim.pk)
    messages.info(request, "Taken back. It does not count until you hand it in again.")
    return redirect("annotation:work", project.slug, claim.pk)


@require_POST
@member_required()
def pause(request: HttpRequest, project: Project, claim_id: int) -> HttpResponse:
    """Let the clock of the task stand still, or go on."""
    claim = own_claim(request, project, claim_id)
    if not (queue.go_on(claim) if claim.paused_at else queue.pause(claim)):
        messages.info(request, "This task is not yours any more: its time was over or it has your answer.")
    return redirect("annotation:work", project.slug, claim.pk)


@require_http_methods(["GET", "POST"])
@member_required(*EXPERTS)
def failure(request: HttpRequest, project: Project, claim_id: int) -> HttpResponse:
    """File one of the shown answers, `?answer=` its letter, under a failure class."""
    claim = own_claim(request, project, claim_id)
    answer = queue.shown_answers(claim).get(request.GET.get("answer", ""))
    if answer is None:
        raise Http404("This task has no such answer.")
    return file_answer(request, project, answer, claim)
