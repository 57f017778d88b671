"""Work that is interrupted, in a real browser: nothing typed is lost, nothing sent counts twice."""

from __future__ import annotations

import contextlib
import json
import socket
from datetime import timedelta

import pytest
from django.core.servers.basehttp import ThreadedWSGIServer
from django.test.testcases import LiveServerThread, QuietWSGIRequestHandler
from django.utils import timezone
from playwright.sync_api import Page, expect
from pytest_django.live_server_helper import LiveServer

from annotation import queue
from annotation.models import Claim, Comparison, Draft, Slot
from tests.e2e.work_page import HOME, open_task

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def outbox(page: Page) -> list[dict]:
    kept = page.evaluate("Object.entries(localStorage).filter(([k]) => k.startsWith('studio:outbox'))")
    return [entry for _, text in kept for entry in json.loads(text).values()]


@pytest.fixture
def restartable(live_server, monkeypatch):
    """A server of the test's own; `stop()` ends it with all its open connections, as a restart does."""
    sockets = []
    take = ThreadedWSGIServer.process_request

    def process_request(self, request, address):
        sockets.append(request)
        return take(self, request, address)

    def create(self, connections_override=None):  # Django's own refuses a port that was open a moment ago
        return ThreadedWSGIServer(
            (self.host, self.port),
            QuietWSGIRequestHandler,
            allow_reuse_address=True,
            connections_override=connections_override,
        )

    monkeypatch.setattr(ThreadedWSGIServer, "process_request", process_request)
    monkeypatch.setattr(LiveServerThread, "_create_server", create)
    running = [LiveServer("localhost:0")]

    class Restartable:
        url = running[0].url

        def stop(self) -> None:
            running.pop().stop()
            for each in sockets:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

        def start(self) -> None:
            running.append(LiveServer(self.url.removeprefix("http://")))

    yield Restartable()
    for server in running:
        server.stop()


def test_autosave_through_a_restart_of_the_server(page_for, annotator, rank_queue, restartable):
    page = page_for(annotator)
    claim = queue.claim_next(rank_queue, annotator)
    page.goto(f"{restartable.url}{HOME}work/{claim.pk}/")
    restartable.stop()
    page.keyboard.press("2")
    page.get_by_label("Why this order?").fill("Typed while the server was away.")
    expect(page.locator("#save-state")).to_contain_text("the studio cannot be reached", timeout=10_000)
    restartable.start()
    expect(page.locator("#save-state")).to_contain_text("Draft saved", timeout=10_000)
    page.reload()
    expect(page.get_by_label("Why this order?")).to_have_value("Typed while the server was away.")
    expect(page.locator("input[name=rank_a][value='2']")).to_be_checked()
    page.close()
    assert Draft.objects.get().content["fields"]["rationale"] == ["Typed while the server was away."]


def test_offline_the_answer_waits_and_is_sent_once(page_for, annotator, rank_queue):
    page = page_for(annotator)
    claim = open_task(page, rank_queue, annotator)
    page.keyboard.type("211")
    page.context.set_offline(True)
    page.keyboard.press("Enter")
    expect(page.get_by_text("Your answer is not sent yet.")).to_be_visible()
    expect(page.locator("#outbox-why")).to_have_text("The studio cannot be reached.")
    assert [entry["url"] for entry in outbox(page)] == [f"{HOME}work/{claim.pk}/"]
    page.get_by_role("button", name="Change it").click()  # second thoughts, still offline
    expect(page.get_by_text("Your answer is not sent yet.")).to_be_hidden()
    assert outbox(page) == []
    page.keyboard.press("3")
    page.locator("#answer-a").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_text("Your answer is not sent yet.")).to_be_visible()
    assert not Comparison.objects.exists()
    page.context.set_offline(False)
    page.wait_for_url(lambda url: not url.endswith(f"/work/{claim.pk}/"))
    assert outbox(page) == []
    assert [len(tier) for tier in Comparison.objects.get().tiers] == [2, 1]


def test_signed_out_the_answer_waits_for_signing_in(page_for, client_for, annotator, rank_queue, live_server):
    page = page_for(annotator)
    claim = open_task(page, rank_queue, annotator)
    page.keyboard.type("211")
    page.context.clear_cookies()
    page.keyboard.press("Enter")
    expect(page.locator("#outbox-why")).to_contain_text("You are signed out")
    fresh = {"sessionid": client_for(annotator).cookies["sessionid"].value, "csrftoken": "x" * 32}
    page.context.add_cookies([{"name": n, "value": value, "url": live_server.url} for n, value in fresh.items()])
    page.wait_for_url(lambda url: not url.endswith(f"/work/{claim.pk}/"))
    assert Comparison.objects.count() == 1


def test_an_answer_whose_receipt_was_lost_counts_once(page_for, annotator, rank_queue):
    page = page_for(annotator)
    claim = open_task(page, rank_queue, annotator)
    times = []

    def lose(route):
        if route.request.method != "POST":
            return route.continue_()
        times.append(route.fetch(max_redirects=0).status)  # it arrives …
        return route.abort("connectionreset") if len(times) == 1 else route.continue_()  # … and nobody hears of it

    page.route(f"**/work/{claim.pk}/", lose)
    page.keyboard.type("211")
    page.keyboard.press("Enter")
    page.wait_for_url(lambda url: not url.endswith(f"/work/{claim.pk}/"), timeout=15_000)
    assert times[0] == 200
    assert Comparison.objects.count() == 1
    assert outbox(page) == []


def test_an_answer_is_sent_from_the_next_page_when_its_own_was_closed(page_for, annotator, rank_queue):
    page = page_for(annotator)
    open_task(page, rank_queue, annotator)
    page.keyboard.type("211")
    page.context.set_offline(True)
    page.keyboard.press("Enter")
    expect(page.get_by_text("Your answer is not sent yet.")).to_be_visible()
    context = page.context
    page.close()
    context.set_offline(False)
    later = context.new_page()
    later.goto(HOME)
    expect(later.get_by_text("that was waiting in this browser has been sent")).to_be_visible()
    assert Comparison.objects.count() == 1
    assert outbox(later) == []


def test_back_button_after_handing_in(page_for, annotator, rank_queue):
    page = page_for(annotator)
    claim = open_task(page, rank_queue, annotator)
    page.keyboard.type("211")
    page.keyboard.press("Enter")
    page.wait_for_url(lambda url: not url.endswith(f"/work/{claim.pk}/"))
    page.go_back()
    page.wait_for_url("**/comparisons/*/")  # not the form again: its judgement, which can be changed
    expect(page.get_by_role("link", name="Change")).to_be_visible()
    assert Comparison.objects.count() == 1


def test_expiry_while_editing(page_for, annotator, sme, rank_queue):
    page = page_for(annotator)
    claim = queue.claim_next(rank_queue, annotator)
    Claim.objects.filter(pk=claim.pk).update(expires_at=timezone.now() + timedelta(seconds=2))
    page.goto(f"{HOME}work/{claim.pk}/")
    page.keyboard.type("211")
    expect(page.get_by_text("The time held for you is over.")).to_be_visible()
    Claim.objects.filter(pk=claim.pk).update(expires_at=timezone.now() - timedelta(seconds=2))
    queue.expire(rank_queue)
    Slot.objects.filter(task=claim.task_id).update(status=Slot.Status.DONE)  # by others, meanwhile
    page.keyboard.press("Enter")
    expect(page.get_by_text("Your answer is kept, but not counted.")).to_be_visible()
    assert Comparison.objects.get().surplus
