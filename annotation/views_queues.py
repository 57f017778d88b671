"""Queues as a lead sees them: settings, progress, tasks, and who holds what."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.db.models import Count, Exists, OuterRef, Prefetch, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from annotation import lead
from annotation.forms_queues import QueueForm, TaskActForm
from annotation.models import Claim, Queue, Slot, Task
from annotation.progress import MANY, BoundedCount, progress_of
from studio.access import ENGINEERS, member_required
from studio.models import Project
from studio.web.numbers import whole_number

PAGE = 50
SHOWN = {
    "open": ("Open", Q(status=Task.Status.OPEN)),
    "begun": ("Being worked on", Q(status=Task.Status.OPEN)),
    "held": ("Set aside", Q(status=Task.Status.HELD)),
    "closed": ("Done", Q(status=Task.Status.CLOSED)),
    "withdrawn": ("Taken out", Q(status=Task.Status.WITHDRAWN)),
}


@require_GET
@member_required(*ENGINEERS)
def queues(request: HttpRequest, project: Project) -> HttpResponse:
    """Every queue with how far it is, what is set aside, and how many people it is kept for."""
    held = Task.objects.filter(queue=OuterRef("pk"), status=Task.Status.HELD).order_by()
    found = list(project.queues.annotate(held=BoundedCount(held), kept=Count("people")).order_by("-is_open", "id"))
    places = progress_of(found)
    rows = [{"queue": queue, "places": places[queue.pk]} for queue in found]
    return render(request, "annotation/queues.html", {"project": project, "rows": rows, "many": MANY})


@require_http_methods(["GET", "POST"])
@member_required(*ENGINEERS)
def new_queue(request: HttpRequest, project: Project) -> HttpResponse:
    form = QueueForm(request.POST or None, project=project)
    if request.method == "POST" and form.is_valid():
        try:
            made = lead.create_queue(project, request.user, **form.settings())
        except ValueError as error:
            form.add_error(None, str(error))
        else:
            messages.success(request, f"{made.name} is there. Now put work into it.")
            return redirect("annotation:queue-tasks", project.slug, made.pk)
    return _form(request, project, form)


@require_http_methods(["GET", "POST"])
@member_required(*ENGINEERS)
def queue_settings(request: HttpRequest, project: Project, queue_id: int) -> HttpResponse:
    found = _queue(project, queue_id)
    form = QueueForm(request.POST or None, project=project, instance=found)
    if request.method == "POST" and form.is_valid():
        try:
            lead.change_queue(found, request.user, **form.settings())
        except ValueError as error:
            found.refresh_from_db()
            form.add_error(None, str(error))
        else:
            messages.success(request, "Saved. It counts for whoever takes the next task.")
            return redirect("annotation:queue-tasks", project.slug, found.pk)
    return _form(request, project, form)


def _form(request: HttpRequest, project: Project, form: QueueForm) -> HttpResponse:
    context = {"project": project, "form": form, "queue": form.instance if form.instance.pk else None}
    return render(request, "annotation/queue_settings.html", context, status=422 if form.errors else 200)


@require_GET
@member_required(*ENGINEERS)
def queue_tasks(request: HttpRequest, project: Project, queue_id: int) -> HttpResponse:
    """The tasks of a queue, a page at a time in the order of their ids: a million cost what fifty do."""
    found = _queue(project, queue_id)
    shown = request.GET.get("show", "open")
    shown = shown if shown in SHOWN else "open"
    tasks = list(_tasks(found, shown, whole_number(request.GET.get("after")) or 0)[: PAGE + 1])
    context = {
        "project": project,
        "queue": found,
        "places": progress_of([found])[found.pk],
        "many": MANY,
        "shown": shown,
        "tabs": [(key, title) for key, (title, _) in SHOWN.items()],
        "tasks": tasks[:PAGE],
        "after": tasks[PAGE - 1].pk if len(tasks) > PAGE else None,
        "people": project.memberships.select_related("user").order_by("user__username"),
    }
    return render(request, "annotation/queue_tasks.html", context)


def _tasks(queue: Queue, shown: str, after: int) -> QuerySet[Task]:
    live = Claim.objects.filter(status=Claim.Status.LIVE).select_related("annotator").order_by("id")
    tasks = queue.tasks.filter(SHOWN[shown][1], pk__gt=after).select_related("prompt", "assignee").order_by("pk")
    if shown == "begun":
        tasks = tasks.filter(Exists(live.filter(task=OuterRef("pk"))))
    done = Count("slots", filter=Q(slots__status=Slot.Status.DONE))
    given_back = Claim.objects.exclude(skip="").select_related("annotator").order_by("-id")
    return tasks.annotate(done=done).prefetch_related(
        Prefetch("claims", live, to_attr="held_by"), Prefetch("claims", given_back, to_attr="skips")
    )


@require_POST
@member_required(*ENGINEERS)
def open_queue(request: HttpRequest, project: Project, queue_id: int) -> HttpResponse:
    """Open or close it (`is_open`): from a closed queue nothing more is taken; what was begun may be finished."""
    found = _queue(project, queue_id)
    wanted = request.POST.get("is_open")
    if wanted not in ("0", "1"):
        messages.error(request, "Nothing was changed: say whether the queue is to be open.")
    else:
        lead.change_queue(found, request.user, is_open=wanted == "1")
        messages.success(request, f"{found.name} is {'open' if found.is_open else 'closed'}.")
    return redirect("annotation:queue-tasks", project.slug, found.pk)


@require_POST
@member_required(*ENGINEERS)
def order_queue(request: HttpRequest, project: Project, queue_id: int) -> HttpResponse:
    """Put the waiting tasks into the queue's order: after it was chosen, or when new scores or judgements have come."""
    found = _queue(project, queue_id)
    try:
        ordered = lead.order_queue(found, request.user)
    except ValueError as error:
        messages.error(request, str(error))
    else:
        how_many = "The tasks are many: a worker puts them" if ordered is None else f"{ordered:,} waiting tasks put"
        messages.success(request, f"{how_many} into order: {found.get_order_display().lower()}.")
    return redirect("annotation:queue-tasks", project.slug, found.pk)


