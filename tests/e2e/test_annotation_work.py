"""A day's work in a real browser: nothing typed is lost, nothing sent counts twice, and no mouse is needed."""

from __future__ import annotations

import contextlib
import json
import re
import socket
from datetime import timedelta

import pytest
from django.core.servers.basehttp import ThreadedWSGIServer
from django.test.testcases import LiveServerThread, QuietWSGIRequestHandler
from django.utils import timezone
from playwright.sync_api import Page, expect
from pytest_django.live_server_helper import LiveServer

from annotation import queue, submit
from annotation.models import Claim, Comparison, Completion, Demonstration, Draft, Instrument, Kind, Slot
from annotation.prompts import import_prompts
from annotation.tasks import add_tasks, find_queue

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

HOME = "/projects/helpdesk/annotate/"


@pytest.fixture
def pairs(project, engineer):
    """A queue of ten tasks with two answers each."""
    rows = [{"prompt": f"How do I sort list number {n}?", "split": "train"} for n in range(10)]
    work = find_queue(project, Kind.RANK, "Pairs")
    texts = ("Call `sorted(items)`, which returns a new list.", "Call `items.sort()`, which returns the list.")
    found = import_prompts(project, rows, engineer).prompts
    add_tasks(work, [(p, [Completion.objects.create(prompt=p, text=f"{t} {p.pk}") for t in texts]) for p in found])
    return work


def open_task(page: Page, work, user) -> Claim:
    claim = queue.claim_next(work, user)
    assert claim is not None
    page.goto(f"{HOME}work/{claim.pk}/")
    return claim


def handed_in(page: Page) -> None:
    expect(page.locator(".toast", has_text="Saved")).to_be_visible()


