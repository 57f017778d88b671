"""The cast: one project, a member in each role, and somebody who is none."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest
from django.test import Client
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from studio.models import Guideline, Membership, Project, Role, User
from tests.workers import workers  # noqa: F401  (fixture)

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page
    from pytest_django.live_server_helper import LiveServer

# No test fails because the machine is busy.
hypothesis_settings.register_profile("studio", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.load_profile("studio")


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


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """Debian's Chromium, without a window."""
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("Browser tests need Debian's chromium: apt-get install chromium.")
    # Playwright's event loop runs in this thread, and Django would refuse its own synchronous queries beside it.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    with sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=path, args=flags)
        yield browser
        browser.close()
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture
def page_for(chromium: Browser, live_server: LiveServer, client_for) -> Iterator[Callable[..., Page]]:
    """`page_for(user, width=1440, scheme="light")`: a browser page of the live server in which that user is signed in.

    Addresses are relative (`page.goto("/account/")`). The test fails when a page's script fails or breaks the content
    security policy.
    """
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def open_page(user: User | None, width: int = 1440, scheme: str = "light") -> Page:
        context = chromium.new_context(
            base_url=live_server.url, viewport={"width": width, "height": 900}, color_scheme=scheme
        )
        contexts.append(context)
        if user is not None:
            session = client_for(user).cookies["sessionid"].value
            context.add_cookies([{"name": "sessionid", "value": session, "url": live_server.url}])
        page = context.new_page()
        page.on("console", lambda m: complaints.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        return page

    yield open_page
    for context in contexts:
        context.close()
    # A refused form answers 422, and the console calls that a failure to load; so it does a lost connection.
    expected = r"status of 4\d\d|net::ERR_(INTERNET_DISCONNECTED|CONNECTION_REFUSED|CONNECTION_RESET|FAILED)"
    assert [text for text in complaints if not re.search(expected, text)] == []


@pytest.fixture
def assert_accessible() -> Callable[[Page], None]:
    """Fails with the rule, the element and the remedy for every axe violation, and when a page scrolls sideways."""
    from axe_playwright_python.sync_playwright import Axe

    axe = Axe()

    def check(page: Page) -> None:
        violations = [
            (rule["id"], node["target"], node["failureSummary"])
            for rule in axe.run(page).response["violations"]
            for node in rule["nodes"]
        ]
        assert violations == [], page.url
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{page.url} scrolls sideways"

    return check
