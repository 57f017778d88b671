"""Write down who did what to which label; called inside the transaction that does it."""

from __future__ import annotations

from typing import Any

from annotation.models import Comparison, Demonstration, FailureClass, FailureExample, JournalEntry, Task
from studio.models import Project, User

Subject = Demonstration | Comparison | FailureClass | FailureExample | Task | None


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
    fields: dict[str, Any] = {}
    for model, name in (
        (Demonstration, "demonstration"),
        (Comparison, "comparison"),
        (FailureClass, "failure_class"),
        (FailureExample, "failure_example"),
        (Task, "task"),
    ):
        if isinstance(subject, model):
            fields[name] = subject
    project_id = project if isinstance(project, int) else project.pk
    return JournalEntry.objects.create(
        project_id=project_id, actor=actor, act=act, person=person, detail=detail, **fields
    )
