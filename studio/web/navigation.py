"""What every page shows around its content."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from django.urls import reverse

from studio.access import ENGINEERS, EVERYONE, EXPERTS
from studio.models import Role


@dataclass(frozen=True)
class Room:
    """One entry of a project's navigation: where it leads, who sees it, and the keys that open it."""

    label: str
    view: str
    icon: str
    roles: tuple[Role, ...]
    key: str


ROOMS: dict[str, tuple[Room, ...]] = {
    "": (Room("Overview", "project", "home", EVERYONE, "o"),),
    "Judge": (
        Room("Annotate", "annotation:home", "pen", EVERYONE, "a"),
        Room("Prompts", "annotation:prompts", "chat", EXPERTS, "p"),
        Room("Comparisons", "annotation:comparisons", "columns", EXPERTS, "c"),
        Room("Reviews", "annotation:reviews", "scale", EXPERTS, "v"),
        Room("Probe", "annotation:probing", "search", EXPERTS, "x"),
        Room("Failure classes", "annotation:failure-classes", "flag", EXPERTS, "f"),
        Room("Queues", "annotation:queues", "menu", ENGINEERS, "q"),
        Room("Quality", "annotation:quality", "star", ENGINEERS, "u"),
        Room("Datasets", "annotation:datasets", "layers", ENGINEERS, "d"),
        Room("Exchange", "annotation:imports", "upload", ENGINEERS, "i"),
    ),
    "Train": (
        Room("Runs", "runs:list", "play", ENGINEERS, "r"),
        Room("Artifacts", "runs:artifacts", "box", ENGINEERS, "t"),
        Room("Models", "serving:models", "server", ENGINEERS, "m"),
    ),
    "Learn": (
        Room("Reports", "evaluation:reports", "chart", EXPERTS, "e"),
        Room("Rounds", "evaluation:rounds", "cycle", EXPERTS, "n"),
    ),
    "Project": (
        Room("Guidelines", "guidelines", "book", EVERYONE, "g"),
        Room("Members", "members", "people", EVERYONE, "b"),
    ),
}


def navigation(request: HttpRequest) -> dict[str, Any]:
    """`membership` (with project and role) of the project that the page belongs to, if any, and the rooms to go to."""
    membership = getattr(request, "membership", None)
    if membership is None:
        return {"membership": None}
    return {
        "membership": membership,
        "room_groups": _room_groups(request.path, membership.project.slug, membership.role),
    }


def _room_groups(path: str, slug: str, role: str) -> list[dict[str, Any]]:
    """Groups of rooms for `role`; the room whose address is the longest beginning of `path` is current."""
    groups = [
        {"title": title, "rooms": [{"room": r, "url": reverse(r.view, args=[slug])} for r in rooms if role in r.roles]}
        for title, rooms in ROOMS.items()
    ]
    everything = [entry for group in groups for entry in group["rooms"]]
    here = [e for e in everything if path == e["url"] or e["room"].view != "project" and path.startswith(e["url"])]
    if here:
        current = max(here, key=lambda e: len(e["url"]))
        current["current"] = "page" if path == current["url"] else "true"
    return [group for group in groups if group["rooms"]]
