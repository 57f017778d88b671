"""Probing in a real browser: two models side by side while they write, blind votes, failures in two clicks."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator

import pytest
from django.db import connections
from playwright.sync_api import Page, expect

from annotation import probe
from annotation.chats import ask, open_chat
from annotation.failures import add_class
from annotation.models import Chat, Comparison, Demonstration, FailureClass, FailureExample, Probe, Reply
from studio.serving import servers
from tests.annotation.talkers import STAND_IN, Talkers, make_model

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

ROOM = "/projects/helpdesk/probe/"


@pytest.fixture
def talkers(project, engineer, var, settings) -> Iterator[Talkers]:
    settings.MAX_SERVERS = 2
    made = Talkers(project, engineer)
    yield made
    made.end()


@pytest.fixture
def gpu_host(var, settings) -> Iterator[None]:
    """What looks after servers on a GPU host, with a stand-in for vLLM."""
    settings.SERVER_COMMAND, settings.MAX_SERVERS = STAND_IN, 2
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.1):
            servers.watch("test-host")
        servers.stop_all("test-host", "over")
        connections.close_all()

    watcher = threading.Thread(target=watch)
    watcher.start()
    yield
    over.set()
    watcher.join()


def send(page: Page, text: str) -> None:
    page.get_by_role("textbox", name="Message").fill(text)
    page.keyboard.press("Control+Enter")


def test_two_models_side_by_side_blind_to_a_comparison(page_for, sme, talkers, assert_accessible):
    hare = talkers("Hare", says="Use **sort** and be quick about it, friend.", word_after=0.1)
    tortoise = talkers("Tortoise", says="Use **sorted**, it keeps the list as it was.", word_after=0.1)
    page = page_for(sme)
    page.goto(ROOM)
    page.keyboard.press("n")
    page.get_by_label("Model", exact=True).select_option(str(hare.pk))
    page.get_by_label("Beside it").select_option(str(tortoise.pk))
    page.get_by_label("Hide which is which").check()
    page.get_by_label("First message").fill("How do I sort a list?")
    assert_accessible(page)
    page.get_by_role("button", name="Begin").click()
    replies = page.locator("[data-reply]")
    expect(replies).to_have_count(2)
    for n in range(2):  # both at the same time, and words before the end
        expect(replies.nth(n).locator("[data-stream]")).to_contain_text("Use **sort")
    assert Reply.objects.filter(state="writing").count() == 2
    expect(page.get_by_text("Which is better?")).to_be_visible(timeout=15_000)
    expect(replies.locator("strong")).to_have_text(["sort", "sorted"] if is_left(hare) else ["sorted", "sort"])
    assert "Hare" not in page.content() and "Tortoise" not in page.content()
    assert_accessible(page)
    page.keyboard.press("2")
    page.get_by_role("radio", name="Much better").check()
    page.get_by_role("button", name="Save the comparison").click()
    expect(page.get_by_text("B was preferred, much better")).to_be_visible()
    expect(page.get_by_role("heading", level=1)).to_have_text(re.compile("Hare"))
    made = Comparison.objects.get()
    assert (made.tiers, made.strength) == ([[made.shown_order[1]], [made.shown_order[0]]], 3)
    send(page, "And backwards?")  # from the better one, without asking
    expect(replies).to_have_count(4)
    expect(page.get_by_text("Which is better?")).to_be_visible(timeout=15_000)
    assert Chat.objects.get().turns.first().chosen == "b"


def is_left(model) -> bool:
    return Chat.objects.get().model_a_id == model.pk


def test_a_model_starts_while_one_waits_and_an_answer_can_be_stopped(page_for, sme, engineer, project, gpu_host):
    slow = make_model(project, engineer, "Slow", ready_after=1.5, says="word " * 400, word_after=0.05)
    chat = open_chat(project, sme, slow)
    page = page_for(sme)
    page.goto(f"{ROOM}chats/{chat.pk}/")
    send(page, "Go on for ever.")
    expect(page.locator("[data-words]")).to_have_text(re.compile("Loading the libraries|Reading the model"))
    expect(page.locator("[data-stream]")).to_contain_text("word word", timeout=15_000)
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_text("It was stopped. What was written is kept.")).to_be_visible(timeout=15_000)
    kept = Reply.objects.get()
    assert (kept.state, kept.finish_reason) == ("cut", "cut") and kept.text.startswith("word word")
    page.get_by_role("button", name="Make a demonstration").click()
    page.get_by_label("The ideal answer").fill("No.")
    page.get_by_role("dialog").get_by_role("button", name="Save").click()
    expect(page.get_by_text("is saved.")).to_be_visible()
    assert Demonstration.objects.get().draft_of.finish_reason == "cut"


def test_leaving_the_page_keeps_what_was_written(page_for, sme, project, talkers):
    chat = open_chat(project, sme, talkers("Hare", says="word " * 200, word_after=0.05))
    ask(chat, "Go on.")
    page = page_for(sme)
    page.goto(f"{ROOM}chats/{chat.pk}/")
    expect(page.locator("[data-stream]")).to_contain_text("word word")
    page.goto(ROOM)
    page.goto(f"{ROOM}chats/{chat.pk}/")
    expect(page.get_by_text("The connection broke off. What was written is kept.")).to_be_visible(timeout=15_000)
    assert Reply.objects.get().text.startswith("word word")


def test_a_probe_from_taking_it_to_its_conclusion(page_for, sme, engineer, project, talkers, assert_accessible):
    rambles = add_class(project, "Rambles", sme, description="Never **ends**.", severity=3)
    probe.assign(rambles, talkers("Hare", says="Well, well, well."), engineer, wanted=1, instructions="Ask for lists.")
    page = page_for(sme)
    page.goto(ROOM)
    assert_accessible(page)
    page.get_by_role("link", name="Rambles").click()
    page.get_by_role("button", name="Take it").click()
    page.get_by_role("button", name="Start").click()
    send(page, "How do I sort?")
    page.get_by_role("button", name="File as example").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_label("Failure class")).to_have_value(str(rambles.pk))
    dialog.get_by_label("What it should have said").fill("Use sort().")
    dialog.get_by_label("Reasoning").fill("It says nothing.")
    dialog.get_by_role("button", name="File it").click()
    dialog.get_by_role("button", name="Go on").click()
    expect(page.locator("#probe-found")).to_contain_text("1 of 1")
    expect(page.locator("[data-reply]")).to_contain_text("Rambles")
    assert_accessible(page)
    page.get_by_role("button", name="Conclude the probe").click()
    page.get_by_label("What you found").fill("It rambles about lists.")
    page.get_by_label("How the model fares now").select_option("open")
    page.get_by_role("button", name="Conclude", exact=True).click()
    expect(page.get_by_role("heading", name="Conclusion")).to_be_visible()
    assert_accessible(page)
    assert Probe.objects.get().status == "done"
    assert rambles.statuses.get().state == "open"


def test_a_failure_is_filed_in_two_clicks(page_for, sme, project, answers, assert_accessible):
    rambles = add_class(project, "Rambles", sme)
    page = page_for(sme)
    page.goto(f"/projects/helpdesk/prompts/{answers[0][0].prompt_id}/")
    page.get_by_role("link", name="File a failure").first.click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_label("Failure class")).to_be_focused()
    page.keyboard.press("R")  # as in any list: the first that begins with it
    dialog.get_by_label("What it should have said").fill("Use reverse().")
    assert_accessible(page)
    dialog.get_by_role("button", name="File it").click()
    expect(dialog).to_contain_text("Filed under Rambles")
    assert FailureExample.objects.get().failure_class == rambles
    dialog.get_by_role("button", name="Go on").click()
    page.get_by_role("link", name="File a failure").nth(1).click()  # a new class, and an error first
    dialog.get_by_label("What it should have said").fill("Use reverse().")
    dialog.get_by_role("button", name="File it").click()
    expect(dialog).to_contain_text("Choose a class, or give a new one a name.")
    dialog.get_by_label("Name of the new class").fill("Says nothing")
    dialog.get_by_role("button", name="File it").click()
    expect(dialog).to_contain_text("Filed under Says nothing")
    assert FailureClass.objects.count() == 2


def test_classes_are_merged_and_the_pages_are_accessible(page_for, engineer, project, answers, assert_accessible):
    from annotation.failures import add_example

    source = add_class(project, "Rambles on", engineer)
    target = add_class(project, "Rambles", engineer, description="Never ends.")
    add_example(source, answers[0][0], engineer, correction="Use reverse().", reasoning="One call is enough.")
    page = page_for(engineer)
    page.goto(f"/projects/helpdesk/failure-classes/{source.pk}/")
    assert_accessible(page)
    page.get_by_role("link", name="Merge").click()
    page.get_by_label("Into").select_option(str(target.pk))
    assert_accessible(page)
    page.get_by_role("button", name="Merge").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Rambles")
    expect(page.get_by_text("Merged into this")).to_be_visible()
    page.get_by_text("History").click()
    assert_accessible(page)
    page.get_by_role("link", name="Rambles on").click()
    expect(page.locator(".merged")).to_contain_text("Merged into Rambles")
    assert_accessible(page)
    page.get_by_role("button", name="Take the merge back").click()
    expect(page.get_by_role("button", name="Make a comparison")).to_be_visible()
    page.goto("/projects/helpdesk/failure-classes/?merged=on")
    assert_accessible(page)
    page.goto(f"/projects/helpdesk/failure-classes/{source.pk}/edit/")
    assert_accessible(page)
