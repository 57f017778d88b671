"""Send a queue's tasks to Label Studio: a project with the right configuration, and in it what it lacks.

Sent again, it adds only what is missing: our id in a task's data says what is there. First our places go away, then the
tasks go out; when the connection breaks between the two, the next push goes on from there.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from django.db.models import Count, Max, Min
from django.utils import timezone

from annotation.instrument import instrument_of
from annotation.journal import record
from annotation.label_studio import links
from annotation.label_studio.client import LabelStudioError, remote_tasks, server, talking
from annotation.label_studio.formats import (
    TASK_KEY,
    Asked,
    demonstration_config,
    pairwise_config,
    ranking_config,
    task_data,
)
from annotation.models import (
    Completion,
    Kind,
    LabelStudioLink,
    LabelStudioTask,
    Prompt,
    Slot,
    Task,
    TaskCompletion,
)
from annotation.tasks import batched
from studio.models import User
from studio.web.markdown import render_markdown

if TYPE_CHECKING:
    from label_studio_sdk import LabelStudio

TITLE = 50  # characters of a title there, 3 at least
IMPORT = 200  # tasks a request
IMPORT_SECONDS = 60  # for a server that imports in the background


def push(link: LabelStudioLink, user: User | None) -> dict[str, Any]:
    """Send what is not there yet; returns the report, which the link keeps. Raises ValueError when it cannot begin."""
    if not links.begin(link, LabelStudioLink.Act.PUSH):
        raise ValueError("Another push or pull of this queue is at work, or it is not linked any more.")
    report: dict[str, Any] = {"act": "push", "at": timezone.now().isoformat(), "server": server(), "complaints": []}
    changes: dict[str, Any] = {}
    try:
        if link.server != server():
            raise LabelStudioError(f"The queue was linked to {link.server}, but LABEL_STUDIO_URL is {server()} now.")
        report["places"] = _reserve(link)
        with talking() as client:
            changes = {"remote_project": _ensure_project(client, link, report), "guideline": link.project.guideline}
            link.remote_project = changes["remote_project"]
            report |= _send(client, link)
    except LabelStudioError as error:
        report["error"] = str(error)
    except Exception as error:
        report["error"] = f"It stopped with {type(error).__name__}: {error}. What was done until then stands."
        raise
    finally:
        links.finish(link, report, **changes)
    record(
        link.project, user, "sent to Label Studio", queue=link.queue.name,
        **{k: report[k] for k in ("places", "sent", "error") if k in report},
    )  # fmt: skip
    return report


def _reserve(link: LabelStudioLink) -> int:
    """Take the places away and give each task the order in which its answers are shown. Gold items stay here."""
    places = 0
    open_tasks = Task.objects.filter(queue=link.queue, status=Task.Status.OPEN, gold=None)
    waiting = open_tasks.filter(
        slots__status=Slot.Status.FREE, slots__assignee=None, slots__skill=""
    ).distinct()  # fmt: skip
    for ids in batched(list(waiting.order_by("pk").values_list("pk", flat=True))):
        answers: dict[int, list[int]] = {pk: [] for pk in ids}
        for task, completion in TaskCompletion.objects.filter(task__in=ids).values_list("task", "completion"):
            answers[task].append(completion)
        for shown in answers.values():
            random.shuffle(shown)
        LabelStudioTask.objects.bulk_create(
            [LabelStudioTask(link=link, task_id=pk, shown_order=shown) for pk, shown in answers.items()],
            ignore_conflicts=True,
        )
        places += links.send_places_away(link.queue, ids)
    return places


# The project there


def _ensure_project(client: LabelStudio, link: LabelStudioLink, report: dict[str, Any]) -> int:
    """The project's id there, made when there is none (any more), with today's configuration and guidelines."""
    from label_studio_sdk.core.api_error import ApiError

    wanted = _project_settings(link)
    if link.remote_project is not None:
        try:
            client.projects.update(link.remote_project, **wanted)
            return link.remote_project
        except ApiError as error:
            if error.status_code != 404:
                raise
            report["complaints"].append(
                {"text": f"Project {link.remote_project} was deleted there; what is left to do went into a new one."}
            )
            link.tasks.update(remote_task=None)
    made = client.projects.create(title=_title(link), **wanted)
    return made.id


def _title(link: LabelStudioLink) -> str:
    return link.title[:TITLE].strip().ljust(3, ".")


def _project_settings(link: LabelStudioLink) -> dict[str, Any]:
    guideline = link.project.guideline
    wanted = links.wanted_overlap(link)
    return {
        "label_config": label_config(link),
        "maximum_annotations": max(wanted.values(), default=1) or 1,
        "expert_instruction": render_markdown(guideline.text) if guideline else "",
        "show_instruction": guideline is not None,
        "show_skip_button": True,
    }


def label_config(link: LabelStudioLink) -> str:
    """What the queue's tasks need: pairwise where all have two answers, else as many places as the largest has."""
    tasks = Task.objects.filter(label_studio_tasks__link=link)
    prompts = Prompt.objects.filter(tasks__label_studio_tasks__link=link)
    dialogue = any(len(messages) > 1 for messages in prompts.values_list("messages", flat=True).iterator())
    asked = _asked(link)
    if link.queue.kind == Kind.DEMONSTRATE:
        return demonstration_config(asked, dialogue=dialogue)
    sizes = tasks.annotate(n=Count("offered")).aggregate(least=Min("n"), most=Max("n"))
    if not sizes["most"]:
        raise LabelStudioError("There is no task to send: the queue has no free place. Queue more work first.")
    if sizes["least"] == sizes["most"] == 2:
        return pairwise_config(asked, dialogue=dialogue)
    return ranking_config(sizes["most"], asked, dialogue=dialogue)


