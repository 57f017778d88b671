"""Who did what to which label: written inside the transaction that does it, read page by page, exported as a stream."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any

from django.db.models import Q, QuerySet
from django.utils import timezone

from annotation.models import Comparison, Demonstration, FailureClass, FailureExample, JournalEntry, Task
from studio import statements
from studio.models import Project, User

Subject = Demonstration | Comparison | FailureClass | FailureExample | Task | None
SUBJECTS = {  # what an entry may be about, in the order in which one is looked for: a label says more than its task
    "comparison": Comparison,
    "demonstration": Demonstration,
    "failure_example": FailureExample,
    "failure_class": FailureClass,
    "task": Task,
}
COLUMNS = ("id", "at", "actor", "act", "subject", "subject_id", "person", "detail")
RECENT = 5000  # entries in which a project's acts are looked for
FIRST_DAY, LAST_DAY = date(1900, 1, 1), date(2999, 12, 31)  # that may be asked for: midnights near year 1 overflow


def record(
    project: Project | int,
    actor: User | None,
    act: str,
    subject: Subject = None,
    *,
    person: User | None = None,
    **detail: Any,
) -> JournalEntry:
    """Add an entry about `subject` (or about a `person`); `detail` must be JSON. `actor` None: the studio itself."""
    fields = {name: subject for name, model in SUBJECTS.items() if isinstance(subject, model)}
    project_id = project if isinstance(project, int) else project.pk
    entry = JournalEntry(project_id=project_id, actor=actor, act=act, person=person, detail=detail, **fields)
    statements.insert(entry)
    return entry


@dataclass(frozen=True)
class Filter:
    """Which entries are asked for. Empty fields ask for everything; days are whole days in the studio's time zone."""

    person: str = ""  # user name of who did it, or of whom it is about
    act: str = ""
    subject: str = ""  # of SUBJECTS
    subject_id: int | None = None
    since: date | None = None
    until: date | None = None

    def __bool__(self) -> bool:
        return self != Filter()


def entries(project: Project, chosen: Filter = Filter()) -> QuerySet[JournalEntry]:
    """The project's entries, newest first, with the people they name."""
    found = JournalEntry.objects.filter(project=project).select_related("actor", "person").order_by("-id")
    if chosen.person:
        people = User.objects.filter(username=chosen.person).values("pk")
        found = found.filter(Q(actor__in=people) | Q(person__in=people))
    if chosen.act:
        found = found.filter(act=chosen.act)
    if chosen.subject and chosen.subject_id is not None:
        found = found.filter(**{f"{chosen.subject}_id": chosen.subject_id})
    elif chosen.subject:
        found = found.filter(**{f"{chosen.subject}__isnull": False})
    if chosen.since:
        found = found.filter(at__gte=_midnight(chosen.since))
    if chosen.until:
        found = found.filter(at__lt=_midnight(chosen.until + timedelta(days=1)))
    return found


def _midnight(day: date) -> datetime:
    return timezone.make_aware(datetime.combine(day, time.min))


def history_of(label: Subject) -> QuerySet[JournalEntry]:
    """What was done to one label (or class, or task), newest first."""
    return label.journal.select_related("actor", "person").order_by("-id")


def recent_acts(project: Project) -> list[str]:
    """The acts among the project's latest entries, by name."""
    latest = JournalEntry.objects.filter(project=project).order_by("-id").values_list("act", flat=True)
    return sorted(set(latest[:RECENT]))


def subject_of(entry: JournalEntry) -> tuple[str, int] | None:
    """The kind and id of what the entry is about; None for one about a person or the whole project."""
    for name in SUBJECTS:
        if pk := getattr(entry, f"{name}_id"):
            return name, pk
    return None


def as_row(entry: JournalEntry) -> dict[str, Any]:
    """An entry as it is exported, in COLUMNS."""
    subject, subject_id = subject_of(entry) or ("", None)
    return {
        "id": entry.pk,
        "at": entry.at.isoformat(),
        "actor": entry.actor.username if entry.actor else "",
        "act": entry.act,
        "subject": subject,
        "subject_id": subject_id,
        "person": entry.person.username if entry.person else "",
        "detail": entry.detail,
    }


def jsonl_lines(found: Iterable[JournalEntry]) -> Iterator[str]:
    for entry in found:
        yield json.dumps(as_row(entry), ensure_ascii=False) + "\n"


def csv_lines(found: Iterable[JournalEntry]) -> Iterator[str]:
    """Lines of a CSV file with its header. What a spreadsheet would take for a formula gets a quote in front."""
    writer = csv.writer(_Echo())
    yield writer.writerow(COLUMNS)
    for entry in found:
        row = as_row(entry) | {"detail": json.dumps(entry.detail, ensure_ascii=False)}
        yield writer.writerow([_plain(row[name]) for name in COLUMNS])


class _Echo:
    """What csv.writer writes to: the line comes back instead of being kept."""

    def write(self, line: str) -> str:
        return line


def _plain(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value[:1] in "=+-@\t\r" and value else value
