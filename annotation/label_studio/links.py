"""A queue and its project in Label Studio: linked, unlinked, and which of the queue's places are away."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import timedelta

from django.db import transaction
from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet
from django.utils import timezone

from annotation.journal import record
from annotation.label_studio.client import LabelStudioError, server, why_not_configured
from annotation.models import (
    Kind,
    LabelStudioAnnotation,
    LabelStudioLink,
    LabelStudioTask,
    Queue,
    Slot,
    Task,
    VendorBatch,
    VendorItem,
)
from studio.models import Project, User

KINDS = (Kind.RANK, Kind.REVIEW, Kind.DEMONSTRATE)
SILENCE = timedelta(minutes=5)  # without a heartbeat: whoever was at work has died


def link_queue(queue: Queue, user: User) -> LabelStudioLink:
    """Let a queue be worked on in Label Studio; its tasks go there with the first push.

    Raises ValueError when it cannot be, or is already. A queue that was unlinked goes on with its project there.
    """
    if why := why_not_configured():
        raise LabelStudioError(why)
    if why := why_not_linked(queue):
        raise ValueError(why)
    title = f"{queue.project.name}: {queue.name}"
    with transaction.atomic():
        link, made = LabelStudioLink.objects.get_or_create(
            queue=queue,
            defaults={"project": queue.project, "title": title[:120], "server": server(), "created_by": user},
        )
        if not made:
            if link.server != server():
                raise ValueError(
                    f"Its annotations came from {link.server}, and ids of that server mean nothing to {server()}. "
                    "Put the tasks that are left into a new queue and link that one."
                )
            if LabelStudioLink.objects.filter(pk=link.pk, is_active=False).update(is_active=True) != 1:
                raise ValueError(f"“{queue.name}” is linked already.")
        record(queue.project, user, "linked to Label Studio", queue=queue.name, server=server())
    link.refresh_from_db()
    return link


def why_not_linked(queue: Queue) -> str:
    """A sentence why Label Studio cannot do what this queue asks for; empty when it can."""
    if queue.kind not in KINDS:
        return "Disagreements are settled here, where the judgements that disagree can be seen."
    if queue.skill or queue.people.exists():
        return "It is kept for certain people, which Label Studio's community edition cannot: open it to all first."
    return ""


def linkable(project: Project) -> QuerySet[Queue]:
    """The project's queues that could be linked now and never were."""
    return project.queues.filter(label_studio_link=None, kind__in=KINDS, skill="", people=None)


def unlink(link: LabelStudioLink, user: User) -> int:
    """Bring the queue's places back; returns how many. What was pulled stays, the project there too.

    Raises ValueError while tasks are being sent or annotations fetched, and when it is not linked.
    """
    with transaction.atomic():
        idle = LabelStudioLink.objects.filter(pk=link.pk, is_active=True).filter(_idle())
        if idle.update(is_active=False) != 1:
            raise ValueError("It is at work just now, or not linked any more. Wait a moment, then look again.")
        # As where a place is given back: the tasks' rows are held, so that one taken out meanwhile is seen as such.
        tasks = link.tasks.values("task")
        list(Task.objects.filter(pk__in=tasks).order_by("pk").select_for_update(no_key=True).values_list("pk"))
        away = away_slots(link)
        gone = away.exclude(task__status=Task.Status.OPEN)
        back = Slot.objects.filter(pk__in=list(gone.values_list("pk", flat=True))).update(status=Slot.Status.WITHDRAWN)
        back += away.update(status=Slot.Status.FREE)
        record(link.project, user, "unlinked from Label Studio", queue=link.queue.name, places=back)
    link.refresh_from_db()
    return back


# Places


def away_slots(link: LabelStudioLink, tasks: Iterable[int] | None = None) -> QuerySet[Slot]:
    """Places of the link's tasks that are in Label Studio: away, and not with a vendor."""
    vendors = VendorItem.objects.filter(
        slot=OuterRef("pk"), batch__status__in=[VendorBatch.Status.OUT, VendorBatch.Status.RETURNED]
    )
    sent = link.tasks.values("task") if tasks is None else list(tasks)
    return Slot.objects.filter(~Exists(vendors), task__in=sent, status=Slot.Status.AWAY)


