"""Which model a project's next round starts from. Rounds promote theirs; the first one is chosen by hand."""

from __future__ import annotations

from studio.models import Project, Round
from studio.runs.models import Artifact


def set_policy(project: Project, artifact: Artifact, replaces: int | None) -> None:
    """Make `artifact` the project's policy in place of the one with id `replaces` (None: there was none).

    Raises ValueError when it is no model of the project, a round is under way, or somebody chose another meanwhile.
    """
    if artifact.project_id != project.pk or artifact.kind != Artifact.Kind.MODEL:
        raise ValueError(f"'{artifact.name}' is not a model of this project: only a model can be its policy.")
    over = (Round.Status.PROMOTED, Round.Status.CLOSED)
    under_way = project.rounds.exclude(status__in=over).first()
    if under_way:
        raise ValueError(f"{under_way} is under way and ends with a promotion. Promote or close it first.")
    if not Project.objects.filter(pk=project.pk, policy=replaces).update(policy=artifact):
        raise ValueError("Somebody chose another policy meanwhile. Look at it, then choose again.")
    project.policy = artifact