@require_POST
@member_required(*ENGINEERS)
def task_act(request: HttpRequest, project: Project, task_id: int) -> HttpResponse:
    """Release a claim, keep the task for somebody, change its priority, put it back or take it out."""
    task = get_object_or_404(Task.objects.select_related("queue__project"), pk=task_id, queue__project=project)
    form = TaskActForm(request.POST, project=project)
    if not form.is_valid():
        messages.error(
            request, "Nothing was changed: " + " ".join(e for errors in form.errors.values() for e in errors)
        )
    else:
        try:
            messages.success(request, _do(task, form.cleaned_data, request))
        except ValueError as error:
            messages.error(request, str(error))
    shown = request.POST.get("show", "open")
    tasks = reverse("annotation:queue-tasks", args=[project.slug, task.queue_id])
    return redirect(f"{tasks}?show={shown if shown in SHOWN else 'open'}")


def _do(task: Task, data: dict[str, Any], request: HttpRequest) -> str:
    """Do it; returns what to tell."""
    act, user = data["act"], request.user
    if act == "release":
        claim = Claim.objects.select_related("task__queue", "annotator").filter(pk=data["claim"], task=task).first()
        if claim is None:
            raise ValueError("This task has no such claim.")
        lead.release_claim(claim, user, data["reason"])
        return f"Released from {claim.annotator.display_name}. The draft is kept, and counts if it is sent after all."
    if act == "assign":
        lead.assign(task, data["person"], user)
        return f"Kept for {data['person'].display_name}." if data["person"] else "Open to all again."
    if act == "priority":
        if data["priority"] is None:
            raise ValueError("Give a priority, a whole number from -1,000 to 1,000.")
        lead.set_priority(task, data["priority"], user)
        return f"Priority {task.priority}."
    if act == "put-back":
        lead.put_back(task, user)
        return "Back in its queue."
    lead.take_out(task, user, data["reason"])
    return "Taken out. What was judged is kept."


def _queue(project: Project, queue_id: int) -> Queue:
    return get_object_or_404(project.queues.select_related("project"), pk=queue_id)
