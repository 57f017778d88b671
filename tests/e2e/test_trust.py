"""The pages about trust in a real browser: accessible, narrow and dark too; and taking consent back by dialog."""

from __future__ import annotations

import pytest

from annotation.models import Comparison, Standing
from annotation.queue import claim_next
from annotation.submit import submit_ranking
from studio.models import Guideline
from tests.annotation.test_effects import compare, give_scores

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def doubts(project, guideline, rank_queue, answers, annotator, sme, owner, make_artifact) -> Comparison:
    """A flagged and now stale label, and a reward model that disagrees with another."""
    label = submit_ranking(claim_next(rank_queue, annotator), [["a"], ["b"], ["c"]], second_look="Is b dangerous?")
    model = make_artifact("reward_model", "Judge")
    compare(sme, answers[4], "b>a")
    give_scores(model, answers[4], 2.0, 0.0, 0.0)
    Guideline.publish(project, "Other rules", owner)
    return label


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (390, "dark")])
def test_the_pages_are_accessible(doubts, owner, page_for, assert_accessible, width, scheme):
    page = page_for(owner, width=width, scheme=scheme)
    for path in (
        "quality/journal/", "quality/effects/", "quality/second-looks/", "guidelines/stale/", "guidelines/edit/",
        f"quality/people/{doubts.annotator_id}/consent/", f"comparisons/{doubts.pk}/",
    ):  # fmt: skip
        page.goto(f"/projects/helpdesk/{path}")
        assert_accessible(page)


def test_consent_is_taken_back_and_given_again(doubts, annotator, page_for, assert_accessible):
    page = page_for(annotator)
    page.goto("/projects/helpdesk/annotate/")
    page.get_by_role("link", name="your labels and your consent").click()
    page.get_by_role("button", name="Take my consent back").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Reason").fill("I leave")
    assert_accessible(page)
    dialog.get_by_role("button", name="Take it back").click()
    page.get_by_text("Consent was taken back").wait_for()
    assert Standing.objects.get(user=annotator).consent_reason == "I leave"
    page.get_by_role("button", name="Give consent again").click()
    page.get_by_role("button", name="Take my consent back").wait_for()
    assert Standing.objects.get(user=annotator).consent_withdrawn_at is None
