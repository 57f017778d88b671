"""Where people disagree, and sending it to somebody who settles it."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from annotation.models import Kind, Slot, TaskCompletion
from annotation.settling import (
    WINDOW,
    Dispute,
    Measured,
    disputes,
    judged_tasks,
    measure,
    send_to_adjudication,
    slices,
    words_of,
)
from studio.access import ENGINEERS, member_required
from studio.models import Project
from studio.web.numbers import whole_number

PAGE = 20
SHOWN = {"": "To be settled", "sent": "Sent or settled", "all": "All"}
SLICES = 12


@require_http_methods(["GET", "POST"])
@member_required(*ENGINEERS)
def disagreements(request: HttpRequest, project: Project) -> HttpResponse:
    """The most disputed tasks first; the form sends the chosen ones to adjudication."""
    if request.method == "POST":
        _send(request, project)
        return redirect(request.get_full_path())
    before = whole_number(request.GET.get("before"))
    tasks = judged_tasks(project, before)
    measured = measure(tasks)
    disputed = [m for m in measured if m.value > 0]
    wanted, state = request.GET.get("slice", ""), request.GET.get("show", "")
    chosen = [m for m in disputed if _fits(m, wanted, state)]
    page = Paginator(chosen, PAGE).get_page(request.GET.get("page"))
    by_slice = slices(measured)
    context = {
        "project": project,
        "page": page,
        "rows": _rows(disputes(list(page))),
        "slices": by_slice[:SLICES],
        "clusters": sorted(s.cluster for s in by_slice),
        "slice": wanted,
        "show": state if state in SHOWN else "",
        "states": SHOWN,
        "tasks": len(tasks),
        "disputed": len(disputed),
        "older": tasks[-1] if len(tasks) == WINDOW else None,
        "before": before,
        "waiting": _waiting(project),
    }
    return render(request, "annotation/disagreements.html", context)


def _fits(found: Measured, wanted: str, state: str) -> bool:
    """`wanted` is "=" and the cluster ("=": those without one); empty: every slice."""
    if wanted and found.cluster != wanted.removeprefix("="):
        return False
    return state == "all" or found.is_sent == (state == "sent")


def _rows(found: list[Dispute]) -> list[dict[str, Any]]:
    """Each dispute with its rankings in the letters of the task's own order, whoever was shown what."""
    positions = TaskCompletion.objects.filter(task__in=[d.task.pk for d in found])
    letters: dict[int, dict[int, str]] = {}
    for task, completion, position in positions.values_list("task", "completion", "position"):
        letters.setdefault(task, {})[completion] = chr(ord("A") + position)
    rows = []
    for dispute in found:
        letter = letters.get(dispute.task.pk, {})
        settled = dispute.settled
        rows.append(
            {
                "dispute": dispute,
                "rankings": [(c, words_of(c, letter)) for c in dispute.judgements],
                "settled": (settled, words_of(settled, letter)) if settled else None,
            }
        )
    return rows


def _waiting(project: Project) -> list[Any]:
    """Queues of adjudication with how many tasks wait in them."""
    free = Q(slots__status__in=[Slot.Status.FREE, Slot.Status.CLAIMED])
    return list(project.queues.filter(kind=Kind.ADJUDICATE).annotate(waiting=Count("slots", filter=free)))


def _send(request: HttpRequest, project: Project) -> None:
    tasks = [task for text in request.POST.getlist("task") if (task := whole_number(text)) is not None]
    try:
        made = send_to_adjudication(project, tasks, request.user)
    except ValueError as error:
        messages.error(request, str(error))
    else:
        noun = "task waits" if len(made) == 1 else "tasks wait"
        messages.success(request, f"{len(made)} {noun} for somebody who has not judged them.")
