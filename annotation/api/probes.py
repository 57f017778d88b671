"""Probes: leads ask for examples of a failure class in a model, SMEs look for them."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from ninja import Query, Router

from annotation import probe
from annotation.api.auth import MANAGE, READ_OR_WORK, WORK, find, member, named
from annotation.api.queues import find_member
from annotation.api.schemas.probes import ConcludeIn, ProbeIn, ProbeOut, ProbePage
from annotation.api.schemas.shared import REFUSED, ErrorOut, PageIn, Text
from annotation.models import Probe
from studio.access import ENGINEERS, EXPERTS, may

router = Router(tags=["probes"])
CONFLICT = {409: ErrorOut}
RELATED = ("failure_class__merged_into", "model", "assignee")


@router.get("/projects/{slug}/probes", auth=READ_OR_WORK, response={200: ProbePage, **REFUSED})
def list_probes(request: HttpRequest, slug: Text, page: Query[PageIn]) -> Any:
    """Your open probes and those that nobody has taken; for engineers and owners all."""
    membership = member(request, slug, EXPERTS)
    project = membership.project
    told = project.probes.all() if may(membership, ENGINEERS) else probe.open_for(project, membership.user)
    found, after = page.cut(told.select_related(*RELATED))
    return {"items": [ProbeOut.of(each) for each in probe.with_found(found)], "next": after}


@router.post("/projects/{slug}/probes", auth=MANAGE, response={201: ProbeOut, **REFUSED})
def assign_probe(request: HttpRequest, slug: Text, body: ProbeIn) -> Any:
    """Ask for examples of a failure class in a model, of one person or of the first who takes it. For leads."""
    project = member(request, slug, ENGINEERS).project
    failure_class = named(project.failure_classes, body.failure_class, "failure class")
    model = named(project.artifacts, body.model, "model")
    made = probe.assign(
        failure_class, model, request.user, wanted=body.wanted, instructions=body.instructions,
        assignee=find_member(project, body.assignee) if body.assignee else None,
    )  # fmt: skip
    return 201, _out(request, made.pk)


@router.get("/probes/{probe_id}", auth=READ_OR_WORK, response={200: ProbeOut, **REFUSED})
def show_probe(request: HttpRequest, probe_id: int) -> Any:
    """A probe with how many examples were found."""
    return _out(request, probe_id)


@router.post("/probes/{probe_id}/take", auth=WORK, response={200: ProbeOut, **CONFLICT, **REFUSED})
def take_probe(request: HttpRequest, probe_id: int) -> Any:
    """Make it yours. 409 when somebody else was quicker, or it is over."""
    if not probe.take(find_probe(request, probe_id), request.user):
        return 409, {"detail": "Somebody else was quicker, or the probe is over."}
    return 200, _out(request, probe_id)


@router.post("/probes/{probe_id}/give-up", auth=WORK, response={204: None, **CONFLICT, **REFUSED})
def give_up_probe(request: HttpRequest, probe_id: int) -> Any:
    """Leave it to others; what you filed stays. 409 when it is not yours, or over."""
    if not probe.give_up(find_probe(request, probe_id), request.user):
        return 409, {"detail": "This probe is not yours, or it is over."}
    return 204, None


@router.post("/probes/{probe_id}/conclude", auth=WORK, response={200: ProbeOut, **REFUSED})
def conclude_probe(request: HttpRequest, probe_id: int, body: ConcludeIn) -> Any:
    """Close your probe with what you found, also when that is nothing."""
    probe.conclude(find_probe(request, probe_id), request.user, body.conclusion, state=body.state)
    return _out(request, probe_id)


@router.post("/probes/{probe_id}/withdraw", auth=MANAGE, response={204: None, **CONFLICT, **REFUSED})
def withdraw_probe(request: HttpRequest, probe_id: int) -> Any:
    """Call it off; what was found stays. For leads. 409 when it is over already."""
    found, _ = find(request, Probe.objects.select_related(*RELATED), probe_id, roles=ENGINEERS)
    if not probe.withdraw(found, request.user):
        return 409, {"detail": "The probe is over already."}
    return 204, None


def find_probe(request: HttpRequest, probe_id: int) -> Probe:
    return find(request, Probe.objects.select_related(*RELATED), probe_id, roles=EXPERTS)[0]


def _out(request: HttpRequest, probe_id: int) -> ProbeOut:
    (found,) = probe.with_found([find_probe(request, probe_id)])
    return ProbeOut.of(found)
