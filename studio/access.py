"""Who may see and do what: membership first (404 outside: a project's existence is not told), then role (403)."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse

from studio.models import Membership, Project, Role, User

EVERYONE = (Role.ANNOTATOR, Role.SME, Role.ENGINEER, Role.OWNER)
EXPERTS = (Role.SME, Role.ENGINEER, Role.OWNER)
ENGINEERS = (Role.ENGINEER, Role.OWNER)
OWNERS = (Role.OWNER,)


def find_membership(user: User, slug: str) -> Membership | None:
    return Membership.objects.select_related("project", "user").filter(project__slug=slug, user=user).first()


def member_required(*roles: Role) -> Callable[..., Any]:
    """Decorate a view whose first URL argument is the project's `slug`; the view is called with `project` instead.

    `request.membership` carries the role. No roles: every member.
    """

    def decorate(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
        @wraps(view)
        @login_required
        def guarded(request: HttpRequest, slug: str, *args: Any, **kwargs: Any) -> HttpResponse:
            membership = find_membership(request.user, slug)
            if membership is None:
                raise Http404("There is no such project, or you are not a member of it.")
            if roles and membership.role not in roles:
                raise PermissionDenied(f"This page is for: {', '.join(Role(r).label for r in roles)}.")
            request.membership = membership
            return view(request, membership.project, *args, **kwargs)

        return guarded

    return decorate


def may(membership: Membership, roles: tuple[Role, ...]) -> bool:
    return membership.role in roles


__all__ = ["ENGINEERS", "EVERYONE", "EXPERTS", "OWNERS", "Project", "find_membership", "may", "member_required"]
