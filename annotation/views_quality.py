"""The Quality room for leads: people and where they stand, and what each person may see of their own figures."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_POST

from annotation.models import Standing
from annotation.people import Portrait, board, decisions_about, find_person, portrait, trials
from annotation.standing import let_repeat_trial, may_decide_about, set_standing
from annotation.statistics.habits import Habits, differs
from annotation.statistics.intervals import Interval
from annotation.views_journal import facts
from studio.access import ENGINEERS, member_required
from studio.models import Project, User

HABITS = (  # field of Habits, what it is called, what it means, whether less than the others is worth a look, too
    ("longer", "Prefers the longer", "pairs in which the longer answer won", True),
    ("first", "Prefers the first shown", "pairs in which the answer shown first won", True),
    ("ties", "Ties", "pairs that were called equal", True),
    ("unchanged", "Order left as shown", "rankings handed in in the order in which they were shown", False),
    ("hasty", "Hasty", "rankings made much faster than people here do", False),
)
ACTIONS = (  # standing, button, what follows from it
    (Standing.Status.WARNED, "Warn", "They read the reason and go on working."),
    (Standing.Status.PAUSED, "Pause", "They get no work until a lead lets them go on. Their labels stay."),
    (
        Standing.Status.EXCLUDED, "Exclude",
        "They get no work, and their labels leave every dataset that is frozen from now on.",
    ),
    (Standing.Status.ACTIVE, "Reactivate", "They work as before; thresholds count only what follows."),
)  # fmt: skip
GOLD_SHOWN = 30
IMPORTED_SHOWN = 20  # accounts of imported files, of which a tree of thousands of people makes thousands
CHART = 480  # units of a bar chart's width


@require_GET
@member_required(*ENGINEERS)
def people(request: HttpRequest, project: Project) -> HttpResponse:
    found = board(project)
    rows = [{"person": person, "habits": habit_rows(person.habits, found.everybody)} for person in found.people]
    context = {
        "project": project,
        "board": found,
        "rows": rows,
        "everybody": habit_rows(found.everybody, None),
        "imported": found.imported[:IMPORTED_SHOWN],
        "imported_labels": sum(each.labels for each in found.imported),
        "trials": trials(project),
    }
    return render(request, "annotation/quality.html", context)


def habit_rows(habits: Habits, everybody: Habits | None) -> list[dict[str, Any]]:
    """Each habit with its interval, the project's, and whether the two differ in a way that is worth a look."""
    rows = []
    for name, label, help_text, either_way in HABITS:
        own: Interval | None = getattr(habits, name)
        all_of_us: Interval | None = getattr(everybody, name) if everybody else None
        rows.append(
            {
                "name": name, "label": label, "help": help_text, "own": own, "everybody": all_of_us,
                "reference": all_of_us.value if all_of_us else None,
                "differs": differs(own, all_of_us) and (either_way or own.value > all_of_us.value),  # type: ignore[union-attr]
            }
        )  # fmt: skip
    return rows


@require_GET
@member_required(*ENGINEERS)
def person(request: HttpRequest, project: Project, user_id: int) -> HttpResponse:
    user = _find_person(project, user_id)
    found = portrait(project, user)
    theirs = found.person.membership
    is_judged = theirs and may_decide_about(theirs.role, request.membership.role)
    context = {
        "results": found.gold[:GOLD_SHOWN],
        "decisions": [(entry, facts(entry)) for entry in decisions_about(project, user)],
        "actions": [a for a in ACTIONS if a[0] != found.person.standing.status] if is_judged else [],
        "is_lead": True,
        **_portrait_context(project, found),
    }
    return render(request, "annotation/person.html", context)


@require_GET
@member_required()
def me(request: HttpRequest, project: Project) -> HttpResponse:
    """One's own figures: nothing about silent gold, nothing about others but the project's averages."""
    found = portrait(project, request.user, only_told=True)
    return render(request, "annotation/person.html", {"is_lead": False, **_portrait_context(project, found)})


def _portrait_context(project: Project, found: Portrait) -> dict[str, Any]:
    return {
        "project": project,
        "portrait": found,
        "person": found.person,
        "habits": habit_rows(found.person.habits, found.everybody),
        "times": bars(found.times),
        "weeks": bars([(week.start.strftime("%-d %b"), week.labels) for week in found.weeks]),
    }


def bars(counts: list[tuple[str, int]]) -> dict[str, Any]:
    """Geometry of a bar chart in a box of 480 by 110 units: for `annotation/_bars.html`."""
    top = max((n for _, n in counts), default=0) or 1
    each = CHART / max(len(counts), 1)
    drawn = []
    for i, (label, n) in enumerate(counts):
        height = 78 * n / top
        drawn.append(
            {"label": label, "count": n, "x": each * (i + 0.1), "middle": each * (i + 0.5), "width": each * 0.8,
             "height": height, "y": 92 - height, "above": 89 - height}
        )  # fmt: skip
    return {"width": CHART, "drawn": drawn}


def _find_person(project: Project, user_id: int) -> User:
    user = find_person(project, user_id)
    if user is None:
        raise Http404("Nobody with this number belongs to the project or has judged in it.")
    return user


@require_POST
@member_required(*ENGINEERS)
def change_standing(request: HttpRequest, project: Project, user_id: int) -> HttpResponse:
    user = _find_person(project, user_id)
    status, reason = request.POST.get("status", ""), request.POST.get("reason", "")
    try:
        set_standing(project, user, status, reason, request.user)
    except ValueError as error:
        messages.error(request, str(error))
    else:
        messages.success(request, f"{user.display_name} is {Standing.Status(status).label.lower()} now.")
    return redirect("annotation:person", project.slug, user.pk)


@require_POST
@member_required(*ENGINEERS)
def repeat_trial(request: HttpRequest, project: Project, user_id: int, queue_id: int) -> HttpResponse:
    user = _find_person(project, user_id)
    queue = get_object_or_404(project.queues.select_related("project"), pk=queue_id)
    try:
        let_repeat_trial(queue, user, request.user)
    except ValueError as error:
        messages.error(request, str(error))
    else:
        messages.success(request, f"{user.display_name} starts the trial round of '{queue.name}' anew.")
    return redirect("annotation:person", project.slug, user.pk)
