"""A person's consent to the use of their labels in a project: taken back, given again, and what used them before.

Whoever takes it back keeps their labels on record, but none of them gets into a dataset that is frozen from then on,
into agreement or into the measure of a reward model, and no work is given to them. What was frozen and trained before
stays as it is; `uses_of` says what that is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from annotation.journal import record
from annotation.lineage import MODEL_KINDS, products
from annotation.models import Claim, Comparison, DatasetItem, Demonstration, FailureExample, JournalEntry, Standing
from annotation.queue import release
from studio.access import OWNERS
from studio.models import Membership, Project, User
from studio.runs.models import Artifact

WITHDRAWN = "consent withdrawn"
GIVEN = "consent given again"


def take_back(project: Project, user: User, by: User, reason: str = "") -> Standing:
    """From now on nothing is made of the labels of `user`; what they work on goes back to its queue.

    By themselves, or by an owner whom they asked, who says so in `reason`. Raises ValueError when it was taken back
    before, or somebody else asks.
    """
    reason = _reason(reason)
    _check_who(project, user, by)
    if by.pk != user.pk and not reason:
        raise ValueError("Say how the person asked for it (a letter, a call, whose duty it is).")
    with transaction.atomic():
        standing, _ = Standing.objects.get_or_create(project=project, user=user)
        open_ones = Standing.objects.filter(pk=standing.pk, consent_withdrawn_at=None)
        if open_ones.update(consent_withdrawn_at=timezone.now(), consent_reason=reason) != 1:
            raise ValueError("The consent has been taken back already.")
        record(project, by, WITHDRAWN, person=user, reason=reason, **label_counts(project, user))
        live = Claim.objects.filter(annotator=user, project=project, status=Claim.Status.LIVE)
        for claim in live.select_related("task__queue"):
            release(claim, reason="Consent was taken back.")
    standing.refresh_from_db()
    return standing


def give_again(project: Project, user: User, by: User, reason: str = "") -> Standing:
    """The labels of `user` count again. An owner may undo only what an owner did: nobody consents for another.

    Raises ValueError when there is nothing to give back, or it is not theirs to give.
    """
    reason = _reason(reason)
    _check_who(project, user, by)
    if by.pk != user.pk and taken_back_by(project, user) == user:
        raise ValueError(f"{user.display_name} took it back themselves: only they can give it again.")
    with transaction.atomic():
        gone = Standing.objects.filter(project=project, user=user, consent_withdrawn_at__isnull=False)
        if gone.update(consent_withdrawn_at=None, consent_reason="") != 1:
            raise ValueError("The consent stands: there is nothing to give again.")
        record(project, by, GIVEN, person=user, reason=reason)
    return Standing.objects.get(project=project, user=user)


def taken_back_by(project: Project, user: User) -> User | None:
    """Who took the consent of `user` back last."""
    last = JournalEntry.objects.filter(project=project, person=user, act=WITHDRAWN).select_related("actor").first()
    return last.actor if last else None


def _check_who(project: Project, user: User, by: User) -> None:
    if by.pk == user.pk:
        return
    if not Membership.objects.filter(project=project, user=by, role__in=OWNERS).exists():
        raise ValueError("Only the person themselves, or an owner whom they asked, decides about consent.")


def _reason(text: str) -> str:
    text = " ".join(text.replace("\0", "").split())
    if len(text) > 300:
        raise ValueError(f"The reason has {len(text)} characters; at most 300 fit.")
    return text


def label_counts(project: Project, user: User) -> dict[str, int]:
    """How many labels of each kind a person made in a project; withdrawn ones are not counted."""
    own: dict[str, Any] = {"prompt__project": project, "withdrawn_at": None}
    return {
        "demonstrations": Demonstration.objects.filter(annotator=user, **own).count(),
        "comparisons": Comparison.objects.filter(annotator=user, **own).count(),
        "failure_examples": FailureExample.objects.filter(author=user, **own).count(),
    }


@dataclass(frozen=True)
class Use:
    """A dataset or model and how many of the person's labels went into it."""

    artifact: Artifact
    labels: int


@dataclass(frozen=True)
class Uses:
    datasets: list[Use]
    models: list[Use]

    @property
    def labels(self) -> int:
        """Labels in the dataset that has most of them."""
        return max((use.labels for use in self.datasets), default=0)


def uses_of(project: Project, user: User) -> Uses:
    """Which datasets and models the person's labels are in, newest first, withdrawn labels too. Five queries."""
    items = (
        DatasetItem.objects.filter(Q(demonstration__annotator=user) | Q(comparison__annotator=user))
        .filter(artifact__project=project)
        .order_by()
        .values_list("artifact", "demonstration", "comparison")
        .distinct()
    )
    in_dataset: dict[int, set[tuple[int | None, int | None]]] = {}
    for artifact, demonstration, comparison in items:
        in_dataset.setdefault(artifact, set()).add((demonstration, comparison))
    made = products([project]) if in_dataset else {}
    in_product: dict[int, set[tuple[int | None, int | None]]] = {}
    for dataset, labels in in_dataset.items():
        for product in _descendants(dataset, made):
            in_product.setdefault(product, set()).update(labels)
    artifacts = Artifact.objects.in_bulk({*in_dataset, *in_product})
    return Uses(
        datasets=[Use(artifacts[pk], len(in_dataset[pk])) for pk in sorted(in_dataset, reverse=True)],
        models=[
            Use(artifacts[pk], len(labels))
            for pk, labels in sorted(in_product.items(), reverse=True)
            if artifacts[pk].kind in MODEL_KINDS
        ],
    )


def _descendants(start: int, made: dict[int, set[int]]) -> set[int]:
    found: set[int] = set()
    frontier = {start}
    while frontier:
        frontier = {product for pk in frontier for product in made.get(pk, ())} - found
        found |= frontier
    return found
