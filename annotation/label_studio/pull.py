"""Fetch what people did in Label Studio, and make labels, skips and revisions of it.

Incremental: tasks that changed since the last pull, by the server's own clock, with a minute to spare. Idempotent: an
annotation is known by its id there and the digest of what it says. Each is taken in a transaction of its own; one that
cannot be is kept as it came, with the reason, and tried again at the next pull. Nothing is lost.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.db.models import QuerySet
from django.utils import timezone

from annotation.journal import record
from annotation.label_studio import links
from annotation.label_studio.client import LabelStudioError, newest_update, remote_tasks, server, talking
from annotation.label_studio.formats import TASK_KEY
from annotation.label_studio.people import People
from annotation.label_studio.take import Taken, digest_of, take
from annotation.models import LabelStudioAnnotation, LabelStudioLink, LabelStudioTask
from studio.models import User

if TYPE_CHECKING:
    from label_studio_sdk import LabelStudio

SPARE = timedelta(minutes=1)  # a change that was on its way when the last pull looked
SHOWN = 50  # complaints in a report


def pull(link: LabelStudioLink, user: User | None = None) -> dict[str, Any]:
    """Take in what is new; returns the report, which the link keeps. Raises ValueError when it cannot begin."""
    if not links.begin(link, LabelStudioLink.Act.PULL):
        raise ValueError("Another push or pull of this queue is at work, or it is not linked any more.")
    report: dict[str, Any] = {"act": "pull", "at": timezone.now().isoformat(), "server": server()}
    changes: dict[str, Any] = {}
    try:
        if link.remote_project is None:
            raise LabelStudioError("There is no project there yet: send the tasks first.")
        if link.server != server():
            raise LabelStudioError(f"The queue was linked to {link.server}, but LABEL_STUDIO_URL is {server()} now.")
        with talking() as client:
            until = newest_update(client, link.remote_project)  # what changes from now on comes with the next pull
            puller = _Puller(link, client)
            puller.pull()
            report |= puller.report()
            changes = {"pulled_until": until or link.pulled_until}
    except LabelStudioError as error:
        report["error"] = str(error)
    except Exception as error:
        report["error"] = f"It stopped with {type(error).__name__}: {error}. What was done until then stands."
        raise
    finally:
        links.finish(link, report, **changes)
    if any(report.get(outcome) for outcome in Taken):
        record(
            link.project, user, "pulled from Label Studio", queue=link.queue.name,
            **{outcome: report[outcome] for outcome in Taken if report.get(outcome)},
        )  # fmt: skip
    return report


class _Puller:
    """One pull: what it has counted so far, and whom it has met."""

    def __init__(self, link: LabelStudioLink, client: LabelStudio) -> None:
        self.link = link
        self.client = client
        self.people = People(link.project, client)
        self.counts = dict.fromkeys(Taken, 0)
        self.seen = 0
        self.foreign = 0
        self.deleted: list[int] = []
        self.tried: set[int] = set()

    def pull(self) -> None:
        since = self.link.pulled_until - SPARE if self.link.pulled_until else None
        for page in remote_tasks(self.client, self.link.remote_project, since=since):
            self._take_page(page)
            links.beat(self.link, self.seen)
        self._try_again()

    def _take_page(self, page: list[Any]) -> None:
        keys = {task.id: str((task.data or {}).get(TASK_KEY)) for task in page}
        ids = [int(key) for key in keys.values() if key.isdecimal()]
        ours = {
            each.task_id: each
            for each in self.link.tasks.filter(task__in=ids).select_related("task__prompt", "task__queue")
        }
        known = self._known(page)
        for task in page:
            key = keys[task.id]
            mine = ours.get(int(key)) if key.isdecimal() else None
            if mine is None:
                self.foreign += 1  # made there, not by us
                continue
            for annotation in task.annotations or []:
                self.seen += 1
                self._take(mine, dict(annotation), known.pop(annotation["id"], None))
        for row in known.values():
            self._note_deleted(row)

    def _known(self, page: list[Any]) -> dict[int, LabelStudioAnnotation]:
        """What was pulled of these tasks before, by annotation id."""
        rows = LabelStudioAnnotation.objects.filter(link=self.link, task__remote_task__in=[task.id for task in page])
        return {row.remote_annotation: row for row in rows.select_related("claim", "comparison", "demonstration")}

    def _take(self, mine: LabelStudioTask, annotation: dict[str, Any], row: LabelStudioAnnotation | None) -> None:
        same = row is not None and row.digest == digest_of(annotation) and not row.refused and not row.deleted
        if same or annotation["id"] in self.tried:
            return
        self.tried.add(annotation["id"])
        outcome = take(self.link, mine, annotation, row, self.people)
        if outcome is not None:
            self.counts[outcome] += 1

    def _note_deleted(self, row: LabelStudioAnnotation) -> None:
        """Its label stays: whether it should count is for a person to say."""
        if not row.deleted:
            LabelStudioAnnotation.objects.filter(pk=row.pk).update(deleted=True)
            self.deleted.append(row.remote_annotation)

    def _try_again(self) -> None:
        """What was refused before may be right by now: somebody gave a task back, or the project asks for less."""
        for row in _refused(self.link).select_related(
            "claim", "comparison", "demonstration", "task__task__prompt", "task__task__queue"
        ):
            self._take(row.task, row.raw, row)

    def report(self) -> dict[str, Any]:
        refused = _refused(self.link).select_related("task")
        complaints = [
            {"annotation": row.remote_annotation, "task": row.task.remote_task, "text": row.refused}
            for row in refused.order_by("-id")[:SHOWN]
        ]
        complaints += [
            {"annotation": pk, "text": "It was deleted in Label Studio. Its label stays: withdraw it if it is wrong."}
            for pk in self.deleted[:SHOWN]
        ]
        return {
            **self.counts, "seen": self.seen, "foreign": self.foreign, "deleted": len(self.deleted),
            "waiting": refused.count(), "complaints": complaints, "people": self.people.unknown,
        }  # fmt: skip


def _refused(link: LabelStudioLink) -> QuerySet[LabelStudioAnnotation]:
    """What stands refused now, whichever pull it came with."""
    return LabelStudioAnnotation.objects.filter(link=link, deleted=False).exclude(refused="")
