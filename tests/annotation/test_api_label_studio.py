"""Label Studio over the API, with no server behind it: linked, sent, fetched and unlinked."""

from __future__ import annotations

import pytest

from annotation.label_studio.links import begin
from annotation.models import JournalEntry, LabelStudioLink, Slot
from annotation.progress import progress

URL = "/projects/helpdesk/label-studio"
pytestmark = pytest.mark.usefixtures("unreachable_label_studio")


@pytest.fixture
def link(call, engineer, rank_queue, sent, django_capture_on_commit_callbacks) -> dict:
    with django_capture_on_commit_callbacks(execute=True):
        made = call(engineer, "POST", f"/queues/{rank_queue.pk}/label-studio")
    assert made.status_code == 202, made.text
    return made.json()


def test_linked_and_sent(call, engineer, rank_queue, link, sent):
    assert (link["queue"], link["is_active"], link["address"], link["at_work"]) == (rank_queue.pk, True, None, "")
    assert sent == [("push", link["id"], engineer.pk)]
    assert call(engineer, "GET", URL).json() == {
        "server": "http://127.0.0.1:9", "not_configured": "", "links": [link],
    }  # fmt: skip
    again = call(engineer, "POST", f"/queues/{rank_queue.pk}/label-studio")
    assert again.status_code == 422 and "linked already" in again.json()["detail"]
    assert JournalEntry.objects.filter(act="linked to Label Studio", actor=engineer).count() == 1


def test_one_act_at_a_time(call, engineer, link, sent, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        pulled = call(engineer, "POST", f"/label-studio-links/{link['id']}/pull")
    assert pulled.status_code == 202 and sent[1:] == [("pull", link["id"], engineer.pk)]
    assert begin(LabelStudioLink.objects.get(), "pull")
    assert call(engineer, "GET", f"/label-studio-links/{link['id']}").json()["at_work"] == "pull"
    for act, sentence in (("push", "fetching annotations"), ("pull", "fetching annotations"), ("unlink", "at work")):
        refused = call(engineer, "POST", f"/label-studio-links/{link['id']}/{act}")
        assert refused.status_code == 422 and sentence in refused.json()["detail"]
    assert len(sent) == 2


def test_unlinked_its_places_are_back(call, engineer, rank_queue, link):
    Slot.objects.update(status="away")
    LabelStudioLink.objects.get().tasks.create(task=rank_queue.tasks.first(), remote_task=7)
    assert call(engineer, "POST", f"/label-studio-links/{link['id']}/unlink").json() == {"places": 2}
    assert progress(rank_queue)["free"] == 2
    gone = call(engineer, "POST", f"/label-studio-links/{link['id']}/push")
    assert gone.status_code == 422 and "not linked any more" in gone.json()["detail"]


def test_what_cannot_be_linked(call, engineer, sme, write_queue, settings):
    write_queue.people.set([sme])
    refused = call(engineer, "POST", f"/queues/{write_queue.pk}/label-studio")
    assert refused.status_code == 422 and "kept for certain people" in refused.json()["detail"]
    settings.LABEL_STUDIO_API_KEY = ""
    refused = call(engineer, "POST", f"/queues/{write_queue.pk}/label-studio")
    assert refused.status_code == 422 and "Set LABEL_STUDIO_URL" in refused.json()["detail"]
    assert "Set LABEL_STUDIO_URL" in call(engineer, "GET", URL).json()["not_configured"]
    assert not LabelStudioLink.objects.exists()
