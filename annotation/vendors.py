"""Work for people outside: places of a queue's tasks go to a vendor as a file, with gold items mixed in.

A place that is away is offered to nobody here. What comes back, and what is decided about it, is `annotation.returns`.
"""

from __future__ import annotations

import json
import random
import secrets
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Count, QuerySet

from annotation import journal
from annotation.instrument import instrument_of
from annotation.models import Completion, Gold, Kind, Prompt, Queue, Slot, Task, VendorBatch, VendorItem
from annotation.queue import GONE
from annotation.submit import FLAGS
from studio.models import Guideline, Project, User

Status = VendorBatch.Status
MOST_PLACES = 20_000
LARGEST_GOLD_RATE = 0.5
FORMAT = "studio-vendor-1"
KINDS = (Kind.RANK, Kind.DEMONSTRATE, Kind.REVIEW)
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def hand_over(
    queue: Queue, vendor: str, name: str, places: int, user: User, *, per_task: int = 1, gold_rate: float = 0.1
) -> VendorBatch:
    """Send `places` free places of the queue away, at most `per_task` of one task, the first in line first.

    `gold_rate` is the share of gold items in the file, 0 to 0.5, as far as the queue has so many. Raises ValueError.
    """
    vendor, name = vendor.strip(), name.strip()
    if not 1 <= len(vendor) <= 80 or not 1 <= len(name) <= 120:
        raise ValueError("Say who the vendor is, and give the batch a name.")
    if queue.kind not in KINDS:
        raise ValueError("Settling disagreements is not handed out: choose a queue of rankings or demonstrations.")
    if not 1 <= places <= MOST_PLACES:
        raise ValueError(f"A batch has 1 to {MOST_PLACES:,} places.")
    if not 0 <= gold_rate <= LARGEST_GOLD_RATE:
        raise ValueError(f"The share of gold items is between 0 and {LARGEST_GOLD_RATE:g}.")
    try:
        with transaction.atomic():
            return _hand_over(queue, vendor, name, places, user, per_task, gold_rate)
    except IntegrityError as error:
        raise ValueError(f"There is a batch called “{name}” for {vendor} already: choose another name.") from error


def _hand_over(
    queue: Queue, vendor: str, name: str, places: int, user: User, per_task: int, gold_rate: float
) -> VendorBatch:
    slots = _take_places(queue, places, per_task)
    if not slots:
        raise ValueError(f"“{queue.name}” has no free place that is open to everybody.")
    gold = _pick_gold(queue, round(len(slots) * gold_rate / (1 - gold_rate)), [slot.task_id for slot in slots])
    guideline = queue.project.guideline
    batch = VendorBatch.objects.create(
        project=queue.project, queue=queue, vendor=vendor, name=name, created_by=user,
        report={"handed": {"places": len(slots), "gold": len(gold), "guideline": guideline.pk if guideline else None}},
    )  # fmt: skip
    work: list[tuple[int, int | None]] = [(slot.task_id, slot.pk) for slot in slots] + [(task, None) for task in gold]
    shown = _answers_of({task for task, _ in work})
    VendorItem.objects.bulk_create(
        [
            VendorItem(
                batch=batch, key=secrets.token_urlsafe(12), task_id=task, slot_id=slot,
                shown_order=random.sample(shown[task], len(shown[task])),
            )
            for task, slot in work
        ],
        batch_size=500,
    )  # fmt: skip
    journal.record(queue.project, user, "handed to a vendor", vendor=vendor, batch=batch.pk, places=len(slots))
    return batch


def _take_places(queue: Queue, places: int, per_task: int) -> list[Slot]:
    free = open_places(queue=queue).order_by("-priority", "place").select_for_update(of=("self",), skip_locked=True)
    taken: Counter[int] = Counter()
    chosen = []
    for slot in free[: places * 20]:
        if taken[slot.task_id] < per_task:
            taken[slot.task_id] += 1
            chosen.append(slot)
        if len(chosen) == places:
            break
    ids = [slot.pk for slot in chosen]
    away = sum(
        Slot.objects.filter(pk__in=ids[at : at + 500], status=Slot.Status.FREE).update(status=Slot.Status.AWAY)
        for at in range(0, len(ids), 500)
    )
    if away != len(ids):
        raise ValueError("Somebody began on these tasks at the same moment: try again.")
    return chosen


def open_places(**among: Any) -> QuerySet[Slot]:
    """Free places that are kept for nobody here."""
    free = Slot.objects.filter(status=Slot.Status.FREE, assignee=None, **among)
    return free.filter(task__status=Task.Status.OPEN, task__gold=None)


