"""What people judged: lists of comparisons and demonstrations, each one in full, and taking one back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from annotation.blindness import hides_models, hides_result
from annotation.forms import containing
from annotation.journal import history_of
from annotation.lineage import datasets_using, models_using
from annotation.models import Comparison, Completion, Demonstration
from annotation.staleness import stale_since
from annotation.standing import is_shut_out
from annotation.submit import FLAGS
from annotation.views_journal import facts
from annotation.views_mine import second_thoughts
from annotation.withdraw import may_withdraw, withdraw
from studio.access import ENGINEERS, EXPERTS, may, member_required
from studio.models import Membership, Project, User
from studio.web.numbers import whole_number

PAGE = 25
STATES = {"standing": "Standing", "withdrawn": "Withdrawn", "surplus": "Not counted"}


@require_GET
@member_required(*EXPERTS)
def comparisons(request: HttpRequest, project: Project) -> HttpResponse:
    related = ("prompt", "annotator", "guideline", "review", "task")
    found = Comparison.objects.filter(prompt__project=project).select_related(*related)
    purpose = request.GET.get("for", "")
    if purpose in ("training", "review"):
        found = found.filter(review__isnull=purpose == "training")
    return _list(request, project, "comparisons", found, {"purpose": purpose})


@require_GET
@member_required(*EXPERTS)
def demonstrations(request: HttpRequest, project: Project) -> HttpResponse:
    related = ("prompt", "annotator", "guideline", "completion")
    found = Demonstration.objects.filter(prompt__project=project).select_related(*related)
    return _list(request, project, "demonstrations", found, {})


def _list(
    request: HttpRequest, project: Project, kind: str, labels: QuerySet[Any], extra: dict[str, Any]
) -> HttpResponse:
    people = User.objects.filter(pk__in=labels.order_by().values("annotator")).order_by("username")
    who, state, text = (request.GET.get(name, "").replace("\0", "").strip() for name in ("by", "state", "q"))
    shown = labels
    if who:
        shown = shown.filter(annotator__username=who)
    if state in STATES:
        shown = shown.filter(surplus=state == "surplus", withdrawn_at__isnull=state != "withdrawn")
    if text:
        shown = containing(shown, "prompt__messages", text)
    dataset, round = (whole_number(request.GET.get(name)) for name in ("dataset", "round"))
    if dataset is not None:
        shown = shown.filter(dataset_items__artifact=dataset).distinct()
    if round is not None and round < 10**8:
        shown = shown.filter(round__number=round)
    page = Paginator(shown.order_by("-id"), PAGE).get_page(request.GET.get("page"))
    for label in page:
        label.words = in_letters(label) if kind == "comparisons" else ""
    context = {
        "project": project, "kind": kind, "page": page, "people": people, "who": who, "state": state, "q": text,
        "states": STATES, "dataset": dataset, "round": round,
        "filtered": bool(who or state or text or dataset or round or extra.get("purpose")),
        "may_queue": may(request.membership, ENGINEERS), **extra,
    }  # fmt: skip
    return render(request, "annotation/labels.html", context)


def in_letters(comparison: Comparison) -> str:
    """The ranking by the letters under which the answers were shown: "B › A = C"."""
    letter = {pk: chr(ord("A") + place) for place, pk in enumerate(comparison.shown_order)}
    words = " › ".join(" = ".join(sorted(letter[pk] for pk in tier)) for tier in comparison.tiers)
    left_out = ", ".join(sorted(letter[pk] for pk in comparison.unrankable))
    return f"{words or 'none'} ({left_out} not rankable)" if left_out else words


@dataclass(frozen=True)
class JudgedAnswer:
    letter: str
    completion: Completion
    place: int | None  # 1 is best; None where it was not rankable
    rating: int | None
    flags: list[str]


@require_GET
@member_required()
def comparison(request: HttpRequest, project: Project, label_id: int) -> HttpResponse:
    """One ranking, answers in the order in which they were shown. Everybody sees their own, experts all."""
    related = ("prompt", "annotator", "guideline", "review", "round", "withdrawn_by", "task__queue", "task__gold")
    related += ("claim__task__queue", "claim__task__review")
    label = _find(request.membership, Comparison.objects.select_related(*related), label_id)
    hidden = hides_models(request.membership, label.prompt) or bool(
        label.review and hides_result(request.membership, label.review)
    )
    context = {"answers": _judged(label), "shows_models": not hidden, "words": in_letters(label)}
    return _detail(request, project, label, context)


def _judged(comparison: Comparison) -> list[JudgedAnswer]:
    found = {c.pk: c for c in comparison.completions.select_related("model", "author")}
    places = {pk: number for number, tier in enumerate(comparison.tiers, 1) for pk in tier}
    return [
        JudgedAnswer(
            letter=chr(ord("A") + position),
            completion=found[pk],
            place=places.get(pk),
            rating=comparison.ratings.get(str(pk)),
            flags=[FLAGS.get(name, name) for name in comparison.flags.get(str(pk), [])],
        )
        for position, pk in enumerate(comparison.shown_order)
    ]


@require_GET
@member_required()
def demonstration(request: HttpRequest, project: Project, label_id: int) -> HttpResponse:
    related = ("prompt", "annotator", "guideline", "round", "withdrawn_by", "completion", "claim__task__queue")
    label = _find(request.membership, Demonstration.objects.select_related(*related), label_id)
    return _detail(request, project, label, {})


def _find(membership: Membership, labels: QuerySet[Any], label_id: int) -> Any:
    labels = labels.annotate(is_shut_out=is_shut_out(membership.project), stale_since=stale_since())
    label = get_object_or_404(labels, pk=label_id, prompt__project=membership.project)
    if label.annotator_id != membership.user_id and not may(membership, EXPERTS):
        raise PermissionDenied("You may look at your own judgements only.")
    return label


def _detail(request: HttpRequest, project: Project, label: Any, extra: dict[str, Any]) -> HttpResponse:
    expert = may(request.membership, EXPERTS)
    context = {
        "project": project,
        "label": label,
        "kind": label._meta.model_name,
        "is_expert": expert,
        "is_lead": may(request.membership, ENGINEERS),
        "may_withdraw": may_withdraw(request.membership, label) and not label.is_withdrawn,
        "datasets": datasets_using(label) if expert else [],
        "models": models_using(label) if expert else [],
        "is_shut_out": label.is_shut_out,
        "stale_since": label.stale_since,
        **_history(request.membership, label),
        **second_thoughts(label, request.user),
        **extra,
    }
    return render(request, f"annotation/{context['kind']}.html", context)


def _history(membership: Membership, label: Any) -> dict[str, Any]:
    """What the journal says of the label: all of it to experts, to its maker what they did themselves."""
    found = history_of(label)
    if not may(membership, EXPERTS):
        found = found.filter(actor=membership.user)
    entries = list(found)
    for entry in entries:
        entry.facts = facts(entry)
    journal_url = ""
    if may(membership, ENGINEERS):
        page = reverse("annotation:journal", args=[membership.project.slug])
        journal_url = f"{page}?subject={label._meta.model_name}&number={label.pk}"
    return {"history": entries, "journal_url": journal_url}


def _withdraw_view(model: type[Comparison] | type[Demonstration]) -> Callable[..., HttpResponse]:
    @require_POST
    @member_required()
    def withdraw_label(request: HttpRequest, project: Project, label_id: int) -> HttpResponse:
        label = _find(request.membership, model.objects.select_related("prompt"), label_id)
        if not may_withdraw(request.membership, label):
            raise PermissionDenied("Only who made a judgement and engineers may withdraw it.")
        try:
            withdraw(label, request.user, request.POST.get("reason", "").replace("\0", ""))
        except ValueError as error:
            messages.error(request, str(error))
        else:
            messages.success(request, "Withdrawn. It stays readable and leaves every dataset frozen from now on.")
        return redirect(f"annotation:{model._meta.model_name}", project.slug, label.pk)

    return withdraw_label


withdraw_comparison = _withdraw_view(Comparison)
withdraw_demonstration = _withdraw_view(Demonstration)
