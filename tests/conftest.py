"""The cast: one project, a member in each role, and somebody who is none."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.test import Client

from studio.models import Guideline, Membership, Project, Role, User


@pytest.fixture
def project(db) -> Project:
    return Project.objects.create(slug="helpdesk", name="Python helpdesk", description="Answers about Python.")


def _member(project: Project, role: Role) -> User:
    user = User.objects.create_user(username=role.value, password="correct horse battery")
    Membership.objects.create(project=project, user=user, role=role)
    return user


@pytest.fixture
def annotator(project: Project) -> User:
    return _member(project, Role.ANNOTATOR)


@pytest.fixture
def sme(project: Project) -> User:
    return _member(project, Role.SME)


@pytest.fixture
def engineer(project: Project) -> User:
    return _member(project, Role.ENGINEER)


@pytest.fixture
def owner(project: Project) -> User:
    return _member(project, Role.OWNER)


@pytest.fixture
def outsider(db) -> User:
    """Signed in, but a member of nothing."""
    return User.objects.create_user(username="outsider", password="correct horse battery")


@pytest.fixture
def client_for() -> Callable[[User], Client]:
    """A browser in which that user is signed in."""

    def sign_in(user: User) -> Client:
        client = Client()
        client.force_login(user)
        return client

    return sign_in


@pytest.fixture
def guideline(project: Project, owner: User) -> Guideline:
    return Guideline.publish(project, "# How to judge\n\nPrefer the answer that **runs**.", owner, "First version")