def send_places_away(queue: Queue, tasks: Iterable[int]) -> int:
    """Take the free places of these tasks out of the queue, unless they are kept for somebody here."""
    free = Slot.objects.filter(queue=queue, task__in=list(tasks), status=Slot.Status.FREE, assignee=None, skill="")
    return free.filter(task__status=Task.Status.OPEN).update(status=Slot.Status.AWAY)


def wanted_overlap(link: LabelStudioLink) -> dict[int, int]:
    """For each task id how many annotations Label Studio should gather: its places there, filled or still away."""
    away = away_slots(link).order_by().values_list("task").annotate(n=Count("pk"))
    filled = LabelStudioAnnotation.objects.filter(link=link, claim__slot__isnull=False)
    wanted: Counter[int] = Counter(dict(away))
    wanted.update(dict(filled.order_by().values_list("claim__task").annotate(n=Count("claim", distinct=True))))
    return dict(wanted)


def counts(links: list[LabelStudioLink]) -> dict[int, dict[str, int]]:
    """For each link id: tasks sent, places still away, annotations taken, refused and skipped. Three queries."""
    found = {link.pk: dict.fromkeys(("tasks", "away", "taken", "refused", "skipped"), 0) for link in links}

    def add(name: str, rows: QuerySet) -> None:
        for pk, number in rows:
            found[pk][name] = number

    sent = LabelStudioTask.objects.filter(link__in=links, remote_task__isnull=False)
    add("tasks", sent.order_by().values_list("link").annotate(n=Count("pk")))
    away = Slot.objects.filter(status=Slot.Status.AWAY, task__label_studio_tasks__link__in=links)
    linked = F("task__label_studio_tasks__link")
    add("away", away.order_by().values_list(linked).annotate(n=Count("pk")))
    pulled = LabelStudioAnnotation.objects.filter(link__in=links).order_by().values("link")
    is_label = Q(comparison__isnull=False) | Q(demonstration__isnull=False)
    for row in pulled.annotate(
        taken=Count("pk", filter=is_label),
        skipped=Count("pk", filter=~is_label & Q(claim__isnull=False)),
        refused=Count("pk", filter=~Q(refused="") & Q(deleted=False)),
    ):
        found[row.pop("link")].update(row)
    return found


# One push or pull at a time


def _idle() -> Q:
    return Q(act="") | Q(heartbeat_at__lt=timezone.now() - SILENCE)


def is_busy(link: LabelStudioLink) -> bool:
    """Whether a push or pull is at work, as far as anybody knows."""
    return bool(link.act) and (link.heartbeat_at is None or link.heartbeat_at > timezone.now() - SILENCE)


def why_not_begun(link: LabelStudioLink) -> str:
    """A sentence why no push or pull can begin now; empty when it can."""
    if why := why_not_configured():
        return why
    if not link.is_active:
        return f"“{link.queue.name}” is not linked any more."
    if is_busy(link):
        return f"“{link.queue.name}” is at it already: {link.get_act_display().lower()}."
    return ""


def begin(link: LabelStudioLink, act: str) -> bool:
    """Reserve the link for one push or pull; False when another one is at work, or it is not linked any more."""
    free = LabelStudioLink.objects.filter(pk=link.pk, is_active=True).filter(_idle())
    begun = free.update(act=act, heartbeat_at=timezone.now(), done=0, total=None) == 1
    link.refresh_from_db()
    return begun


def beat(link: LabelStudioLink, done: int, total: int | None = None) -> None:
    """Say how far it is, and that somebody is still at it."""
    LabelStudioLink.objects.filter(pk=link.pk).update(heartbeat_at=timezone.now(), done=done, total=total)


def finish(link: LabelStudioLink, report: dict, **changes) -> None:
    LabelStudioLink.objects.filter(pk=link.pk).update(act="", last_report=report, **changes)
    link.refresh_from_db()
