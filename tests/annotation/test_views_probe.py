"""The room for probing, and what leads ask of others."""

from __future__ import annotations

import pytest

from annotation import probe
from annotation.chats import ask, open_chat
from annotation.failures import add_class, add_example
from annotation.models import Chat, Probe
from tests.annotation.talkers import make_model

URL = "/projects/helpdesk/probe/"


@pytest.fixture
def work(project, sme, engineer, var) -> Probe:
    """A free probe."""
    rambles = add_class(project, "Rambles", sme, description="Never **ends**.")
    return probe.assign(rambles, make_model(project, engineer, "Hare"), engineer, instructions="Ask for *lists*.")


class TestRoom:
    def test_what_is_asked_and_ones_own_chats(self, client_for, sme, engineer, project, work):
        theirs = probe.assign(work.failure_class, work.model, engineer, assignee=engineer)
        ask(open_chat(project, sme, work.model), "How do I sort?")
        seen = client_for(sme).get(URL).text
        for part in ("Rambles", "free to take", "How do I sort?", "0 of 3"):
            assert part in seen
        assert f"/probe/{theirs.pk}/" not in seen and "Assign a probe" not in seen

    def test_leads_see_everybodys(self, client_for, sme, engineer, project, work, django_assert_max_num_queries):
        probe.assign(work.failure_class, work.model, engineer, assignee=sme)
        ask(open_chat(project, sme, work.model), "How do I sort?")
        browser = client_for(engineer)
        assert "How do I sort?" not in browser.get(URL).text
        with django_assert_max_num_queries(15):
            seen = browser.get(f"{URL}?chats=all").text
        for part in ("Other probes", "How do I sort?", "Assign a probe"):
            assert part in seen

    def test_an_empty_room_teaches(self, client_for, sme, project):
        assert "No chat yet" in client_for(sme).get(URL).text

    def test_wrong_role_and_method(self, client_for, annotator, outsider, sme, project):
        assert client_for(annotator).get(URL).status_code == 403
        assert client_for(outsider).get(URL).status_code == 404
        assert client_for(sme).post(URL).status_code == 405


class TestAssign:
    url = f"{URL}assign/"

    def test_assigns(self, client_for, engineer, sme, work):
        rambles = work.failure_class
        assert (
            f'<option value="{rambles.pk}" selected>' in client_for(engineer).get(f"{self.url}?class={rambles.pk}").text
        )
        data = {"failure_class": rambles.pk, "model": work.model_id, "assignee": sme.pk, "wanted": 5}
        answer = client_for(engineer).post(self.url, data | {"instructions": "Ask."})
        made = Probe.objects.first()
        assert answer.url == f"{URL}{made.pk}/"
        assert (made.assignee, made.wanted, made.instructions) == (sme, 5, "Ask.")

    def test_bad_input(self, client_for, engineer, annotator, work):
        good = {"failure_class": work.failure_class_id, "model": work.model_id, "wanted": 1}
        for change in ({"wanted": 0}, {"assignee": annotator.pk}, {"model": 999}, {"failure_class": ""}):
            assert client_for(engineer).post(self.url, good | change).status_code == 422
        assert Probe.objects.get() == work

    def test_wrong_role_and_method(self, client_for, sme, engineer, project):
        assert client_for(sme).get(self.url).status_code == 403
        assert client_for(engineer).put(self.url).status_code == 405


class TestProbe:
    def test_is_taken_talked_about_and_concluded(self, client_for, sme, work, answers, project):
        browser = client_for(sme)
        seen = browser.get(f"{URL}{work.pk}/").text
        for part in ("Take it", "<strong>ends</strong>", "<em>lists</em>", "0 of 3"):
            assert part in seen
        browser.post(f"{URL}{work.pk}/take/")
        chat = browser.post(f"{URL}{work.pk}/chat/").url
        assert Chat.objects.get().probe == work
        assert "Conclude the probe" in browser.get(chat).text
        add_example(work.failure_class, _answer_of(work, answers), sme, correction="Shorter.")
        assert "1 of 3" in browser.get(f"{URL}{work.pk}/").text
        seen = browser.post(
            f"{URL}{work.pk}/conclude/", {"conclusion": "It *does*.", "state": "open"}, follow=True
        ).text
        assert "It <em>does</em>." in seen and "Start" not in seen
        assert work.failure_class.statuses.get().state == "open"

    def test_bad_input(self, client_for, sme, work):
        browser = client_for(sme)
        browser.post(f"{URL}{work.pk}/take/")
        answer = browser.post(f"{URL}{work.pk}/conclude/", {"conclusion": " "})
        assert answer.status_code == 422 and "This field is required" in answer.text
        assert browser.get(f"{URL}999/").status_code == 404

    def test_who_comes_second_is_told(self, client_for, sme, owner, work):
        client_for(owner).post(f"{URL}{work.pk}/take/")
        browser = client_for(sme)
        assert "Somebody else was quicker" in browser.post(f"{URL}{work.pk}/take/", follow=True).text
        assert "Take the probe first" in browser.post(f"{URL}{work.pk}/chat/", follow=True).text
        assert "not yours" in browser.post(f"{URL}{work.pk}/give-up/", follow=True).text
        assert browser.post(f"{URL}{work.pk}/conclude/", {"conclusion": "Mine"}).status_code == 422
        assert Probe.objects.get().assignee == owner

    def test_is_left_to_others_and_withdrawn(self, client_for, sme, engineer, work):
        client_for(sme).post(f"{URL}{work.pk}/take/")
        assert "left to others" in client_for(sme).post(f"{URL}{work.pk}/give-up/", follow=True).text
        assert "is withdrawn" in client_for(engineer).post(f"{URL}{work.pk}/withdraw/", follow=True).text
        assert "over already" in client_for(engineer).post(f"{URL}{work.pk}/withdraw/", follow=True).text
        assert "the probe is over" in client_for(sme).post(f"{URL}{work.pk}/take/", follow=True).text

    @pytest.mark.parametrize("act", ["take", "give-up", "chat", "conclude", "withdraw"])
    def test_wrong_role_and_method(self, client_for, annotator, sme, engineer, work, act):
        url = f"{URL}{work.pk}/{act}/"
        assert client_for(annotator).post(url).status_code == 403
        assert client_for(engineer).get(url).status_code == 405
        if act == "withdraw":
            assert client_for(sme).post(url).status_code == 403

    def test_page_wrong_role_and_method(self, client_for, annotator, sme, work):
        assert client_for(annotator).get(f"{URL}{work.pk}/").status_code == 403
        assert client_for(sme).post(f"{URL}{work.pk}/").status_code == 405


def _answer_of(work: Probe, answers):
    found = answers[0][0]
    found.model = work.model
    found.save()
    return found
