"""Annotation's numbers on a project's first page."""

from __future__ import annotations

from django.db.models import Count, Q

from annotation.models import Comparison, Demonstration, Prompt, Split
from annotation.progress import MANY, own_work, waiting_for
from studio.access import ENGINEERS, EXPERTS, may
from studio.models import Membership, Project
from studio.overview import Tile
from studio.web.templatetags.studio import up_to


def annotation_tiles(project: Project, membership: Membership) -> list[Tile]:
    """Own work for those who judge; what was collected for those who use it. At most seven queries."""
    tiles = []
    if not may(membership, ENGINEERS):
        tiles += _own_work(project, membership)
    if may(membership, EXPERTS):
        tiles += _collected(project)
    return tiles


def _own_work(project: Project, membership: Membership) -> list[Tile]:
    waiting = sum(waiting_for(project.queues.filter(is_open=True), membership.user).values())
    done = own_work(project, membership.user)
    return [
        Tile("Waiting for you", waiting, "one at a time" if waiting else "all done for now", "annotation:home"),
        Tile("Done by you", min(done["all"], MANY), _of_which(done)),
    ]


def _of_which(done: dict[str, int]) -> str:
    return ("and more; " if done["all"] > MANY else "") + f"{up_to(done['week'], MANY)} in the last seven days"


def _collected(project: Project) -> list[Tile]:
    prompts = Prompt.objects.filter(project=project).aggregate(
        all=Count("pk"), held_out=Count("pk", filter=Q(split=Split.TEST))
    )
    standing = {"prompt__project": project, "withdrawn_at": None}
    demonstrations = Demonstration.objects.filter(**standing).count()
    comparisons = Comparison.objects.filter(**standing).count()
    return [
        Tile("Prompts", prompts["all"], f"{prompts['held_out']} held out", "annotation:prompts"),
        Tile("Demonstrations", demonstrations, "answers written by people", "annotation:demonstrations"),
        Tile("Comparisons", comparisons, "rankings of answers", "annotation:comparisons"),
    ]
