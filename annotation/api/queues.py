"""What leads do: queues, the tasks in them, and who works on them."""

from __future__ import annotations

from typing import Any, Literal

from django.db import transaction
from django.http import HttpRequest
from ninja import Query, Router

from annotation import lead
from annotation.api.auth import MANAGE, READ, find, member, named
from annotation.api.schemas.queues import (
    LeadReleaseIn,
    QueueIn,
    QueuePatch,
    QueueSettings,
    QueueState,
    TaskOut,
    TaskPage,
    TaskPatch,
    TasksIn,
)
from annotation.api.schemas.shared import REFUSED, PageIn, Text
from annotation.api.work import find_queue
from annotation.models import Claim, Completion, Prompt, Queue, Task
from annotation.progress import progress_of
from annotation.tasks import add_tasks
from studio.access import ENGINEERS
from studio.models import Project, User

router = Router(tags=["queues"])


@router.post("/projects/{slug}/queues", auth=MANAGE, response={201: QueueState, **REFUSED})
def create_queue(request: HttpRequest, slug: Text, body: QueueIn) -> Any:
    """A new queue."""
    project = member(request, slug, ENGINEERS).project
    return 201, state(lead.create_queue(project, request.user, **_settings(project, body)))


@router.get("/queues/{queue_id}", auth=READ, response={200: QueueState, **REFUSED})
def show_queue(request: HttpRequest, queue_id: int) -> Any:
    """A queue with its settings, and its places by status, each counted to 1,001."""
    return state(_queue(request, queue_id))


@router.patch("/queues/{queue_id}", auth=MANAGE, response={200: QueueState, **REFUSED})
def change_queue(request: HttpRequest, queue_id: int, body: QueuePatch) -> Any:
    """Change the settings that are given; others stay."""
    found = _queue(request, queue_id)
    return state(lead.change_queue(found, request.user, **_settings(found.project, body, only_given=True)))


@router.post("/queues/{queue_id}/tasks", auth=MANAGE, response={201: list[TaskOut], **REFUSED})
def add_work(request: HttpRequest, queue_id: int, body: TasksIn) -> Any:
    """Put work into a queue, all or none."""
    found = _queue(request, queue_id)
    prompts = Prompt.objects.filter(project=found.project).in_bulk([w.prompt for w in body.work])
    wanted = {pk for w in body.work for pk in w.completions}
    completions = Completion.objects.filter(prompt__project=found.project).in_bulk(wanted)
    if missing := {w.prompt for w in body.work} - prompts.keys():
        raise ValueError(f"This project has no prompt {min(missing)}.")
    if missing := wanted - completions.keys():
        raise ValueError(f"This project has no completion {min(missing)}.")
    made = add_tasks(
        found,
        [(prompts[w.prompt], [completions[pk] for pk in w.completions]) for w in body.work],
        overlap=body.overlap,
        priority=body.priority,
        skill=body.skill,
        assignee=find_member(found.project, body.assignee) if body.assignee else None,
    )
    return 201, [TaskOut.of(task) for task in made]


@router.get("/queues/{queue_id}/tasks", auth=READ, response={200: TaskPage, **REFUSED})
def list_tasks(
    request: HttpRequest,
    queue_id: int,
    page: Query[PageIn],
    status: Literal["", "open", "closed", "held", "withdrawn"] = "",
) -> Any:
    """The tasks of a queue in the order of their ids, in pages."""
    tasks = _queue(request, queue_id).tasks.select_related("assignee")
    found, after = page.cut(tasks.filter(status=status) if status else tasks)
    return {"items": [TaskOut.of(task) for task in found], "next": after}


@router.patch("/tasks/{task_id}", auth=MANAGE, response={200: TaskOut, **REFUSED})
def change_task(request: HttpRequest, task_id: int, body: TaskPatch) -> Any:
    """Its priority, for whom a place is kept, and whether it is to be judged at all; all that is given, or none."""
    task = _task(request, task_id)
    with transaction.atomic():
        if body.status == "open":
            lead.put_back(task, request.user)
        if body.assignee is not None:
            person = find_member(task.queue.project, body.assignee) if body.assignee else None
            lead.assign(task, person, request.user)
        if body.priority is not None:
            lead.set_priority(task, body.priority, request.user)
        if body.status == "withdrawn":
            lead.take_out(task, request.user, body.reason)
    task.refresh_from_db()
    return TaskOut.of(task)


@router.post("/tasks/{task_id}/release", auth=MANAGE, response={204: None, **REFUSED})
def release_task(request: HttpRequest, task_id: int, body: LeadReleaseIn) -> Any:
    """Take back what somebody holds; their draft stays, and counts when they send it after all."""
    task = _task(request, task_id)
    claim = Claim.objects.filter(task=task, annotator__username=body.person, status=Claim.Status.LIVE)
    held = claim.select_related("task__queue", "annotator").first()
    if held is None:
        raise ValueError(f"{body.person} does not hold this task.")
    lead.release_claim(held, request.user, body.reason)
    return 204, None


def state(queue: Queue) -> QueueState:
    return QueueState.of(queue, progress_of([queue])[queue.pk])


def _queue(request: HttpRequest, queue_id: int) -> Queue:
    found = find_queue(request, queue_id)
    member(request, found.project, ENGINEERS)
    return found


def _task(request: HttpRequest, task_id: int) -> Task:
    return find(request, Task.objects.select_related("assignee"), task_id, "queue__project", ENGINEERS)[0]


def find_member(project: Project, username: str) -> User:
    """Raises ValueError: a name in a body is bad input."""
    found = User.objects.filter(username=username, projects=project).first()
    if found is None:
        raise ValueError(f"{username} is not a member of this project.")
    return found


def _settings(project: Project, body: QueueSettings, *, only_given: bool = False) -> dict[str, Any]:
    given = body.dict(exclude_unset=only_given)
    if "people" in given:
        given["people"] = [find_member(project, name) for name in given["people"]]
    if given.get("reward_model") is not None:
        reward_models = project.artifacts.filter(kind="reward_model")
        given["reward_model"] = named(reward_models, given["reward_model"], "reward model")
    return given
