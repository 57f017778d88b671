"""The shell in a real browser: accessible in both themes and widths, and usable without a mouse."""

import re

import pytest

from studio.models import ApiToken, Guideline, Membership, Role

pytestmark = pytest.mark.browser

PAGES = ["/", "/projects/new/", "/projects/helpdesk/", "/projects/helpdesk/members/", "/projects/helpdesk/guidelines/",
         "/projects/helpdesk/guidelines/?version=2&against=1", "/projects/helpdesk/guidelines/edit/", "/account/",
         "/nothing/"]  # fmt: skip


@pytest.fixture
def furnished(project, owner, annotator, guideline):
    Guideline.publish(project, guideline.text + "\n\n```python\n" + "x = 1; " * 40 + "\n```", owner, "Longer")
    ApiToken.issue(owner, "nightly import")
    return owner


@pytest.mark.slow
@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (390, "dark")])
def test_pages_are_accessible(page_for, furnished, assert_accessible, width, scheme):
    page = page_for(furnished, width, scheme)
    for url in PAGES:
        page.goto(url)
        assert_accessible(page)
    page.goto("/projects/helpdesk/members/")
    page.get_by_role("button", name="Remove annotator").first.click()
    assert_accessible(page)
    signed_out = page_for(None, width, scheme)
    signed_out.goto("/sign-in/?next=/account/")
    assert_accessible(signed_out)


def test_theme_is_remembered(page_for, owner):
    page = page_for(owner)
    page.goto("/")
    background = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(background)
    page.get_by_role("button", name="Dark theme").click()
    dark = page.evaluate(background)
    assert light != dark
    page.goto("/account/")
    assert page.evaluate(background) == dark
    assert page.get_by_role("button", name="Dark theme").get_attribute("aria-pressed") == "true"


def test_keys_lead_around_and_stay_out_of_text(page_for, owner, guideline):
    page = page_for(owner)
    page.goto("/projects/helpdesk/")
    page.keyboard.press("g")
    page.keyboard.press("b")
    page.wait_for_url("**/members/")
    page.keyboard.press("?")
    assert page.get_by_role("dialog", name="Keyboard shortcuts").is_visible()
    page.keyboard.press("Escape")
    page.get_by_label("User name").fill("")
    page.get_by_label("User name").press_sequentially("gb?")
    assert page.get_by_label("User name").input_value() == "gb?"
    assert not page.get_by_role("dialog").first.is_visible()


def test_first_tab_stop_skips_to_the_content(page_for, owner, project):
    page = page_for(owner)
    page.goto("/projects/helpdesk/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip-link"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"


def test_phone_menu_opens_and_closes(page_for, owner, project):
    page = page_for(owner, 390)
    page.goto("/projects/helpdesk/")
    link = page.get_by_role("link", name="Guidelines", exact=True)
    assert not link.is_visible()
    page.get_by_role("button", name="Menu").click()
    assert link.is_visible()
    page.keyboard.press("Escape")
    assert not link.is_visible()
    page.get_by_role("button", name="Menu").click()
    link.click()
    page.wait_for_url("**/guidelines/")


def test_member_is_removed_only_after_the_dialog(page_for, owner, annotator):
    page = page_for(owner)
    page.goto("/projects/helpdesk/members/")
    page.get_by_role("button", name="Remove annotator").first.click()
    page.get_by_role("button", name="Keep").click()
    assert Membership.objects.filter(user=annotator).exists()
    page.get_by_role("button", name="Remove annotator").first.click()
    page.get_by_role("dialog").get_by_role("button", name="Remove annotator").click()
    page.get_by_text("annotator left the project").wait_for()
    assert not Membership.objects.filter(user=annotator).exists()


def test_double_click_sends_a_form_once(page_for, owner, project):
    page = page_for(owner)
    page.goto("/account/")
    page.get_by_label("What is it for?").fill("twice")
    page.get_by_role("button", name="Issue token").dblclick()
    page.get_by_text("Your new token").wait_for()
    assert ApiToken.objects.filter(user=owner).count() == 1


def test_guidelines_are_published_from_the_keyboard(page_for, sme, guideline):
    page = page_for(sme)
    page.goto("/projects/helpdesk/guidelines/")
    page.keyboard.press("e")
    page.wait_for_url("**/edit/")
    page.get_by_label("Guidelines", exact=True).fill("Be **brief**.")
    page.locator("#preview strong", has_text="brief").wait_for()
    page.keyboard.press("Control+Enter")
    page.wait_for_url(re.compile(r"/guidelines/$"))
    assert page.get_by_text("Be brief.").is_visible()


def test_sign_in_as_people_do(page_for, annotator):
    page = page_for(None)
    page.goto("/projects/helpdesk/")
    page.keyboard.type("annotator")
    page.keyboard.press("Tab")
    page.keyboard.type("correct horse battery")
    page.keyboard.press("Enter")
    page.wait_for_url("**/projects/helpdesk/")
    assert Membership.objects.get(user=annotator).role == Role.ANNOTATOR
    assert page.get_by_role("heading", level=1).inner_text() == "Python helpdesk"


def test_address_follows_the_name_until_it_is_written(page_for, outsider):
    page = page_for(outsider)
    page.goto("/projects/new/")
    page.get_by_label("Name").press_sequentially("Étude: answers & more!")
    assert page.get_by_label("Address").input_value() == "etude-answers-more"
    page.get_by_label("Address").fill("cafe")
    page.get_by_label("Name").press_sequentially(" again")
    assert page.get_by_label("Address").input_value() == "cafe"
    page.get_by_role("button", name="Create project").click()
    page.wait_for_url("**/projects/cafe/")