def _pick_gold(queue: Queue, wanted: int, work: Sequence[int]) -> list[int]:
    """Tasks of gold items, each once; none whose prompt is among the work too, which would tell it."""
    handed: set[int] = set()
    for at in range(0, len(work), 500):
        handed.update(Task.objects.filter(pk__in=work[at : at + 500]).values_list("prompt", flat=True))
    usable = Gold.objects.filter(task__queue=queue, retired_at=None).exclude(task__status__in=GONE)
    found = usable.order_by("?").values_list("task", "task__prompt")
    return [task for task, prompt in found if prompt not in handed][:wanted]


def _answers_of(tasks: set[int]) -> dict[int, list[int]]:
    shown: dict[int, list[int]] = {task: [] for task in tasks}
    every = sorted(tasks)
    for at in range(0, len(every), 500):
        offered = Task.completions.through.objects.filter(task__in=every[at : at + 500])
        for task, completion in offered.values_list("task", "completion"):
            shown[task].append(completion)
    return shown


# The file


def hand_off(batch: VendorBatch) -> Iterator[str]:
    """The lines of the hand-off: what is asked, then the tasks in the order of their keys, which is none."""
    guideline = guideline_of(batch)
    header = {
        "type": "batch", "format": FORMAT, "vendor": batch.vendor, "name": batch.name, "kind": batch.queue.kind,
        "guideline_version": guideline.version if guideline else None, "guideline": guideline.text if guideline else "",
        "asked": _asked(batch.project, batch.queue),
    }  # fmt: skip
    yield json.dumps(header, ensure_ascii=False) + "\n"
    items = batch.items.order_by("key")
    for at in range(0, items.count(), 500):
        part = list(items[at : at + 500])
        prompts = dict(Prompt.objects.filter(tasks__in=[i.task_id for i in part]).values_list("tasks", "messages"))
        texts = Completion.objects.in_bulk([pk for item in part for pk in item.shown_order])
        for item in part:
            task = {"type": "task", "key": item.key, "prompt": prompts[item.task_id]}
            if item.shown_order:
                task["answers"] = {LETTERS[n]: texts[pk].text for n, pk in enumerate(item.shown_order)}
            yield json.dumps(task, ensure_ascii=False) + "\n"


def guideline_of(batch: VendorBatch) -> Guideline | None:
    """The version that went out with the batch."""
    return Guideline.objects.filter(project=batch.project, pk=batch.report.get("handed", {}).get("guideline")).first()


def _asked(project: Project, queue: Queue) -> dict[str, Any]:
    """What a row of the return may and must hold."""
    asks = instrument_of(project)
    if queue.kind == Kind.DEMONSTRATE:
        return {"answer": "required", "reasoning": asks.reasoning, "characters": [asks.answer_min, asks.answer_max]}
    return {
        "tiers": "required", "ties": asks.ties, "unrankable": asks.unrankable, "strength": asks.strength,
        "ratings": asks.ratings, "flags": asks.flags, "flag_names": list(FLAGS) if asks.flags != "off" else [],
        "rationale": asks.rationale, "rationale_min": asks.rationale_min,
    }  # fmt: skip


# Taking back


def recall(batch: VendorBatch, user: User) -> int:
    """Take the places of a batch that has not come back into the queue again; returns how many. Raises ValueError."""
    with transaction.atomic():
        if VendorBatch.objects.filter(pk=batch.pk, status=Status.OUT).update(status=Status.RECALLED) != 1:
            raise ValueError("This batch is not with the vendor any more: reload the page.")
        freed = free_places(batch)
        journal.record(batch.project, user, "recalled from a vendor", vendor=batch.vendor, batch=batch.pk, places=freed)
    return freed


def free_places(batch: VendorBatch) -> int:
    """Give back to the queue what is still away, without a claim, within a transaction; places of tasks that were
    withdrawn or held meanwhile follow their task."""
    away = Slot.objects.filter(pk__in=batch.items.values("slot"), status=Slot.Status.AWAY, claim=None)
    held_rows(batch)
    gone = away.filter(task__status__in=GONE).update(status=Slot.Status.WITHDRAWN)
    return gone + away.update(status=Slot.Status.FREE)


def held_rows(batch: VendorBatch) -> None:
    """Hold the batch's tasks until the transaction ends, so that their status stays what it is."""
    rows = Task.objects.filter(pk__in=batch.items.values("task")).order_by("pk").select_for_update(no_key=True)
    list(rows.values_list("pk", flat=True))


def places_by_queue(project: Project) -> dict[int, int]:
    """How many places of each of the project's queues could be handed out now."""
    free = open_places(queue__project=project, queue__kind__in=KINDS)
    return dict(free.order_by().values_list("queue").annotate(n=Count("pk")))
