"""Rounds and lineage in a real browser: accessible at both widths and in both schemes, live, by keyboard."""

from __future__ import annotations

import pytest
from django.urls import reverse

from annotation.models import Demonstration
from studio.models import Project, Round, User
from studio.runs.models import Run
from tests.showcase import build_showcase, finish

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def showcase(transactional_db) -> Project:
    return build_showcase()


def url(name: str, *arguments: object) -> str:
    return reverse(f"evaluation:{name}", args=["showcase", *arguments])


def test_every_page_is_accessible(showcase, page_for, assert_accessible):
    policy = Run.objects.get(recipe_name="ppo").outputs.get()
    label = Demonstration.objects.first()
    addresses = [
        url("rounds"),
        url("round", 1),
        url("lineage", policy.pk),
        url("label-lineage", "demonstration", label.pk),
    ]
    for width, scheme in ((1440, "light"), (390, "dark")):
        page = page_for(User.objects.get(username="engineer"), width=width, scheme=scheme)
        for address in addresses:
            page.goto(address)
            assert_accessible(page)


def test_a_round_moves_on_in_front_of_the_reader(showcase, page_for, assert_accessible):
    engineer = User.objects.get(username="engineer")
    page = page_for(engineer)
    page.goto(url("round", 1))
    page.keyboard.press("x")
    page.get_by_label("Why").fill("Start over.")
    assert_accessible(page)
    page.get_by_role("button", name="Close the round").click()
    page.get_by_text("it was closed without promotion").wait_for()
    page.goto(url("rounds"))
    page.keyboard.press("n")
    page.wait_for_url("**/rounds/new/")
    assert_accessible(page)
    page.get_by_role("button", name="Start round 2").click()
    page.get_by_text("Answers are being drawn; then people compare them.").wait_for()
    finish(Round.objects.get(number=2).runs.get())
    page.get_by_role("button", name="Train on what has been compared").wait_for(timeout=10_000)  # without a reload


def test_the_picture_opens_on_its_subject_and_its_links_take_the_keyboard(showcase, page_for):
    policy = Run.objects.get(recipe_name="ppo").outputs.get()
    page = page_for(User.objects.get(username="sme"), width=390)
    page.goto(url("lineage", policy.pk))
    box = page.locator(".node.centre .box").bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= 390
    page.locator(".node.centre a").first.focus()
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/artifacts/{policy.pk}/")
