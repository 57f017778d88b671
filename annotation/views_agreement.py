"""How far people agree: in all, over time, by part, person and item."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from annotation.agreement import SHOWN, Item, ProjectAgreement, agreement_of
from annotation.agreement_chart import chart_of
from annotation.forms_agreement import AgreementFilterForm
from annotation.models import Prompt
from studio.access import ENGINEERS, member_required
from studio.models import Project

ITEMS = 25
PEOPLE = 50


@require_GET
@member_required(*ENGINEERS)
def agreement(request: HttpRequest, project: Project) -> HttpResponse:
    form = AgreementFilterForm(project, request.GET or None)
    valid = not form.is_bound or form.is_valid()
    chosen = form.cleaned_data if form.is_bound and valid else {"queue": None, "days": None}
    queue = chosen["queue"]
    found = agreement_of(project, queue=queue.pk if queue else None, days=chosen["days"])
    context = {
        "project": project, "form": form, "found": found, "chart": chart_of(found.periods), "parts": _parts(found),
        "annotators": found.annotators[:PEOPLE], "pairs": found.pairs[:PEOPLE], "most": PEOPLE, "listed": SHOWN,
        "items": _with_prompts(found.items[:ITEMS]), "filtered": bool(queue or chosen["days"]),
    }  # fmt: skip
    return render(request, "annotation/agreement.html", context, status=200 if valid else 422)


def _parts(found: ProjectAgreement) -> list[dict[str, Any]]:
    """The tables of parts; one that has a single row says nothing beyond the figures in all."""
    tables = [
        ("cluster", "By task cluster", "Task cluster", found.clusters),
        ("queue", "By queue", "Queue", found.queues),
        ("guideline", "By guideline version", "Guidelines", found.guidelines),
    ]
    return [{"key": k, "title": t, "column": c, "rows": rows} for k, t, c, rows in tables if len(rows) > 1]


def _with_prompts(items: list[Item]) -> list[dict[str, Any]]:
    prompts = Prompt.everything.in_bulk({item.prompt for item in items})
    return [{"item": item, "prompt": prompts[item.prompt]} for item in items if item.prompt in prompts]