def _asked(link: LabelStudioLink) -> Asked:
    instrument = instrument_of(link.project)
    return Asked(
        ties=instrument.ties, unrankable=instrument.unrankable, strength=instrument.strength,
        ratings=instrument.ratings, rationale=instrument.rationale, reasoning=instrument.reasoning,
    )  # fmt: skip


# Its tasks

There = dict[int, tuple[int, int]]  # our task's id: the id there, and how many judgements are asked for there


def _send(client: LabelStudio, link: LabelStudioLink) -> dict[str, int]:
    there = _reconcile(client, link)
    known = len(there)
    missing = list(link.tasks.filter(remote_task=None).order_by("pk").values_list("pk", flat=True))
    for number, ids in enumerate(batched(missing, IMPORT), start=1):
        rows = [{"data": data} for data in _data(ids)]
        client.projects.import_tasks(link.remote_project, request=rows, return_task_ids=True)
        links.beat(link, min(number * IMPORT, len(missing)), len(missing))
    if missing:
        there = _wait_for_import(client, link)
    return {"known": known, "sent": len(missing), "adjusted": _set_overlap(client, link, there)}


def _data(ids: Sequence[int]) -> Iterator[dict[str, Any]]:
    chosen = list(LabelStudioTask.objects.filter(pk__in=ids).select_related("task__prompt").order_by("pk"))
    texts = Completion.objects.in_bulk({pk for each in chosen for pk in each.shown_order})
    for each in chosen:
        answers = [texts[pk].text for pk in each.shown_order]
        yield task_data(str(each.task_id), each.task.prompt.messages, answers)


def _wait_for_import(client: LabelStudio, link: LabelStudioLink) -> There:
    """A server with background jobs answers before it has imported."""
    deadline = time.monotonic() + IMPORT_SECONDS
    while True:
        there = _reconcile(client, link)
        left = link.tasks.filter(remote_task=None).count()
        if not left:
            return there
        if time.monotonic() > deadline:
            raise LabelStudioError(
                f"Label Studio has not imported {left} tasks yet. Push again in a few minutes: what is there by then "
                "is not sent twice."
            )
        time.sleep(2)


def _reconcile(client: LabelStudio, link: LabelStudioLink) -> There:
    """Note which tasks are in the project there. One that was deleted there counts as not sent."""
    assert link.remote_project is not None
    ours = {task: (pk, remote) for pk, task, remote in link.tasks.values_list("pk", "task", "remote_task")}
    there: There = {}
    for page in remote_tasks(client, link.remote_project, annotations=False):
        for task in page:
            key = str((task.data or {}).get(TASK_KEY))
            if key.isdecimal() and int(key) in ours:
                there[int(key)] = (task.id, task.overlap or 1)
        links.beat(link, len(there), len(ours))
    changed = [
        LabelStudioTask(pk=pk, remote_task=there[task][0] if task in there else None)
        for task, (pk, remote) in ours.items()
        if remote != (there[task][0] if task in there else None)
    ]
    LabelStudioTask.objects.bulk_update(changed, ["remote_task"], batch_size=500)
    return there


def _set_overlap(client: LabelStudio, link: LabelStudioLink, there: There) -> int:
    """Tasks of which fewer (or more) judgements are wanted than the project asks for are told one by one."""
    adjusted = 0
    for task, number in links.wanted_overlap(link).items():
        remote, asked = there.get(task, (0, number))
        if asked != number:
            client.tasks.update(str(remote), overlap=number)
            adjusted += 1
            links.beat(link, adjusted)
    return adjusted
