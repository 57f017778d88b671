"""Label Studio's page in a real browser."""

from __future__ import annotations

import pytest
from django.utils import timezone

from annotation.label_studio import links
from annotation.models import LabelStudioAnnotation, LabelStudioLink, LabelStudioTask
from annotation.tasks import find_queue
from tests.annotation.conftest import answers, make_artifact, prompts, rank_queue, var  # noqa: F401  (fixtures)

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def link(settings, rank_queue, engineer) -> LabelStudioLink:  # noqa: F811
    settings.LABEL_STUDIO_URL, settings.LABEL_STUDIO_API_KEY = "http://127.0.0.1:9", "key"
    find_queue(rank_queue.project, "rank", "Second helping")
    made = links.link_queue(rank_queue, engineer)
    mine = LabelStudioTask.objects.create(link=made, task=rank_queue.tasks.first(), remote_task=7)
    LabelStudioAnnotation.objects.create(
        link=made, task=mine, remote_annotation=31, remote_updated_at=timezone.now(), digest="x", raw={},
        refused="Still to be ranked: answer B, answer C.",
    )  # fmt: skip
    report = {
        "act": "pull", "at": timezone.now().isoformat(), "labels": 5, "revised": 1, "skipped": 2, "refused": 1,
        "complaints": [{"annotation": 31, "task": 7, "text": "Still to be ranked: answer B, answer C."}], "waiting": 1,
        "people": ["eve@example.org is no member here: their work is kept under “Person 4 (Label Studio)”."],
    }  # fmt: skip
    LabelStudioLink.objects.update(remote_project=3, last_report=report)
    return made


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (390, "dark")])
def test_the_page(page_for, engineer, link, assert_accessible, width, scheme):
    page = page_for(engineer, width, scheme)
    page.goto("/projects/helpdesk/exchange/label-studio/")
    page.get_by_text("1 thing to look at").click()
    assert page.get_by_text("Still to be ranked: answer B, answer C.").is_visible()
    assert_accessible(page)
    page.get_by_role("button", name="Unlink").click()
    page.get_by_role("button", name="Leave it linked").click()
    # What a worker does shows by itself.
    links.begin(link, LabelStudioLink.Act.PULL)
    links.beat(link, 40, 120)
    page.get_by_text("40 of 120").wait_for()
    assert_accessible(page)
    links.finish(link, {"act": "pull", "at": timezone.now().isoformat(), "error": "Label Studio does not answer."})
    page.get_by_text("Label Studio does not answer.").wait_for()
