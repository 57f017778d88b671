"""Labels that want a second look: the list, and what a lead decides about one."""

from __future__ import annotations

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from annotation import second_looks
from annotation.models import Comparison, Task
from annotation.views_labels import in_letters
from studio.access import ENGINEERS, member_required
from studio.models import Project

PAGE = 20
ACTS = {  # what is done, and what is said then
    "done": (second_looks.mark_done, "It stands: looked at, and written into the journal."),
    "settle": (second_looks.send_on, "Sent to adjudication: somebody else will settle it."),
    "withdraw": (second_looks.take_out, "Withdrawn. It stays readable and leaves every dataset frozen from now on."),
}


@require_GET
@member_required(*ENGINEERS)
def looks(request: HttpRequest, project: Project) -> HttpResponse:
    """Those that wait, newest first; with `?show=done` those that had theirs."""
    done = request.GET.get("show") == "done"
    page = Paginator(second_looks.flagged(project, done=done), PAGE).get_page(request.GET.get("page"))
    labels = second_looks.look_up(list(page))
    tasks = [label.task_id for label in labels if isinstance(label, Comparison) and label.task_id]
    settled = set(
        Task.objects.filter(adjudicates__in=tasks)
        .exclude(status=Task.Status.WITHDRAWN)
        .values_list("adjudicates", flat=True)
    )
    rows = [
        {
            "label": label,
            "kind": label._meta.model_name,
            "words": in_letters(label) if isinstance(label, Comparison) else label.completion.text,
            "may_settle": second_looks.may_be_settled(label) and label.task_id not in settled,
        }
        for label in labels
    ]
    context = {"project": project, "page": page, "rows": rows, "done": done}
    return render(request, "annotation/second_looks.html", context)


@require_POST
@member_required(*ENGINEERS)
def look(request: HttpRequest, project: Project, kind: str, label_id: int) -> HttpResponse:
    """Decide about one label: `act` is done, settle or withdraw, with a `note`."""
    if kind not in second_looks.KINDS:
        raise Http404(f"There are no labels of the kind '{kind}'.")
    labels = second_looks.KINDS[kind].objects.select_related("prompt__project")
    if kind == "comparison":
        labels = labels.select_related("task__queue")
    label = get_object_or_404(labels, pk=label_id, prompt__project=project)
    act, said = ACTS.get(request.POST.get("act", ""), (None, ""))
    try:
        if act is None:
            raise ValueError("Choose what to do: let it stand, send it to adjudication, or withdraw it.")
        act(label, request.user, request.POST.get("note", ""))
    except ValueError as error:
        messages.error(request, str(error))
    else:
        messages.success(request, said)
    return redirect(reverse("annotation:second-looks", args=[project.slug]))
