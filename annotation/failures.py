"""File failures: a class, an example of it (completion, correction, reasoning), how each model fares."""

from __future__ import annotations

from collections.abc import Iterable

from django.db import transaction

from annotation import journal
from annotation.models import Completion, FailureClass, FailureExample, FailureStatus
from studio.models import Project, User
from studio.runs.models import Artifact


@transaction.atomic
def add_class(
    project: Project, name: str, user: User, *, description: str = "", severity: int = FailureClass.Severity.MAJOR
) -> FailureClass:
    """A new failure class. Raises ValueError when the name is empty or taken."""
    name = " ".join(name.split())
    if not 1 <= len(name) <= 120:
        raise ValueError("Give the failure class a name of at most 120 characters.")
    if severity not in FailureClass.Severity.values:
        raise ValueError("Severity is 1 (minor), 2 (major) or 3 (critical).")
    if FailureClass.objects.filter(project=project, name__iexact=name).exists():
        raise ValueError(f"There is a failure class '{name}' already: add your example to it.")
    added = FailureClass.objects.create(
        project=project, name=name, description=description.strip(), severity=severity, created_by=user
    )
    journal.record(project, user, "class added", added)
    return added


@transaction.atomic
def add_example(
    failure_class: FailureClass, completion: Completion, user: User, *, correction: str, reasoning: str = ""
) -> FailureExample:
    """File a completion under a class, once a person. Raises ValueError when the correction is empty."""
    if completion.prompt.project_id != failure_class.project_id:
        raise ValueError("The completion belongs to another project.")
    if not correction.strip():
        raise ValueError("Say what the answer should have been.")
    example, created = FailureExample.objects.get_or_create(
        failure_class=failure_class,
        completion=completion,
        author=user,
        defaults={
            "prompt": completion.prompt,
            "correction": correction.strip(),
            "reasoning": reasoning.strip(),
            "guideline": failure_class.project.guideline,
        },
    )
    if not created:
        raise ValueError("You have filed this completion under this class already.")
    journal.record(failure_class.project_id, user, "failure filed", example)
    return example


@transaction.atomic
def set_status(
    failure_class: FailureClass, model: Artifact, state: str, user: User, *, note: str = ""
) -> FailureStatus:
    """Say how a model fares on the class from now on; earlier rows stay as its history."""
    if state not in FailureStatus.State.values:
        raise ValueError(f"A state is one of {', '.join(FailureStatus.State.values)}, not '{state}'.")
    if model.project_id != failure_class.project_id or model.kind != Artifact.Kind.MODEL:
        raise ValueError("Choose a model of this project.")
    status = FailureStatus.objects.create(
        failure_class=failure_class, model=model, state=state, note=note.strip()[:300], created_by=user
    )
    journal.record(
        failure_class.project_id, user, "status set", failure_class, model=model.pk, state=state, note=status.note
    )
    return status


def statuses(classes: Iterable[FailureClass]) -> dict[tuple[int, int], FailureStatus]:
    """The newest status by (class id, model id)."""
    rows = FailureStatus.objects.filter(failure_class__in=list(classes)).select_related("model").order_by("id")
    return {(row.failure_class_id, row.model_id): row for row in rows}


@transaction.atomic
def file_failure(
    project: Project,
    completion: Completion,
    user: User,
    *,
    failure_class: FailureClass | None = None,
    name: str = "",
    correction: str,
    reasoning: str = "",
) -> FailureExample:
    """File a completion under a class of the project, or under a new one of that name. Raises ValueError."""
    found = failure_class or add_class(project, name, user)
    return add_example(found, completion, user, correction=correction, reasoning=reasoning)
