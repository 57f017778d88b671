"""Probes: an SME is asked to find, correct and explain examples of one failure class in one model."""

from __future__ import annotations

from collections.abc import Iterable

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from annotation import failures, journal
from annotation.models import FailureClass, FailureExample, Probe
from studio.access import EXPERTS
from studio.models import Membership, Project, User
from studio.runs.models import Artifact

MOST_WANTED = 100


def assign(
    failure_class: FailureClass,
    model: Artifact,
    lead: User,
    *,
    wanted: int = 3,
    instructions: str = "",
    assignee: User | None = None,
) -> Probe:
    """Ask for `wanted` examples of a class in a model, of one person or of the first who takes it.

    Raises ValueError when the class is merged, or the model or person does not fit the project.
    """
    project = failure_class.project
    if failure_class.merged_into_id:
        raise ValueError(f"“{failure_class.name}” was merged into “{failure_class.merged_into.name}”: probe that one.")
    if model.project_id != project.pk or model.kind != Artifact.Kind.MODEL:
        raise ValueError("Choose a model of this project.")
    if not 1 <= wanted <= MOST_WANTED:
        raise ValueError(f"Ask for 1 to {MOST_WANTED} examples.")
    if (
        assignee is not None
        and not Membership.objects.filter(project=project, user=assignee, role__in=EXPERTS).exists()
    ):
        raise ValueError(f"{assignee.display_name} is no SME, engineer or owner of this project.")
    with transaction.atomic():
        probe = Probe.objects.create(
            project=project, failure_class=failure_class, model=model, wanted=wanted, created_by=lead,
            instructions=instructions.strip(), assignee=assignee,
        )  # fmt: skip
        journal.record(
            project, lead, "probe assigned", failure_class, person=assignee, probe=probe.pk, model=model.name
        )
    return probe


@transaction.atomic
def take(probe: Probe, user: User) -> bool:
    """Make it this person's, if it is still anybody's; False when somebody else was quicker or it is over."""
    free = Probe.objects.filter(pk=probe.pk, assignee=None, status=Probe.Status.OPEN)
    if free.update(assignee=user) != 1:
        return Probe.objects.filter(pk=probe.pk, assignee=user, status=Probe.Status.OPEN).exists()
    journal.record(probe.project_id, user, "probe taken", probe.failure_class, probe=probe.pk)
    return True


@transaction.atomic
def give_up(probe: Probe, user: User) -> bool:
    """Leave it to others; False when it is not this person's open probe."""
    mine = Probe.objects.filter(pk=probe.pk, assignee=user, status=Probe.Status.OPEN)
    if mine.update(assignee=None) != 1:
        return False
    journal.record(probe.project_id, user, "probe given up", probe.failure_class, probe=probe.pk)
    return True


@transaction.atomic
def conclude(probe: Probe, user: User, conclusion: str, *, state: str = "") -> None:
    """Close it with what was found, also when nothing was; `state` says how the model fares on the class from now on.

    Raises ValueError without a conclusion, and when it is not this person's open probe.
    """
    conclusion = conclusion.strip()
    if not conclusion:
        raise ValueError("Say what you found, also when you found nothing: what you tried, and how it answered.")
    mine = Probe.objects.filter(pk=probe.pk, assignee=user, status=Probe.Status.OPEN)
    if mine.update(status=Probe.Status.DONE, conclusion=conclusion, finished_at=timezone.now()) != 1:
        raise ValueError("This probe is not yours any more, or it is over.")
    if state:
        final = failures.final_class(probe.failure_class)
        failures.set_status(final, probe.model, state, user, note=f"Probe {probe.pk}")
    journal.record(probe.project_id, user, "probe concluded", probe.failure_class, probe=probe.pk, found=found(probe))


@transaction.atomic
def withdraw(probe: Probe, lead: User) -> bool:
    """Call it off; what was found stays. False when it is over already."""
    if Probe.objects.filter(pk=probe.pk, status=Probe.Status.OPEN).update(
        status=Probe.Status.WITHDRAWN, finished_at=timezone.now()
    ) != 1:  # fmt: skip
        return False
    journal.record(probe.project_id, lead, "probe withdrawn", probe.failure_class, probe=probe.pk)
    return True


def examples_of(probe: Probe) -> QuerySet[FailureExample]:
    """What its assignee has filed under the class for this model since it was asked for, wherever they found it."""
    if probe.assignee_id is None:
        return FailureExample.objects.none()
    examples = FailureExample.objects.filter(
        failure_class__in=failures.successors(probe.project_id)[probe.failure_class_id],
        completion__model=probe.model_id, author=probe.assignee_id, created_at__gte=probe.created_at,
        withdrawn_at=None,
    )  # fmt: skip
    if probe.finished_at:
        examples = examples.filter(created_at__lte=probe.finished_at)
    return examples


def found(probe: Probe) -> int:
    return examples_of(probe).count()


def with_found(probes: Iterable[Probe]) -> list[Probe]:
    """The probes (of one project), each with its `found`; two queries for all of them."""
    probes = list(probes)
    oldest = min((probe.created_at for probe in probes), default=None)
    if oldest is None:
        return probes
    rows = list(
        FailureExample.objects.filter(
            author__in=[p.assignee_id for p in probes if p.assignee_id], created_at__gte=oldest, withdrawn_at=None,
            completion__model__in=[p.model_id for p in probes],
        ).values_list("failure_class", "completion__model", "author", "created_at")
    )  # fmt: skip
    successors = failures.successors(probes[0].project_id)
    for probe in probes:
        classes = successors[probe.failure_class_id]
        probe.found = sum(
            class_id in classes and (model, author) == (probe.model_id, probe.assignee_id)
            and probe.created_at <= at and (probe.finished_at is None or at <= probe.finished_at)
            for class_id, model, author, at in rows
        )  # fmt: skip
    return probes


def open_for(project: Project, user: User) -> QuerySet[Probe]:
    """Their own open probes, and those that nobody has taken."""
    mine = Q(assignee=user) | Q(assignee=None)
    return Probe.objects.filter(mine, project=project, status=Probe.Status.OPEN)
