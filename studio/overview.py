"""What a project's first page shows: what is there, and what to do next, by role."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db.models import Count, Q

from studio.access import ENGINEERS, may
from studio.models import Membership, Project
from studio.runs.models import Artifact, Run


@dataclass(frozen=True)
class Tile:
    """One number on the overview; `view` is the name of the page behind it (it takes the project's slug)."""

    label: str
    value: int
    note: str = ""
    view: str = ""


TileSource = Callable[[Project, Membership], list[Tile]]
_sources: list[TileSource] = []


def register_tiles(source: TileSource) -> TileSource:
    """Apps above studio add their numbers in `AppConfig.ready`; keep each source to one or two queries."""
    if source not in _sources:
        _sources.append(source)
    return source


def overview(project: Project, membership: Membership) -> dict[str, Any]:
    """Context of the overview page."""
    context: dict[str, Any] = {
        "guideline": project.guidelines.select_related("created_by").order_by("-version").first(),
        "tiles": [tile for source in _sources for tile in source(project, membership)],
        "is_engineer": may(membership, ENGINEERS),
    }
    if context["is_engineer"]:
        context |= _workshop(project)
        context["steps"] = _first_steps(project, context)
    counted = [tile.value for tile in context["tiles"]] + [context.get("artifact_count", 0)]
    context["show_numbers"] = any(counted) or not context.get("steps")  # a new project shows its first steps instead
    return context


@dataclass(frozen=True)
class Step:
    """One thing that a new project needs before its first round."""

    title: str
    text: str
    view: str
    done: bool


def _first_steps(project: Project, context: dict[str, Any]) -> list[Step]:
    """What is missing in a project that has not promoted a policy yet; empty afterwards."""
    if context["policy"]:
        return []
    return [
        Step(
            "Invite people",
            "Annotators compare answers, subject-matter experts write them.",
            "members",
            project.memberships.count() > 1,
        ),
        Step(
            "Publish guidelines",
            "What a good answer is, so that everybody judges alike.",
            "guidelines",
            context["guideline"] is not None,
        ),
        Step(
            "Bring in a model",
            "Import an open one, or pretrain your own from a corpus.",
            "runs:new",
            context["model_count"] > 0,
        ),
        Step(
            "Start the first round",
            "Collect comparisons, train on them, review, and promote what is better.",
            "evaluation:rounds",
            context["latest_round"] is not None,
        ),
    ]


def _workshop(project: Project) -> dict[str, Any]:
    """What engineers look at first: runs, the policy, the newest report."""
    counts = project.runs.aggregate(
        live=Count("pk", filter=Q(status__in=Run.LIVE)), failed=Count("pk", filter=Q(status=Run.Status.FAILED)),
        all=Count("pk"),
    )  # fmt: skip
    artifacts = dict(project.artifacts.values_list("kind").annotate(n=Count("pk")).order_by())
    return {
        "latest_runs": project.runs.select_related("created_by")[:6],
        "run_counts": counts,
        "model_count": artifacts.get(Artifact.Kind.MODEL, 0),
        "artifact_count": sum(artifacts.values()),
        "policy": project.policy,
        "latest_report": project.artifacts.filter(kind=Artifact.Kind.REPORT).first(),
        "latest_round": project.rounds.select_related("start_policy").first(),
    }