def fits(page: Page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{page.url} scrolls sideways"
    if page.locator(".work-bar").count() and not page.locator("dialog[open]").count():
        assert page.locator(".work-bar").bounding_box()["height"] < page.viewport_size["height"] / 3


def outbox(page: Page) -> list[dict]:
    kept = page.evaluate("Object.entries(localStorage).filter(([k]) => k.startsWith('studio:outbox'))")
    return [entry for _, text in kept for entry in json.loads(text).values()]


def test_ten_comparisons_without_a_mouse(page_for, annotator, pairs):
    page = page_for(annotator)
    page.goto(HOME)
    page.keyboard.press("Enter")
    for n in range(10):
        page.wait_for_url("**/work/*/")
        expect(page.locator("#answer-a")).to_be_focused()
        page.keyboard.press("1" if n % 2 else "2")  # of two, the place of one tells the other's
        page.keyboard.press("Shift+Digit3")
        here = page.url
        page.keyboard.press("Enter")
        page.wait_for_url(lambda url, here=here: url != here)
    expect(page.get_by_text("All of it is judged")).to_be_visible()
    made = Comparison.objects.select_related("claim")
    assert made.count() == 10
    assert {c.strength for c in made} == {3}
    assert sum(c.tiers == [[pk] for pk in c.claim.shown_order] for c in made) == 5
    assert {c.unchanged for c in made} == {True, False}


def test_a_pair_takes_one_click_and_enter(page_for, annotator, pairs):
    page = page_for(annotator)
    claim = open_task(page, pairs, annotator)
    page.get_by_role("button", name="B slightly better").click()
    expect(page.get_by_role("button", name="B slightly better")).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#ranking-words")).to_have_text("First: B. Second: A.")
    page.get_by_role("button", name="Submit").click()
    handed_in(page)
    made = Comparison.objects.get()
    a, b = claim.shown_order
    assert (made.tiers, made.strength) == ([[b], [a]], 1)


def test_of_two_answers_one_place_tells_the_other(page_for, annotator, pairs):
    page = page_for(annotator)
    open_task(page, pairs, annotator)

    def places() -> list[str | None]:
        return [page.locator(f"input[name=rank_{x}]:checked").get_attribute("value") for x in "ab"]

    page.locator("#answer-a").get_by_role("radio", name="1", exact=True).first.check()
    assert places() == ["1", "2"]
    page.locator("#answer-a").get_by_role("radio", name="2", exact=True).first.check()
    assert places() == ["2", "1"]
    page.locator("#answer-b").get_by_role("radio", name="2", exact=True).first.check()  # said, not guessed: a tie
    assert places() == ["2", "2"]
    expect(page.get_by_role("button", name="Tie")).to_have_attribute("aria-pressed", "true")


def test_the_order_that_was_shown_is_asked_about_once(page_for, annotator, rank_queue):
    page = page_for(annotator)
    open_task(page, rank_queue, annotator)
    page.keyboard.type("123")
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Is this your ranking?")
    expect(dialog).to_be_visible()
    dialog.get_by_role("button", name="Look again").click()
    assert not Comparison.objects.exists()
    page.keyboard.press("Enter")
    expect(dialog.get_by_role("button", name="Yes, it is")).to_be_focused()
    page.keyboard.press("Enter")
    handed_in(page)
    assert Comparison.objects.get().unchanged is True


def test_undo_with_one_key_and_hand_in_again(page_for, annotator, rank_queue):
    page = page_for(annotator)
    claim = open_task(page, rank_queue, annotator)
    page.keyboard.type("211")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Undo")).to_be_visible()
    page.keyboard.press("u")
    page.wait_for_url(f"**/work/{claim.pk}/")
    expect(page.get_by_text("Taken back.")).to_be_visible()
    expect(page.locator("input[name=rank_a][value='2']")).to_be_checked()
    page.locator("#answer-a").focus()
    page.keyboard.type("31")  # a to the third place, b stays first
    page.keyboard.press("Enter")
    page.wait_for_url(lambda url: not url.endswith(f"/work/{claim.pk}/"))
    made = Comparison.objects.get()
    assert (made.revision, made.is_withdrawn, made.revisions.count()) == (2, False, 1)


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


def test_differences_ratings_and_second_looks_by_keyboard(page_for, annotator, pairs, guideline):
    page = page_for(annotator)
    open_task(page, pairs, annotator)
    page.keyboard.press("d")
    expect(page.locator("#differences-words")).to_contain_text("Marked:")
    marked = [" ".join(page.locator(f"#answer-{letter} mark.differs").all_inner_texts()) for letter in "ab"]
    of_sorted, of_sort = sorted(marked, key=lambda words: "sorted" not in words)
    assert ("sorted" in of_sorted, "a new" in of_sorted, "the" in of_sort) == (True, True, True)
    assert "returns" not in of_sorted + of_sort  # both have it
    page.keyboard.press("d")
    expect(page.locator("mark.differs")).to_have_count(0)
    page.keyboard.press("i")  # guidelines beside the work, which keeps its keys
    expect(page.get_by_role("dialog", name="Guidelines")).to_be_visible()
    page.keyboard.press("b")
    page.keyboard.press("r")
    page.keyboard.press("6")
    page.keyboard.press("1")
    page.keyboard.press("i")
    page.keyboard.press("l")
    page.keyboard.type("Does sort return?")
    page.keyboard.press("Escape")
    page.keyboard.press("Enter")
    handed_in(page)
    made = Comparison.objects.get()
    assert list(made.ratings.values()) == [6]
    assert (made.second_look, made.tiers[0]) == ("Does sort return?", [made.shown_order[1]])


def test_long_answers_fold_to_one_height_together(page_for, annotator, pairs):
    Completion.objects.filter(text__contains="sorted").update(text="Word after word. " * 900)
    page = page_for(annotator)
    open_task(page, pairs, annotator)
    heights = "[...document.querySelectorAll('.answer-text')].map((e) => e.clientHeight)"
    assert max(page.evaluate(heights)) <= 30 * 16
    page.keyboard.press("f")
    assert max(page.evaluate(heights)) > 40 * 16
    page.keyboard.press("f")
    assert max(page.evaluate(heights)) <= 30 * 16


def test_pause_and_go_on(page_for, annotator, rank_queue):
    page = page_for(annotator)
    claim = open_task(page, rank_queue, annotator)
    page.keyboard.press("2")
    page.keyboard.press("p")
    expect(page.get_by_role("button", name="Go on")).to_be_focused()
    claim.refresh_from_db()
    assert claim.paused_at is not None
    page.keyboard.press("Enter")
    expect(page.locator("input[name=rank_a][value='2']")).to_be_checked()


def test_demonstration_from_a_draft_with_a_twin(page_for, annotator, sme, write_queue, answers, project):
    Instrument.objects.create(project=project, start_from_draft=True, answer_min=20)
    twin = "Call `items.reverse()`; it works in place and returns None."
    submit.submit_demonstration(queue.claim_next(write_queue, sme), twin)
    page = page_for(annotator)
    open_task(page, write_queue, annotator)
    page.get_by_role("link", name="Start from a model").click()
    expect(page.get_by_text("Begun from a model")).to_be_visible()
    answer = page.get_by_label("Your answer")
    answer.fill("Too short")
    expect(page.locator(".count-line")).to_have_class(re.compile("unsaved"))
    expect(page.locator(".count-line")).to_contain_text("9 written; at least 20")
    answer.fill(twin + "!")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_text("the same as a demonstration")).to_be_visible()
    expect(answer).to_have_value(twin + "!")
    page.get_by_role("button", name="Yes, hand it in").click()
    handed_in(page)
    made = Demonstration.objects.get(annotator=annotator)
    assert made.draft_of is not None
    assert made.edit_distance > 20


