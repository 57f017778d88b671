"""Who calls: a program with a person's token, bounded by its scopes, or a page with its session and CSRF token."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest
from ninja.security import HttpBearer, SessionAuth

from studio.access import find_membership
from studio.models import ApiToken, Membership, Project, Role, Scope


class TokenAuth(HttpBearer):
    """A token with one of these scopes. Raises PermissionDenied for a good token without them."""

    openapi_name = "token"

    def __init__(self, *scopes: Scope):
        super().__init__()
        self.scopes = scopes

    def authenticate(self, request: HttpRequest, token: str) -> ApiToken | None:
        found = ApiToken.authenticate(token)
        if found is None:
            return None
        request.user = found.user
        if not any(scope in found.scopes for scope in self.scopes):
            raise PermissionDenied(
                f"This token may not be used for that: it needs the scope {' or '.join(self.scopes)}. "
                "Issue one that has it on your account page."
            )
        return found


class PageAuth(SessionAuth):
    """The pages' session, with a CSRF token. Without a session there is nothing to protect: 401, not 403."""

    def _get_key(self, request: HttpRequest) -> str | None:
        return super()._get_key(request) if request.user.is_authenticated else None


def scoped(*scopes: Scope) -> list[HttpBearer | SessionAuth]:
    """What an operation takes: a token with one of these scopes, or a page's session."""
    return [TokenAuth(*scopes), PageAuth()]


READ = scoped(Scope.READ)
WORK = scoped(Scope.ANNOTATE)
READ_OR_WORK = scoped(Scope.READ, Scope.ANNOTATE)
IMPORT = scoped(Scope.IMPORT)
EXPORT = scoped(Scope.EXPORT)
MANAGE = scoped(Scope.MANAGE)
WORK_OR_MANAGE = scoped(Scope.ANNOTATE, Scope.MANAGE)


def member(request: HttpRequest, project: Project | str, roles: tuple[Role, ...] = ()) -> Membership:
    """The caller's membership. Raises Http404 outside the project and PermissionDenied without one of the roles."""
    slug = project if isinstance(project, str) else project.slug
    membership = find_membership(request.user, slug)
    if membership is None:
        raise Http404("There is no such project, or you are not a member of it.")
    if roles and membership.role not in roles:
        raise PermissionDenied(f"This is for: {', '.join(Role(r).label for r in roles)}.")
    return membership


def named(rows: QuerySet[Any], pk: int, what: str) -> Any:
    """The one of the project's rows that a body names. Raises ValueError when there is none."""
    found = rows.filter(pk=pk).first()
    if found is None:
        raise ValueError(f"This project has no {what} {pk}.")
    return found


def find(
    request: HttpRequest, rows: QuerySet[Any], pk: int, path: str = "project", roles: tuple[Role, ...] = ()
) -> tuple[Any, Membership]:
    """The row of this id and the caller's membership of its project, to which `path` leads from it.

    Raises Http404 outside the project and PermissionDenied without one of the roles.
    """
    found = rows.select_related(path).filter(pk=pk, **{f"{path}__members": request.user}).first()
    if found is None:
        name = rows.model._meta.verbose_name
        raise Http404(f"There is no such {name}, or you are not a member of its project.")
    project = found
    for step in path.split("__"):
        project = getattr(project, step)
    return found, member(request, project, roles)
