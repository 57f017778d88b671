"""Which model a project's next round starts from, and who said so: a round's promotion, or somebody by hand."""

from __future__ import annotations

from django.db import transaction

from studio.models import PolicyChoice, Project, Round, User
from studio.runs.models import Artifact


def set_policy(project: Project, artifact: Artifact, replaces: int | None, user: User) -> PolicyChoice:
    """Make `artifact` the project's policy in place of the one with id `replaces` (None: there was none).

    Raises ValueError when it is no model of the project, a round is under way, or somebody chose another meanwhile.
    """
    if artifact.project_id != project.pk or artifact.kind != Artifact.Kind.MODEL:
        raise ValueError(f"'{artifact.name}' is not a model of this project: only a model can be its policy.")
    over = (Round.Status.PROMOTED, Round.Status.CLOSED)
    under_way = project.rounds.exclude(status__in=over).first()
    if under_way:
        raise ValueError(f"{under_way} is under way and ends with a promotion. Promote or close it first.")
    with transaction.atomic():
        if not Project.objects.filter(pk=project.pk, policy=replaces).update(policy=artifact):
            raise ValueError("Somebody chose another policy meanwhile. Look at it, then choose again.")
        choice = PolicyChoice.objects.create(project=project, policy=artifact, replaced_id=replaces, chosen_by=user)
    project.policy = artifact
    return choice


def promote_policy(round: Round, user: User) -> PolicyChoice:
    """Make the final policy of `round` the project's; called inside the transaction that ends the round."""
    project = Project.objects.select_for_update().get(pk=round.project_id)
    replaced = project.policy_id
    Project.objects.filter(pk=project.pk).update(policy=round.final_policy)
    return PolicyChoice.objects.create(
        project=project, policy=round.final_policy, replaced_id=replaced, round=round, chosen_by=user
    )
