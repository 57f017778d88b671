"""People: how they do, where they stand, what a lead decides about them, and the consent of each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest
from ninja import Router

from annotation import consent, people
from annotation.api.auth import MANAGE, READ, READ_OR_WORK, WORK_OR_MANAGE, member, scoped
from annotation.api.schemas.people import ConsentIn, ConsentOut, PeopleOut, PortraitOut, StandingIn, StandingOut, UseOut
from annotation.api.schemas.shared import REFUSED, Text
from annotation.standing import let_repeat_trial, set_standing, standing_of
from studio.access import ENGINEERS, OWNERS, may
from studio.models import Membership, Project, Scope, User

router = Router(tags=["people"])
SEE_CONSENT = scoped(Scope.READ, Scope.ANNOTATE, Scope.MANAGE)


@router.get("/projects/{slug}/people", auth=READ, response={200: PeopleOut, **REFUSED})
def list_people(request: HttpRequest, slug: Text) -> Any:
    """Everybody who belongs to the project or has judged in it, those with most labels first."""
    return PeopleOut.of(people.board(member(request, slug, ENGINEERS).project))


@router.get("/projects/{slug}/me", auth=READ_OR_WORK, response={200: PortraitOut, **REFUSED})
def show_me(request: HttpRequest, slug: Text) -> Any:
    """Your own figures; of gold only what you were told anyway."""
    return PortraitOut.of(people.portrait(member(request, slug).project, request.user, only_told=True))


@router.get("/projects/{slug}/people/{username}", auth=READ, response={200: PortraitOut, **REFUSED})
def show_person(request: HttpRequest, slug: Text, username: Text) -> Any:
    """One person's figures, week by week, and their trial rounds."""
    project = member(request, slug, ENGINEERS).project
    return PortraitOut.of(people.portrait(project, find_person(project, username)))


@router.post("/projects/{slug}/people/{username}/standing", auth=MANAGE, response={200: StandingOut, **REFUSED})
def change_standing(request: HttpRequest, slug: Text, username: Text, body: StandingIn) -> Any:
    """Warn, pause, exclude or reactivate a member."""
    project = member(request, slug, ENGINEERS).project
    return StandingOut.of(set_standing(project, find_person(project, username), body.status, body.reason, request.user))


@router.post(
    "/projects/{slug}/people/{username}/trials/{queue_id}/repeat", auth=MANAGE, response={204: None, **REFUSED}
)
def repeat_trial(request: HttpRequest, slug: Text, username: Text, queue_id: int) -> Any:
    """Let a person begin the trial round of a queue anew."""
    project = member(request, slug, ENGINEERS).project
    queue = project.queues.select_related("project").filter(pk=queue_id).first()
    if queue is None:
        raise Http404("There is no such queue in this project.")
    let_repeat_trial(queue, find_person(project, username), request.user)
    return 204, None


@router.get("/projects/{slug}/people/{username}/consent", auth=SEE_CONSENT, response={200: ConsentOut, **REFUSED})
def show_consent(request: HttpRequest, slug: Text, username: Text) -> Any:
    """Whether a person's labels may be used, and what has used them: your own, or for owners anybody's."""
    membership, person = _whose(request, slug, username)
    return consent_out(membership, person)


@router.post(
    "/projects/{slug}/people/{username}/consent/take-back", auth=WORK_OR_MANAGE, response={200: ConsentOut, **REFUSED}
)
def take_back_consent(request: HttpRequest, slug: Text, username: Text, body: ConsentIn) -> Any:
    """From now on nothing is made of these labels: your own, or for owners those of a person who asked for it."""
    return _decide(request, slug, username, body.reason, consent.take_back)


@router.post(
    "/projects/{slug}/people/{username}/consent/give-again", auth=WORK_OR_MANAGE, response={200: ConsentOut, **REFUSED}
)
def give_consent_again(request: HttpRequest, slug: Text, username: Text, body: ConsentIn) -> Any:
    """The labels count as before. Owners undo what an owner did: nobody consents for another."""
    return _decide(request, slug, username, body.reason, consent.give_again)


def _decide(request: HttpRequest, slug: str, username: str, reason: str, act: Callable[..., Any]) -> ConsentOut:
    membership, person = _whose(request, slug, username)
    act(membership.project, person, request.user, reason)
    return consent_out(membership, person)


def _whose(request: HttpRequest, slug: str, username: str) -> tuple[Membership, User]:
    """The caller's membership and the person: themselves, or for owners anybody."""
    membership = member(request, slug)
    if username == membership.user.username:
        return membership, membership.user
    if not may(membership, OWNERS):
        raise PermissionDenied("Only the person themselves, or an owner whom they asked, decides about consent.")
    return membership, find_person(membership.project, username)


def consent_out(membership: Membership, person: User) -> ConsentOut:
    project, tells_name = membership.project, may(membership, ENGINEERS)
    standing, uses = standing_of(project, person), consent.uses_of(project, person)
    return ConsentOut(
        username=person.username,
        withdrawn_at=standing.consent_withdrawn_at,
        reason=standing.consent_reason,
        labels=consent.label_counts(project, person),
        datasets=[UseOut.of(use) for use in uses.datasets],
        models=[UseOut.of(use, tells_name=tells_name) for use in uses.models],
    )


def find_person(project: Project, username: str) -> User:
    """Somebody who belongs to the project or has judged in it. Raises Http404."""
    named = User.objects.filter(username=username).first()
    if named is None or people.find_person(project, named.pk) is None:
        raise Http404("Nobody of this name belongs to the project or has judged in it.")
    return named
