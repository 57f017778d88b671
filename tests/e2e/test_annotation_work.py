"""A day's work in a real browser: every question and aid of the screen, and no mouse is needed."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from annotation import queue, submit
from annotation.models import Comparison, Completion, Demonstration, Instrument, Kind
from annotation.prompts import import_prompts
from annotation.tasks import add_tasks, find_queue
from tests.e2e.work_page import HOME, handed_in, open_task

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def pairs(project, engineer):
    """A queue of ten tasks with two answers each."""
    rows = [{"prompt": f"How do I sort list number {n}?", "split": "train"} for n in range(10)]
    work = find_queue(project, Kind.RANK, "Pairs")
    texts = ("Call `sorted(items)`, which returns a new list.", "Call `items.sort()`, which returns the list.")
    found = import_prompts(project, rows, engineer).prompts
    add_tasks(work, [(p, [Completion.objects.create(prompt=p, text=f"{t} {p.pk}") for t in texts]) for p in found])
    return work


def fits(page: Page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{page.url} scrolls sideways"
    if page.locator(".work-bar").count() and not page.locator("dialog[open]").count():
        assert page.locator(".work-bar").bounding_box()["height"] < page.viewport_size["height"] / 3


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
