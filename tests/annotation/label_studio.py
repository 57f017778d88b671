"""A real Label Studio of the test session's own, and people who work in it as its interface does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Locator, Page, Response
from playwright.sync_api import TimeoutError as TooLate

from annotation.label_studio.formats import Ranking, Result, Written, demonstration_result, ranking_result
from benchmarks.label_studio_server import PASSWORD, Server, label_studio, why_missing

PEOPLE = ("lead@example.org", "ann@example.org", "bob@example.org", "eve@example.org")


@pytest.fixture(scope="session")
def label_studio_server(tmp_path_factory) -> Iterator[Server]:
    if why_missing():
        pytest.skip(why_missing())
    with label_studio(tmp_path_factory.mktemp("label-studio"), people=PEOPLE) as server:
        yield server


@pytest.fixture
def configured(settings, label_studio_server: Server) -> Server:
    settings.LABEL_STUDIO_URL = label_studio_server.url + "/"
    settings.LABEL_STUDIO_API_KEY = label_studio_server.token
    return label_studio_server


class Worker:
    """Somebody in Label Studio: sends what its interface would."""

    def __init__(self, server: Server, email: str) -> None:
        headers = {"Authorization": f"Token {server.tokens[email]}"}
        self.http = httpx.Client(base_url=server.url, headers=headers, timeout=60, trust_env=False)

    def tasks(self, project: int) -> list[dict[str, Any]]:
        found = self.http.get("/api/tasks/", params={"project": project, "page_size": 100, "fields": "all"})
        return found.raise_for_status().json()["tasks"]

    def next_task(self, project: int) -> dict[str, Any] | None:
        answer = self.http.get(f"/api/projects/{project}/next")
        return None if answer.status_code == 404 else answer.raise_for_status().json()

    def annotate(self, task: int, result: Result, **fields: Any) -> int:
        body = {"result": result, "lead_time": 12.5, **fields}
        return self.http.post(f"/api/tasks/{task}/annotations", json=body).raise_for_status().json()["id"]

    def rank(self, task: int, tiers: list[list[str]], letters: str = "abc", **fields: Any) -> int:
        return self.annotate(task, ranking_result(Ranking(tiers), letters, pairwise=False), **fields)

    def write(self, task: int, text: str, reasoning: str = "", **fields: Any) -> int:
        return self.annotate(task, demonstration_result(Written(text, reasoning)), **fields)

    def skip(self, task: int) -> int:
        return self.annotate(task, [], was_cancelled=True)

    def change(self, annotation: int, **fields: Any) -> None:
        self.http.patch(f"/api/annotations/{annotation}", json=fields).raise_for_status()

    def delete(self, annotation: int) -> None:
        self.http.delete(f"/api/annotations/{annotation}").raise_for_status()

    def delete_project(self, project: int) -> None:
        self.http.delete(f"/api/projects/{project}").raise_for_status()


@pytest.fixture
def worker(configured: Server) -> Iterator[Callable[[str], Worker]]:
    made: list[Worker] = []

    def make(email: str) -> Worker:
        made.append(Worker(configured, email))
        return made[-1]

    yield make
    for each in made:
        each.http.close()


class Interface:
    """Label Studio's own pages, in a real browser."""

    def __init__(self, page: Page, server: Server, email: str) -> None:
        self.page = page
        self.url = server.url
        page.set_default_timeout(30_000)
        page.goto(f"{server.url}/user/login/")
        page.fill("input[name=email]", email)
        page.fill("input[name=password]", PASSWORD)
        page.click("button[type=submit]")
        page.wait_for_load_state()

    def open(self, project: int, task: int) -> None:
        self.page.goto(f"{self.url}/projects/{project}/data?task={task}")
        self.page.get_by_role("button", name="Submit").wait_for()

    def write(self, number: int, text: str) -> None:
        self.page.locator("textarea").nth(number).fill(text)
        self.page.keyboard.press("Shift+Enter")

    def drag(self, answer: str, bucket: str) -> None:
        """Until it is there: on a busy machine its page draws itself anew under the mouse now and then."""
        place = self.page.locator(f"[data-rbd-droppable-id={bucket}]")
        card = self.page.locator("[data-rbd-draggable-id]", has_text=answer).first
        for _ in range(8):
            card.wait_for()
            place.wait_for()
            self._drag_once(card, place)
            if place.get_by_text(answer).count():
                return
        raise AssertionError(f"{answer} does not go into {bucket}")

    def _drag_once(self, card: Locator, place: Locator) -> None:
        start, end = card.bounding_box(), place.bounding_box()
        if start is None or end is None:  # gone since we waited for it
            return self.page.wait_for_timeout(500)
        mouse = self.page.mouse
        mouse.move(start["x"] + 30, start["y"] + 12)
        mouse.down()
        mouse.move(start["x"] + 40, start["y"] + 20, steps=5)
        mouse.move(end["x"] + end["width"] / 2, end["y"] + 60, steps=15)
        self.page.wait_for_timeout(300)  # it animates
        mouse.up()
        self.page.wait_for_timeout(700)

    def submit(self) -> None:
        """Until it is saved: its button does nothing while the page still draws what was just entered."""
        for _ in range(6):
            try:
                with self.page.expect_response(_saves, timeout=5_000) as answer:
                    self.page.get_by_role("button", name="Submit").click()
            except TooLate:
                continue
            assert answer.value.status == 201
            return
        raise AssertionError("nothing is saved")


def _saves(response: Response) -> bool:
    return "/annotations" in response.url and response.request.method == "POST"


@pytest.fixture
def interface(chromium: Browser, configured: Server) -> Iterator[Callable[[str], Interface]]:
    contexts = []

    def make(email: str) -> Interface:
        contexts.append(chromium.new_context(viewport={"width": 1400, "height": 1400}))
        return Interface(contexts[-1].new_page(), configured, email)

    yield make
    for context in contexts:
        context.close()
