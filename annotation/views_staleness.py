"""The labels that newer guidelines made stale, and asking for them again."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from annotation import staleness
from annotation.forms_trust import RepeatStaleForm
from studio.access import ENGINEERS, member_required
from studio.models import Project


@require_http_methods(["GET", "POST"])
@member_required(*ENGINEERS)
def stale(request: HttpRequest, project: Project) -> HttpResponse:
    """Stale labels by version, kind and queue; the form asks for those of the chosen groups again."""
    guideline = staleness.decisive_version(project)
    groups = staleness.stale_groups(project, guideline) if guideline else []
    form = RepeatStaleForm(request.POST or None, project=project, groups=groups)
    if request.method == "POST":
        if guideline is None:
            form.add_error(None, "There are no guidelines yet, so nothing can be stale.")
        elif form.is_valid():
            data = form.cleaned_data
            try:
                labels, tasks = staleness.ask_again(
                    project, guideline, data["groups"], request.user,
                    queue=data["queue"], same_people=data["people"] == "same",
                )  # fmt: skip
            except ValueError as error:
                form.add_error(None, str(error))
            else:
                messages.success(request, _said(labels, tasks))
                return redirect("annotation:stale", project.slug)
    context = {
        "project": project, "guideline": guideline, "groups": groups, "form": form,
        "chosen": form.data.getlist("groups") if form.is_bound else [],
        "labels": sum(group.labels for group in groups), "waiting": sum(group.waiting for group in groups),
    }  # fmt: skip
    return render(request, "annotation/stale.html", context, status=422 if form.errors else 200)


def _said(labels: int, tasks: int) -> str:
    more = " The rest can be asked for as soon as you choose them again." if labels >= staleness.AT_ONCE * 0.9 else ""
    words = f"{labels:,} label{'' if labels == 1 else 's'}"
    return f"{words} will be asked for again, in {tasks:,} task{'' if tasks == 1 else 's'}.{more}"
