"""Judging in a real browser: by keyboard alone, by mouse, with drafts that survive, and accessible everywhere."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from annotation import queue, submit
from annotation.failures import add_class, add_example
from annotation.models import Claim, Comparison, Completion, Demonstration, Draft, FailureExample
from annotation.reviews import start_review
from annotation.tasks import add_demonstration_tasks
from tests.e2e.work_page import HOME, handed_in, open_task

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def saved(page: Page) -> None:
    expect(page.locator("#save-state")).to_have_text(re.compile("Draft saved"))


def pick(page: Page, letter: str, place: str) -> None:
    page.locator(f"#answer-{letter}").get_by_role("radio", name=place, exact=True).first.check()


def test_ranking_from_start_to_finish_by_keyboard_alone(page_for, annotator, rank_queue):
    page = page_for(annotator)
    page.goto(HOME)
    expect(page.get_by_role("button", name="Start Enter")).to_be_focused()
    page.keyboard.press("Enter")
    page.wait_for_url("**/work/*/")
    claim = Claim.objects.get()
    expect(page.locator("#answer-a")).to_be_focused()
    page.keyboard.press("2")  # places a, and goes on to b
    expect(page.locator("#answer-b")).to_be_focused()
    page.keyboard.press("c")
    page.keyboard.press("1")
    page.keyboard.press("ArrowRight")  # from b, the only one without a place, to c
    expect(page.locator("#answer-c")).to_be_focused()
    page.keyboard.press("Enter")  # back to what is still open
    expect(page.locator("#answer-b")).to_be_focused()
    page.keyboard.press("2")
    page.keyboard.press("Shift+Digit3")
    expect(page.locator("#ranking-words")).to_have_text("First: C. Second: A and B.")
    page.keyboard.press("Enter")
    page.wait_for_url(lambda url: not url.endswith(f"/work/{claim.pk}/"))
    a, b, c = claim.shown_order
    made = Comparison.objects.get()
    assert made.tiers == [[c], [a, b]]
    assert made.strength == 3
    expect(page.locator("#answer-a")).to_be_focused()  # of the next task


def test_an_unfinished_ranking_is_not_sent(page_for, annotator, rank_queue):
    page = page_for(annotator)
    claim = open_task(page, rank_queue, annotator)
    page.keyboard.press("1")
    page.keyboard.press("0")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Answer C has no place yet.")).to_be_visible()
    expect(page.locator("#answer-c")).to_be_focused()
    assert not Comparison.objects.exists()
    page.keyboard.press("1")
    page.keyboard.press("Enter")
    handed_in(page)
    a, b, c = claim.shown_order
    assert (Comparison.objects.get().tiers, Comparison.objects.get().unrankable) == ([[a, c]], [b])


def test_keys_stay_out_of_text(page_for, annotator, rank_queue):
    page = page_for(annotator)
    open_task(page, rank_queue, annotator)
    page.get_by_label("Why this order?").press_sequentially("1 a b s i")
    assert page.get_by_label("Why this order?").input_value() == "1 a b s i"
    assert page.locator("input:checked").count() == 0
    assert page.get_by_role("dialog").count() == 0


def test_ranking_by_mouse(page_for, annotator, rank_queue):
    page = page_for(annotator)
    claim = open_task(page, rank_queue, annotator)
    strength = page.get_by_role("group", name="How much better?")
    pick(page, "a", "1")
    expect(strength).to_be_hidden()
    pick(page, "b", "2")
    pick(page, "c", "2")
    strength.get_by_role("radio", name="Slightly better").check()
    more = page.locator("#answer-b details")
    more.locator("summary").click()
    more.get_by_role("radio", name="4").check()
    more.get_by_label("Hallucination").check()
    page.get_by_role("button", name="Submit").click()
    handed_in(page)
    a, b, c = claim.shown_order
    made = Comparison.objects.get()
    assert (made.tiers, made.strength) == ([[a], [b, c]], 1)
    assert (made.ratings, made.flags) == ({str(b): 4}, {str(b): ["hallucination"]})


def test_ranking_by_drag_and_drop(page_for, annotator, rank_queue):
    page = page_for(annotator)
    claim = open_task(page, rank_queue, annotator)
    page.locator(".chip", has_text="B").drag_to(page.locator(".tier[data-place='1']"))
    page.locator("#answer-a .letter").drag_to(page.locator(".tier[data-place='2']"))
    page.locator(".unplaced .chip", has_text="C").drag_to(page.locator(".tier[data-place='2']"))
    expect(page.locator("#ranking-words")).to_have_text("First: B. Second: A and C.")
    page.get_by_role("button", name="Submit").click()
    handed_in(page)
    a, b, c = claim.shown_order
    assert Comparison.objects.get().tiers == [[b], [a, c]]


def test_ranking_draft_survives_a_reload(page_for, annotator, rank_queue):
    page = page_for(annotator)
    claim = open_task(page, rank_queue, annotator)
    page.keyboard.press("3")
    page.get_by_label("Why this order?").fill("The second one")
    saved(page)
    page.reload()
    expect(page.locator("input[name=rank_a][value='3']")).to_be_checked()
    expect(page.get_by_label("Why this order?")).to_have_value("The second one")
    expect(page.locator("#save-state")).to_contain_text("restored")
    expect(page.locator("#answer-b")).to_be_focused()  # the first one without a place
    assert Draft.objects.get().claim == claim


def test_what_was_typed_last_is_kept_when_the_page_is_left(page_for, annotator, write_queue):
    page = page_for(annotator)
    claim = open_task(page, write_queue, annotator)
    page.get_by_label("Your answer").fill("Half an answ")
    page.goto(HOME)
    for _ in range(100):  # sent while the page goes away, so nothing to wait for but its effect
        if not Draft.objects.exists():
            page.wait_for_timeout(50)
    page.goto(f"{HOME}work/{claim.pk}/")
    expect(page.get_by_label("Your answer")).to_have_value("Half an answ")


def test_lost_connection_is_said_and_made_good(page_for, annotator, write_queue):
    page = page_for(annotator)
    open_task(page, write_queue, annotator)
    page.route("**/draft", lambda route: route.fulfill(status=401, body="{}"))
    page.get_by_label("Your answer").fill("Use a slice")
    expect(page.locator("#save-state")).to_contain_text("Draft not saved")
    page.unroute("**/draft")
    saved(page)
    assert Draft.objects.get().content["fields"]["text"] == ["Use a slice"]


def test_signing_in_again_in_another_tab_loses_nothing(page_for, client_for, annotator, rank_queue, live_server):
    page = page_for(annotator)
    open_task(page, rank_queue, annotator)
    page.context.clear_cookies()
    page.keyboard.type("121")
    expect(page.get_by_text("sign in again in another tab")).to_have_count(2)  # beside the form, and as a toast
    fresh = {"sessionid": client_for(annotator).cookies["sessionid"].value, "csrftoken": "x" * 32}
    page.context.add_cookies([{"name": n, "value": value, "url": live_server.url} for n, value in fresh.items()])
    saved(page)
    page.get_by_role("button", name="Submit").click()
    handed_in(page)
    assert [len(tier) for tier in Comparison.objects.get().tiers] == [2, 1]


def test_demonstration_by_keyboard_with_preview(page_for, annotator, write_queue):
    page = page_for(annotator)
    open_task(page, write_queue, annotator)
    page.keyboard.press("e")
    page.keyboard.insert_text("Use **reverse**.")
    page.locator("#preview strong", has_text="reverse").wait_for()
    page.keyboard.press("Control+Enter")
    handed_in(page)
    assert Demonstration.objects.get().completion.text == "Use **reverse**."
    assert not Draft.objects.exists()


def test_double_submit_makes_one_judgement(page_for, annotator, rank_queue):
    page = page_for(annotator)
    open_task(page, rank_queue, annotator)
    for letter in "abc":
        pick(page, letter, "1")
    # Past the page's own guard: the very same form twice, as a broken connection makes browsers do.
    page.evaluate(
        "async () => { const form = document.getElementById('work');"
        " const send = () => fetch(location.href, {method: 'POST', body: new FormData(form)});"
        " await Promise.all([send(), send()]); await send(); }"
    )
    page.get_by_role("button", name="Submit").dblclick()
    handed_in(page)
    assert Comparison.objects.count() == 1


def test_skip_asks_for_a_reason_and_goes_on(page_for, annotator, rank_queue):
    page = page_for(annotator)
    claim = open_task(page, rank_queue, annotator)
    page.keyboard.press("s")
    page.get_by_label("Reason").fill("Not my subject")
    page.get_by_role("dialog").get_by_role("button", name="To others").click()
    page.wait_for_url(lambda url: not url.endswith(f"/work/{claim.pk}/"))
    claim.refresh_from_db()
    assert (claim.skip, claim.reason) == ("others", "Not my subject")


def test_expert_files_a_failure_in_two_clicks_without_leaving_the_ranking(page_for, sme, project, rank_queue):
    rambles = add_class(project, "Rambles", sme)
    page = page_for(sme)
    claim = open_task(page, rank_queue, sme)
    page.keyboard.press("1")
    page.locator("#answer-b").get_by_role("link", name="File a failure").click()
    dialog = page.get_by_role("dialog", name="File a failure")
    expect(dialog.get_by_label("Failure class")).to_be_focused()
    page.keyboard.press("R")  # as in any list: the first that begins with it
    page.keyboard.press("Tab")
    page.keyboard.insert_text("Use reverse().")
    dialog.get_by_role("button", name="File it").click()
    expect(dialog.get_by_text("Filed under Rambles")).to_be_visible()
    made = FailureExample.objects.get()
    assert (made.completion_id, made.failure_class) == (claim.letters["b"], rambles)
    page.keyboard.press("Enter")
    expect(dialog).to_be_hidden()
    expect(page.locator("input[name=rank_a][value='1']")).to_be_checked()


@pytest.mark.parametrize("width", [1440, 390])
def test_a_failure_is_filed_by_keyboard_alone(page_for, sme, rank_queue, assert_accessible, width):
    page = page_for(sme, width)
    claim = open_task(page, rank_queue, sme)
    page.keyboard.press("c")
    page.keyboard.press("x")  # of the answer in focus
    dialog = page.get_by_role("dialog", name="File a failure")
    expect(dialog.get_by_label("Failure class")).to_be_focused()
    dialog.get_by_label("What it should have said").focus()
    page.keyboard.insert_text("Use reverse().")
    page.keyboard.press("Control+Enter")
    expect(dialog.get_by_text("Choose a class, or give a new one a name.")).to_be_visible()
    assert_accessible(page)
    dialog.get_by_label("Name of the new class").focus()
    page.keyboard.insert_text("Rambles")
    page.keyboard.press("Control+Enter")
    expect(dialog.get_by_text("Filed under Rambles")).to_be_visible()
    assert_accessible(page)
    page.keyboard.press("Enter")
    assert FailureExample.objects.get().completion_id == claim.letters["c"]
    page.keyboard.press("2")  # the ranking has the keys again, on the answer that they left
    expect(page.locator("input[name=rank_c][value='2']")).to_be_checked()


def test_everything_works_without_scripts(chromium, live_server, client_for, annotator, rank_queue):
    context = chromium.new_context(base_url=live_server.url, java_script_enabled=False)
    session = client_for(annotator).cookies["sessionid"].value
    context.add_cookies([{"name": "sessionid", "value": session, "url": live_server.url}])
    page = context.new_page()
    page.goto(HOME)
    page.get_by_role("button", name="Start Enter").click()
    for letter, place in zip("abc", "121", strict=True):
        pick(page, letter, place)
    page.get_by_role("button", name="Submit").click()
    page.wait_for_url("**/work/*/")
    a, b, c = Claim.objects.get(status="submitted").shown_order
    assert Comparison.objects.get().tiers == [[a, c], [b]]
    context.close()


def test_withdrawing_asks_first(page_for, annotator, rank_queue):
    made = submit.submit_ranking(queue.claim_next(rank_queue, annotator), [["a", "b", "c"]])
    page = page_for(annotator)
    page.goto(HOME)
    page.get_by_role("link", name=re.compile("How do I reverse list")).click()
    page.get_by_role("button", name="Withdraw").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Reason").fill("I misread it")
    dialog.get_by_role("button", name="Withdraw").click()
    page.get_by_text("Withdrawn by annotator", exact=True).wait_for()
    made.refresh_from_db()
    assert made.withdrawn_reason == "I misread it"


@pytest.fixture
def everything(project, owner, rank_queue, write_queue, answers, prompts, guideline):
    """Every kind of judgement once, and work that waits for the owner."""
    for _ in range(2):
        claim = queue.claim_next(rank_queue, owner)
        submit.submit_ranking(claim, [["b"], ["a", "c"]], strength=2, ratings={"a": 2}, flags={"a": ["hallucination"]})
    submit.submit_demonstration(queue.claim_next(write_queue, owner), "Use `reverse`.\n\n```python\nx = 1\n```")
    review = start_review(project, owner, "Side by side", [c.model for c in answers[0][:2]])
    submit.submit_ranking(queue.claim_next(review.queue, owner), [["a"], ["b"]])
    add_example(add_class(project, "Rambles", owner), answers[0][0], owner, correction="Use reverse().")
    Completion.objects.update(finish_reason="length")
    add_demonstration_tasks(write_queue, prompts[4:])
    return {
        "review": review,
        "rank": queue.claim_next(rank_queue, owner),
        "write": queue.claim_next(write_queue, owner),
    }


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (1440, "dark"), (390, "light"), (390, "dark")])
def test_pages_are_accessible(page_for, owner, everything, assert_accessible, width, scheme):
    page = page_for(owner, width, scheme)
    comparison, demonstration = Comparison.objects.first(), Demonstration.objects.get()
    example = FailureExample.objects.get()
    paths = [
        "annotate/", f"annotate/queues/{everything['rank'].task.queue_id}/",
        f"annotate/work/{everything['write'].pk}/", "prompts/", f"prompts/{comparison.prompt_id}/", "prompts/import/",
        "prompts/queue/", "prompts/queue/?kind=rank", "comparisons/", "comparisons/demonstrations/",
        f"comparisons/{comparison.pk}/", f"comparisons/demonstrations/{demonstration.pk}/", "reviews/", "reviews/new/",
        f"reviews/{everything['review'].pk}/", "failure-classes/", "failure-classes/new/",
        f"failure-classes/{example.failure_class_id}/", "failure-classes/file/",
        f"failure-classes/file/?prompt={example.prompt_id}",
        f"failure-classes/file/?completion={example.completion_id}",
        "datasets/", "datasets/freeze/",
    ]  # fmt: skip
    for path in paths:
        page.goto(f"/projects/helpdesk/{path}")
        assert_accessible(page)
    page.goto(f"{HOME}work/{everything['rank'].pk}/")
    pick(page, "a", "1")
    pick(page, "b", "2")
    page.locator("#answer-a summary").click()
    assert_accessible(page)
    for name in ("Guidelines", "Skip"):
        page.get_by_role("button", name=name, exact=True).first.click()
        assert_accessible(page)
        page.keyboard.press("Escape")
    page.get_by_role("link", name="File a failure").first.click()
    page.get_by_label("What it should have said").wait_for()
    assert_accessible(page)