def test_shortcuts_are_listed_and_none_destroys(page_for, annotator, rank_queue):
    page = page_for(annotator)
    claim = open_task(page, rank_queue, annotator)
    for key in [*"acdefghjklmnoqtuvwxyz", "Backspace", "Delete", "Escape"]:
        page.keyboard.press(key)
        page.keyboard.press("Escape")
    claim.refresh_from_db()
    assert (claim.status, Comparison.objects.count()) == ("live", 0)
    page.keyboard.press("Escape")
    page.locator("#answer-a").focus()
    page.keyboard.press("?")
    listed = page.get_by_role("dialog", name="Keyboard shortcuts")
    for words in ("Not rankable", "Mark what differs", "Fold or unfold", "Skip: asks why"):
        expect(listed.get_by_text(words)).to_be_visible()


@pytest.mark.parametrize(("width", "height", "scheme"), [(1440, 900, "light"), (390, 844, "dark"), (720, 450, "light")])
def test_the_screens_in_their_states_are_accessible(
    page_for, owner, pairs, rank_queue, write_queue, guideline, assert_accessible, width, height, scheme
):
    """720 × 450 is 1440 × 900 at 200 % zoom: there, nothing scrolls sideways, and the way to the button is free."""
    if width == 720:
        assert_accessible = fits
    Instrument.objects.create(project=pairs.project, ratings="required", start_from_draft=True, answer_min=50)
    Completion.objects.filter(text__contains="sorted").update(text="Word after word. " * 900)
    done = submit.submit_ranking(
        queue.claim_next(rank_queue, owner), [["b"], ["a", "c"]], ratings={"a": 1, "b": 2, "c": 3}, second_look="Sure?"
    )
    page = page_for(owner, width, scheme)
    page.set_viewport_size({"width": width, "height": height})
    for path in (f"comparisons/{done.pk}/", f"comparisons/{done.pk}/change/", f"comparisons/{done.pk}/versions/",
                 "annotate/mine/", "annotate/instrument/", "annotate/"):  # fmt: skip
        page.goto(f"/projects/helpdesk/{path}")
        assert_accessible(page)
    open_task(page, pairs, owner)
    page.get_by_role("button", name="Differences").click()
    assert_accessible(page)
    page.get_by_role("button", name="Guidelines").click()
    assert_accessible(page)
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Close").first.click() if page.locator("#guideline[open]").count() else None
    if width < 1440:
        page.get_by_role("button", name="Prompt").click()
        assert_accessible(page)
        page.keyboard.press("Escape")
    open_task(page, rank_queue, owner)
    page.keyboard.type("123")
    page.get_by_role("button", name="Submit").click()  # ratings are missing
    page.get_by_role("dialog").get_by_role("button", name="Yes, it is").click()
    expect(page.get_by_text("Rate every answer")).to_be_visible()
    assert_accessible(page)
    page.get_by_role("button", name="Pause").click()
    assert_accessible(page)
    open_task(page, write_queue, owner)
    page.get_by_label("Your answer").fill("Short.")
    assert_accessible(page)
