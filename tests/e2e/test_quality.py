"""The Quality room in a real browser: accessible, and a disagreement settled from end to end."""

from __future__ import annotations

import pytest

from annotation import gold
from annotation.gold_items import make_gold
from annotation.models import Comparison, Queue, Task
from annotation.queue import claim_next
from annotation.submit import submit_ranking

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

URL = "/projects/helpdesk/"


@pytest.fixture
def item(disputed, engineer):
    task = disputed.tasks.first()
    made = make_gold(task, [[c.pk] for c in task.completions.order_by("pk")], engineer, explanation="It **runs**.")
    Queue.objects.filter(pk=disputed.pk).update(gold_rate=1, gold_feedback=True, calibration_items=1)
    return made


def test_a_disagreement_is_settled(page_for, disputed, engineer, owner, assert_accessible):
    page = page_for(engineer)
    page.goto(f"{URL}quality/disagreements/")
    assert_accessible(page)
    page.get_by_role("checkbox").first.check()
    page.get_by_role("button", name="Send the chosen to adjudication").click()
    page.get_by_text("1 task waits for somebody").wait_for()

    page = page_for(owner)
    page.goto(f"{URL}annotate/queues/{Queue.objects.get(kind='adjudicate').pk}/")
    page.keyboard.press("Enter")
    page.wait_for_url("**/work/*/")
    page.get_by_text("Earlier judgements").click()
    assert page.locator(".earlier li").count() == 2
    assert "annotator" not in page.locator(".earlier").inner_text()
    assert_accessible(page)
    for letter, place in (("a", "3"), ("b", "2"), ("c", "1")):
        page.locator(f"#answer-{letter}").focus()
        page.keyboard.press(place)
    page.get_by_role("button", name="Submit and go on").click()
    page.wait_for_url(lambda url: "/work/" not in url)
    label = Comparison.objects.get(task__adjudicates__isnull=False)
    page.goto(f"{URL}comparisons/{label.pk}/")
    assert page.get_by_text("Adjudicated").is_visible()


def test_a_trial_round_tells_how_one_did(page_for, item, owner, assert_accessible):
    page = page_for(owner)
    page.goto(f"{URL}annotate/queues/{item.task.queue_id}/")
    assert page.get_by_text("A trial round comes first: 1 item.").is_visible()
    claim = claim_next(Queue.objects.get(pk=item.task.queue_id), owner)
    assert claim.task_id == item.task_id
    page.goto(f"{URL}annotate/work/{claim.pk}/")
    assert "gold" not in page.content().lower().replace("goldenrod", "")
    wrong = sorted(claim.letters, key=claim.letters.get, reverse=True)
    for place, letter in enumerate(wrong, 1):
        page.locator(f"#answer-{letter}").focus()
        page.keyboard.press(str(place))
    page.get_by_role("button", name="Submit", exact=False).first.click()
    page.get_by_text("you had 0% of its pairs right").wait_for()
    assert page.locator(".toast strong").inner_text() == "runs"
    page.goto(f"{URL}annotate/queues/{item.task.queue_id}/")
    assert page.get_by_text("The trial round is over, and real work has to wait.").is_visible()
    assert_accessible(page)


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (390, "dark")])
def test_the_room_is_accessible(page_for, item, owner, assert_accessible, width, scheme):
    queue = Queue.objects.get(pk=item.task.queue_id)
    claim = gold.next_gold(queue, owner)
    submit_ranking(claim, [["a"], ["b"], ["c"]])
    page = page_for(owner, width=width, scheme=scheme)
    task = Task.objects.filter(gold=None).first()
    for path in ("", f"people/{owner.pk}/", "gold/", f"gold/{item.pk}/", f"gold/of/{task.pk}/", "me/"):
        page.goto(f"{URL}quality/{path}")
        assert_accessible(page)
    page.goto(f"{URL}quality/people/{owner.pk}/")
    page.get_by_role("button", name="Pause").click()
    page.get_by_role("textbox", name="Reason").fill("Let us talk")
    assert_accessible(page)
    page.get_by_role("button", name="Pause").last.click()
    page.get_by_text("owner is paused now").wait_for()
