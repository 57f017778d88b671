"""The pages of leads about queues: they work, say what is wrong, and are for engineers."""

from __future__ import annotations

import pytest

from annotation.models import Kind, Queue, Slot, Task
from annotation.queue import claim_next, release

BASE = "/projects/helpdesk/annotate/queues/"
NEW = {
    "kind": "rank", "name": "Decorators", "order": "random", "lease_minutes": "30", "min_seconds": "2",
    "gold_rate": "0", "calibration_items": "0", "calibration_pass": "0.7", "gold_window": "10",
}  # fmt: skip


def test_the_list(client_for, engineer, annotator, rank_queue, django_assert_max_num_queries):
    release(claim_next(rank_queue, annotator), skip="unusable", reason="Empty")
    browser = client_for(engineer)
    with django_assert_max_num_queries(15):
        page = browser.get(BASE)
    assert page.status_code == 200
    assert rank_queue.name in page.text and "?show=held" in page.text


def test_an_empty_list_teaches(client_for, engineer, project):
    assert "A queue says who is given which work" in client_for(engineer).get(BASE).text


def test_making_a_queue(client_for, engineer, sme, project):
    answer = client_for(engineer).post(f"{BASE}new/", NEW | {"people": [sme.pk], "note": "Read the traceback first."})
    made = Queue.objects.get()
    assert answer.url == f"{BASE}{made.pk}/tasks/"
    assert (made.name, made.kind, made.lease_minutes, list(made.people.all())) == ("Decorators", "rank", 30, [sme])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"name": ""}, "This field is required"),
        ({"gold_rate": "0.9"}, "0 to 0.5"),
        ({"order": "disputed"}, "choose the reward model"),
        ({"kind": "review"}, "not one of the available choices"),
    ],
)
def test_bad_settings(client_for, engineer, project, change, sentence):
    answer = client_for(engineer).post(f"{BASE}new/", NEW | change)
    assert answer.status_code == 422 and sentence in answer.text
    assert not Queue.objects.exists()


def test_changing_settings(client_for, engineer, rank_queue):
    browser = client_for(engineer)
    assert rank_queue.name in browser.get(f"{BASE}{rank_queue.pk}/settings/").text
    answer = browser.post(f"{BASE}{rank_queue.pk}/settings/", NEW | {"gold_rate": "0.25"})
    assert answer.url == f"{BASE}{rank_queue.pk}/tasks/"
    rank_queue.refresh_from_db()
    assert (rank_queue.name, rank_queue.gold_rate, rank_queue.kind) == ("Decorators", 0.25, Kind.RANK)
    assert browser.post(f"{BASE}{rank_queue.pk}/settings/", NEW | {"warn_below": "2"}).status_code == 422
    rank_queue.refresh_from_db()
    assert rank_queue.warn_below is None


def test_tasks(client_for, engineer, annotator, rank_queue, django_assert_max_num_queries):
    claim = claim_next(rank_queue, annotator)
    browser = client_for(engineer)
    with django_assert_max_num_queries(15):
        page = browser.get(f"{BASE}{rank_queue.pk}/tasks/")
    assert page.text.count("<tr>") == 5  # the head and four tasks
    begun = browser.get(f"{BASE}{rank_queue.pk}/tasks/?show=begun").text
    assert begun.count("<tr>") == 2 and claim.task.prompt.text in begun
    assert "No task is here" in browser.get(f"{BASE}{rank_queue.pk}/tasks/?show=held").text
    assert browser.get(f"{BASE}{rank_queue.pk}/tasks/?show=nonsense&after=x").status_code == 200


def test_acts_on_a_task(client_for, engineer, annotator, sme, rank_queue):
    browser = client_for(engineer)
    claim = claim_next(rank_queue, annotator)
    url = f"/projects/helpdesk/annotate/tasks/{claim.task_id}/"

    def act(**data):
        return browser.post(url, data, follow=True).text

    assert "Released from annotator" in act(act="release", claim=claim.pk)
    assert "This claim is over already" in act(act="release", claim=claim.pk)
    assert "no such claim" in act(act="release", claim=999_999)
    assert "Kept for sme" in act(act="assign", person=sme.pk)
    assert Slot.objects.filter(task=claim.task_id, assignee=sme).count() == 1
    assert "Open to all again" in act(act="assign")
    assert "Priority 3." in act(act="priority", priority=3)
    assert "Give a priority" in act(act="priority")
    assert "not set aside" in act(act="put-back")
    assert "Taken out" in act(act="take-out", reason="Duplicate")
    assert Task.objects.get(pk=claim.task_id).status == "withdrawn"
    assert "Nothing was changed" in act(act="explode")


def test_closing_and_opening(client_for, engineer, annotator, rank_queue):
    browser, url = client_for(engineer), f"{BASE}{rank_queue.pk}/open/"
    browser.post(url, {"is_open": "0"})
    assert claim_next(Queue.objects.get(pk=rank_queue.pk), annotator) is None
    browser.post(url, {"is_open": "1"})
    assert claim_next(Queue.objects.get(pk=rank_queue.pk), annotator) is not None
    assert "Nothing was changed" in browser.post(url, {}, follow=True).text


@pytest.mark.parametrize("path", ["", "new/", "{queue}/settings/", "{queue}/tasks/"])
def test_pages_are_for_engineers(client_for, sme, outsider, engineer, rank_queue, path):
    url = BASE + path.format(queue=rank_queue.pk)
    assert client_for(engineer).get(url).status_code == 200
    assert client_for(sme).get(url).status_code == 403
    assert client_for(outsider).get(url).status_code == 404
    assert client_for(engineer).delete(url).status_code == 405


def test_acts_are_for_engineers_and_only_posted(client_for, sme, outsider, engineer, rank_queue):
    task = rank_queue.tasks.first()
    for url in (f"{BASE}{rank_queue.pk}/open/", f"/projects/helpdesk/annotate/tasks/{task.pk}/"):
        assert client_for(engineer).get(url).status_code == 405
        assert client_for(sme).post(url, {"act": "take-out", "is_open": "0"}).status_code == 403
        assert client_for(outsider).post(url, {"act": "take-out", "is_open": "0"}).status_code == 404
    task.refresh_from_db()
    assert task.status == "open" and Queue.objects.get(pk=rank_queue.pk).is_open


def test_ordering_again(
    client_for, engineer, sme, outsider, rank_queue, monkeypatch, django_capture_on_commit_callbacks
):
    address = f"/projects/helpdesk/annotate/queues/{rank_queue.pk}/order/"
    client = client_for(engineer)
    Queue.objects.update(order=Queue.Order.DIVERSE)
    assert "4 waiting tasks put into order: most different answers first." in client.post(address, follow=True).text
    Queue.objects.update(order=Queue.Order.UNCERTAIN)
    assert "scored none of these answers yet" in client.post(address, follow=True).text
    Queue.objects.update(order=Queue.Order.RANDOM)
    monkeypatch.setattr("annotation.lead.AT_ONCE", 2)
    sent = []
    monkeypatch.setattr("annotation.lead.reorder_queue.delay", lambda *ids: sent.append(ids))
    with django_capture_on_commit_callbacks(execute=True):
        assert "a worker puts them into order" in client.post(address, follow=True).text
    assert sent == [(rank_queue.pk, engineer.pk)]
    assert client.get(address).status_code == 405
    assert client_for(sme).post(address).status_code == 403
    assert client_for(outsider).post(address).status_code == 404
