"""File failures: a class, examples of it (completion, correction, reasoning), how each model fares."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Exists, OuterRef, Q, QuerySet, Subquery

from annotation import journal
from annotation.models import Completion, FailureClass, FailureExample, FailureStatus
from studio.access import ENGINEERS, EXPERTS
from studio.models import Membership, Project, User
from studio.runs.models import Artifact

SUGGESTED = 50  # prompts of a class
EDITABLE = ("name", "description", "severity", "owner", "suggested_prompts")


# Classes


@transaction.atomic
def add_class(
    project: Project, name: str, user: User, *, description: str = "", severity: int = FailureClass.Severity.MAJOR
) -> FailureClass:
    """A new failure class, owned by who adds it. Raises ValueError when the name is empty or taken."""
    name = _free_name(project, name)
    _check_severity(severity)
    made = FailureClass.objects.create(
        project=project, name=name, description=description.strip(), severity=severity, created_by=user, owner=user
    )
    journal.record(project, user, "added", made, name=name)
    return made


@transaction.atomic
def edit_class(
    failure_class: FailureClass,
    user: User,
    *,
    name: str,
    description: str,
    severity: int,
    owner: User | None,
    suggested_prompts: Sequence[str],
) -> list[str]:
    """Change what a class says; the journal keeps what it said before. Returns the names of the fields that changed.

    Raises ValueError when the name is empty or taken, or the owner is no SME, engineer or owner of the project.
    """
    project = failure_class.project
    found = FailureClass.objects.select_for_update(of=("self",)).select_related("owner").get(pk=failure_class.pk)
    _check_severity(severity)
    if owner is not None and not Membership.objects.filter(project=project, user=owner, role__in=EXPERTS).exists():
        raise ValueError(f"{owner.display_name} is no SME, engineer or owner of this project.")
    wanted: dict[str, Any] = {
        "name": _free_name(project, name, except_for=found), "description": description.strip(), "severity": severity,
        "owner": owner, "suggested_prompts": _suggested(suggested_prompts),
    }  # fmt: skip
    changed = [field for field in EDITABLE if getattr(found, field) != wanted[field]]
    if changed:
        before = {field: _in_words(getattr(found, field)) for field in changed}
        after = {field: _in_words(wanted[field]) for field in changed}
        for field in changed:
            setattr(found, field, wanted[field])
        found.save(update_fields=changed)
        journal.record(project, user, "edited", found, before=before, after=after)
    return changed


def _in_words(value: Any) -> Any:
    return value.display_name if isinstance(value, User) else value


def _free_name(project: Project, name: str, except_for: FailureClass | None = None) -> str:
    name = " ".join(name.split())
    if not 1 <= len(name) <= 120:
        raise ValueError("Give the failure class a name of at most 120 characters.")
    same = FailureClass.objects.filter(project=project, name__iexact=name).select_related("merged_into")
    taken = same.exclude(pk=except_for.pk if except_for else None).first()
    if taken is not None and taken.merged_into:
        raise ValueError(f"“{taken.name}” was merged into “{taken.merged_into.name}”: use that one, or another name.")
    if taken is not None:
        raise ValueError(f"There is a failure class '{name}' already: add your example to it.")
    return name


def _check_severity(severity: int) -> None:
    if severity not in FailureClass.Severity.values:
        raise ValueError("Severity is 1 (minor), 2 (major) or 3 (critical).")


def _suggested(texts: Sequence[str]) -> list[str]:
    """Without empty and double ones, in order."""
    found = list(dict.fromkeys(text.strip() for text in texts if text.strip()))
    if len(found) > SUGGESTED:
        raise ValueError(f"A class suggests at most {SUGGESTED} prompts; these are {len(found)}.")
    return found


def may_curate(membership: Membership, failure_class: FailureClass) -> bool:
    """Who may merge a class away: leads, and whoever owns it."""
    return membership.role in ENGINEERS or failure_class.owner_id == membership.user_id


def final_class(failure_class: FailureClass) -> FailureClass:
    """The class that has its examples now: itself, or what it was merged into."""
    while failure_class.merged_into is not None:
        failure_class = failure_class.merged_into
    return failure_class


def successors(project_id: int) -> dict[int, set[int]]:
    """For each class id the ids of those that its examples may be under: its own, and those it was merged into."""
    into = dict(FailureClass.objects.filter(project=project_id).values_list("pk", "merged_into"))
    found = {}
    for pk in into:
        found[pk], step = {pk}, into[pk]
        while step is not None:
            found[pk].add(step)
            step = into[step]
    return found


def find_classes(
    project: Project, *, q: str = "", severity: str = "", owner: str = "", state: str = "", merged: bool = False
) -> QuerySet[FailureClass]:
    """Classes whose name, description or examples contain `q`; `state` is how some model fares on it now."""
    found = FailureClass.objects.filter(project=project)
    if not merged:
        found = found.filter(merged_into=None)
    if q:
        examples = FailureExample.objects.filter(failure_class=OuterRef("pk"), withdrawn_at=None).filter(
            Q(completion__text__icontains=q) | Q(correction__icontains=q) | Q(reasoning__icontains=q)
        )
        found = found.filter(Q(name__icontains=q) | Q(description__icontains=q) | Exists(examples))
    if severity:
        found = found.filter(severity=severity)
    if owner:
        found = found.filter(owner=owner)
    if state:
        later = FailureStatus.objects.filter(failure_class=OuterRef("failure_class"), model=OuterRef("model"))
        newest = FailureStatus.objects.filter(failure_class=OuterRef("pk"), state=state).filter(
            pk=Subquery(later.order_by("-id").values("pk")[:1])
        )
        found = found.filter(Exists(newest))
    return found.select_related("owner").order_by("-severity", "name")


# Examples


def fileable(project: Project, user: User) -> QuerySet[Completion]:
    """The completions that this person may file by their id: what others wrote is no failure of a model, and not for
    everybody to read."""
    written = Q(author=None) | Q(author=user)
    return Completion.objects.filter(written, prompt__project=project).select_related("prompt", "model")


@transaction.atomic
def add_example(
    failure_class: FailureClass, completion: Completion, user: User, *, correction: str, reasoning: str = ""
) -> FailureExample:
    """File a completion under a class (or what it was merged into), once a person.

    Raises ValueError when the correction is empty.
    """
    if completion.prompt.project_id != failure_class.project_id:
        raise ValueError("The completion belongs to another project.")
    if not correction.strip():
        raise ValueError("Say what the answer should have been.")
    locked = FailureClass.objects.select_for_update(of=("self",)).select_related("merged_into").get(pk=failure_class.pk)
    example, created = FailureExample.objects.get_or_create(
        failure_class=final_class(locked),
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
    journal.record(failure_class.project_id, user, "filed", example, failure_class=example.failure_class.name)
    return example


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
    try:
        found = failure_class or add_class(project, name, user)
    except IntegrityError as error:
        raise ValueError(f"Somebody has just added '{name}': choose it from the list.") from error
    return add_example(found, completion, user, correction=correction, reasoning=reasoning)


# How models fare


@transaction.atomic
def set_status(
    failure_class: FailureClass, model: Artifact, state: str, user: User, *, note: str = ""
) -> FailureStatus:
    """Say how a model fares on the class from now on; earlier rows stay as its history."""
    if state not in FailureStatus.State.values:
        raise ValueError(f"A state is one of {', '.join(FailureStatus.State.values)}, not '{state}'.")
    if model.project_id != failure_class.project_id or model.kind != Artifact.Kind.MODEL:
        raise ValueError("Choose a model of this project.")
    journal.record(
        failure_class.project_id, user, f"marked {state}", failure_class, model=model.name, note=note.strip()
    )
    return FailureStatus.objects.create(
        failure_class=failure_class, model=model, state=state, note=note.strip()[:300], created_by=user
    )


def statuses(classes: Iterable[FailureClass]) -> dict[tuple[int, int], FailureStatus]:
    """The newest status by (class id, model id)."""
    rows = (
        FailureStatus.objects.filter(failure_class__in=list(classes))
        .select_related("model", "created_by")
        .order_by("id")
    )
    return {(row.failure_class_id, row.model_id): row for row in rows}
