"""One's own finished work: the list of it, changing a judgement, and what a judgement said before."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods

from annotation.forms_work import DemonstrationForm, RankingForm, WorkForm
from annotation.instrument import instrument_of
from annotation.models import Claim, Comparison, Demonstration, Strength
from annotation.revise import fields_of, revise, why_not_reopened, why_not_revised
from annotation.revisions import Label, history
from annotation.submit import FLAGS
from annotation.views_work import make_form
from studio.access import EXPERTS, may, member_required
from studio.models import Project, User

PAGE = 25
KINDS: dict[str, type[Comparison] | type[Demonstration]] = {"comparison": Comparison, "demonstration": Demonstration}


@require_GET
@member_required()
def mine(request: HttpRequest, project: Project) -> HttpResponse:
    """Everything this person handed in, newest first."""
    done = Claim.objects.filter(annotator=request.user, project=project, status=Claim.Status.SUBMITTED)
    related = ("task__prompt", "task__queue", "guideline", "demonstration", "comparison")
    found = done.select_related(*related).order_by("-finished_at", "-id")
    page = Paginator(found, PAGE).get_page(request.GET.get("page"))
    return render(request, "annotation/mine.html", {"project": project, "page": page})


@require_http_methods(["GET", "POST"])
@member_required()
def change(request: HttpRequest, project: Project, label_id: int, kind: str) -> HttpResponse:
    """The screen on which it was judged, with what was said; saving makes it the judgement's next version."""
    label = _own(project, request.user, label_id, kind)
    back = reverse(f"annotation:{kind}", args=[project.slug, label.pk])
    why = why_not_revised(label, request.user)
    if why:
        messages.error(request, f"This cannot be changed. {why}")
        return redirect(back)
    form = _form(request, label)
    if request.method == "POST" and form.is_valid():
        answer = form.answer()
        answer.pop("draft_of", None)
        try:
            changed = revise(label, request.user, **answer)
        except ValueError as error:
            form.add_error(None, str(error))
        else:
            messages.success(request, "Changed. What it said before is kept." if changed else "Nothing was different.")
            return redirect(back)
    label.claim.guideline = project.guideline  # what it is looked at with now
    context = {
        "project": project, "claim": label.claim, "queue": label.claim.task.queue, "prompt": label.prompt,
        "form": form, "instrument": form.instrument, "editing": label, "back": back,
        "is_expert": may(request.membership, EXPERTS),
    }  # fmt: skip
    template = "annotation/rank.html" if kind == "comparison" else "annotation/demonstrate.html"
    return render(request, template, context, status=422 if form.errors else 200)


def _own(project: Project, user: User, label_id: int, kind: str) -> Any:
    related = ("prompt__project", "claim__task__queue", "claim__task__prompt", "claim__guideline", "annotator")
    related += ("completion", "draft_of") if kind == "demonstration" else ("review",)
    labels = KINDS[kind].objects.select_related(*related)
    return get_object_or_404(labels, pk=label_id, annotator=user, prompt__project=project, claim__isnull=False)


def _form(request: HttpRequest, label: Label) -> WorkForm:
    assert label.claim is not None
    form_class = DemonstrationForm if isinstance(label, Demonstration) else RankingForm
    initial = form_class.initial_from({"fields": fields_of(label)})
    instrument = instrument_of(label.prompt.project)
    return make_form(label.claim, instrument, request.POST or None, initial)


@require_GET
@member_required()
def versions(request: HttpRequest, project: Project, label_id: int, kind: str) -> HttpResponse:
    """What a judgement said, version by version, and what each changed. For its maker and for experts."""
    label = get_object_or_404(KINDS[kind].objects, pk=label_id, prompt__project=project)
    if label.annotator_id != request.user.pk and not may(request.membership, EXPERTS):
        raise PermissionDenied("You may look at your own judgements only.")
    rows = history(label)
    for row in rows:
        row["words"] = in_words(label, row["content"])
    for before, row in zip(rows, rows[1:], strict=False):
        row["before"] = before["words"]
    context = {"project": project, "label": label, "kind": kind, "rows": rows[::-1]}
    return render(request, "annotation/versions.html", context)


def in_words(label: Label, content: dict[str, Any]) -> str:
    """A version of a label as lines of text, to be compared line by line."""
    if isinstance(label, Demonstration):
        reasoning = f"\n\nReasoning:\n{content['reasoning']}" if content["reasoning"] else ""
        return content["text"] + reasoning
    letter = {pk: chr(ord("A") + place) for place, pk in enumerate(label.shown_order)}
    lines = [
        f"Place {number}: {', '.join(sorted(letter[pk] for pk in tier))}"
        for number, tier in enumerate(content["tiers"], 1)
    ]
    if content["unrankable"]:
        lines.append(f"Not rankable: {', '.join(sorted(letter[pk] for pk in content['unrankable']))}")
    if content["strength"]:
        lines.append(f"Strength: {Strength(content['strength']).label}")
    for pk in label.shown_order:
        if rating := content["ratings"].get(str(pk)):
            lines.append(f"{letter[pk]}: quality {rating} of 7")
        lines += [f"{letter[pk]}: {FLAGS.get(name, name)}" for name in content["flags"].get(str(pk), [])]
    return "\n".join([*lines, *(["Why:", content["rationale"]] if content["rationale"] else [])])


def second_thoughts(label: Label, user: User) -> dict[str, bool]:
    """What its maker may still do about a judgement: `may_change`, `may_undo`, or hand in what `is_undone`."""
    if label.annotator_id != user.pk or label.claim is None:
        return {"may_change": False, "may_undo": False, "is_undone": False}
    return {
        "is_undone": label.claim.status == Claim.Status.LIVE,
        "may_change": not why_not_revised(label, user),
        "may_undo": not label.is_withdrawn and not why_not_reopened(label.claim, user),
    }
