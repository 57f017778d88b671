"""Chats: opening, writing, streaming, voting, and what is made of replies."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from annotation.chats import ask, open_chat
from annotation.failures import add_class
from annotation.models import Chat, Comparison, Demonstration, FailureExample, Reply, Turn
from studio.models import Membership, Role, User
from studio.serving.models import Server
from tests.annotation.talkers import Talkers, make_model

URL = "/projects/helpdesk/probe/chats/"
TURNS = "/projects/helpdesk/probe/turns/"
REPLIES = "/projects/helpdesk/probe/replies/"


@pytest.fixture
def pair(project, engineer, sme, var, settings) -> Chat:
    """A chat of the SME with two models that nobody has started."""
    settings.MAX_SERVERS = 2
    return open_chat(project, sme, make_model(project, engineer, "Hare"), make_model(project, engineer, "Tortoise"))


@pytest.fixture
def turn(pair) -> Turn:
    """Both models have answered the first message."""
    made = ask(pair, "How do I sort?")
    for side, text in (("a", "Use **sort**."), ("b", "Use sorted().")):
        Reply.objects.filter(turn=made, side=side).update(
            state="done", text=text, finish_reason="stop", tokens=3, seconds=1
        )
    return made


@pytest.fixture
def colleague(project) -> User:
    user = User.objects.create_user(username="colleague")
    Membership.objects.create(project=project, user=user, role=Role.SME)
    return user


@pytest.fixture
def talkers(project, engineer, var) -> Iterator[Talkers]:
    made = Talkers(project, engineer)
    yield made
    made.end()


FORM = {"temperature": "0.7", "top_p": "1", "max_tokens": "64"}


class TestNew:
    def test_opens_a_chat_and_asks_for_the_models(self, client_for, sme, project, pair):
        a, b = pair.model_a, pair.model_b
        data = FORM | {"model": a.pk, "other": b.pk, "text": "Hello?", "system": "Be kind."}
        answer = client_for(sme).post(f"{URL}new/", data)
        made = Chat.objects.first()
        assert answer.url == f"{URL}{made.pk}/"
        assert (made.user, made.system, made.sampling["max_tokens"]) == (sme, "Be kind.", 64)
        assert made.turns.get().replies.count() == 2
        assert Server.objects.count() == 2

    def test_is_filled_in_from_what_led_here(self, client_for, sme, pair, prompts):
        rambles = add_class(pair.project, "Rambles", sme)
        seen = client_for(sme).get(f"{URL}new/?class={rambles.pk}&prompt={prompts[0].pk}&model={pair.model_a.pk}").text
        assert prompts[0].text in seen and "Looking for" in seen
        assert f'<option value="{pair.model_a.pk}" selected>' in seen

    def test_bad_input(self, client_for, sme, pair):
        model = pair.model_a.pk
        for data, sentence in (
            ({}, "This field is required"),
            ({"model": model, "other": model}, "the same model"),
            ({"model": model, "is_blind": "on"}, "no name to hide"),
            ({"model": model, "max_tokens": "0"}, "greater than or equal to 1"),
        ):
            answer = client_for(sme).post(f"{URL}new/", FORM | data)
            assert answer.status_code == 422
            assert sentence in answer.text
        assert Chat.objects.get() == pair

    def test_wrong_role_and_method(self, client_for, annotator, outsider, sme, project):
        assert client_for(annotator).get(f"{URL}new/").status_code == 403
        assert client_for(outsider).get(f"{URL}new/").status_code == 404
        assert client_for(sme).put(f"{URL}new/").status_code == 405


class TestPage:
    def test_both_replies_and_what_can_be_made_of_them(self, client_for, sme, turn, django_assert_max_num_queries):
        browser = client_for(sme)
        with django_assert_max_num_queries(15):
            seen = browser.get(f"{URL}{turn.chat_id}/").text
        for part in ("Use <strong>sort</strong>", "Hare", "Which is better?", "File as example", "goes on from"):
            assert part in seen

    def test_a_blind_chat_tells_no_name_before_the_vote(self, client_for, sme, project, pair):
        chat = open_chat(project, sme, pair.model_a, pair.model_b, is_blind=True)
        made = ask(chat, "Hello?")
        Reply.objects.filter(turn=made).update(state="done", text="Hi.", finish_reason="stop")
        Reply.objects.filter(turn=made, side="b").update(text="Hello.")
        browser = client_for(sme)
        pages = [f"{URL}{chat.pk}/", f"{TURNS}{made.pk}/", f"{URL}{chat.pk}/servers/"]
        Chat.objects.filter(pk=pair.pk).delete()
        for url in (*pages, "/projects/helpdesk/probe/"):
            seen = browser.get(url).text
            assert "Hare" not in seen and "Tortoise" not in seen, url
        reply = made.replies.first()
        assert browser.get(f"{REPLIES}{reply.pk}/failure/").status_code == 404  # voting comes first
        browser.post(f"{TURNS}{made.pk}/vote/", {"outcome": "a"})
        assert "Hare" in browser.get(pages[0]).text

    def test_read_by_its_user_and_leads_alone(self, client_for, engineer, colleague, annotator, sme, turn):
        url = f"{URL}{turn.chat_id}/"
        seen = client_for(engineer).get(url).text
        assert "You are reading a chat of sme" in seen and "data-write" not in seen and 'id="say"' not in seen
        assert client_for(engineer).get(f"{TURNS}{turn.pk}/").status_code == 200
        for path in (url, f"{TURNS}{turn.pk}/"):
            assert client_for(colleague).get(path).status_code == 404
            assert client_for(annotator).get(path).status_code == 403
            assert client_for(sme).post(path).status_code == 405


class TestSay:
    def test_goes_on(self, client_for, sme, turn):
        answer = client_for(sme).post(f"{URL}{turn.chat_id}/say/", {"text": "And backwards?", "chosen": "b"})
        made = Turn.objects.last()
        assert answer.url == f"{URL}{turn.chat_id}/#turn-{made.pk}"
        assert (made.number, made.text) == (2, "And backwards?")

    def test_bad_input(self, client_for, sme, turn):
        for data, sentence in (
            ({"text": ""}, "This field is required"),
            ({"text": "And?"}, "Say which of the two answers"),
            ({"text": "And?", "chosen": "c"}, "Write a message"),
        ):
            answer = client_for(sme).post(f"{URL}{turn.chat_id}/say/", data)
            assert answer.status_code == 422
            assert sentence in answer.text
        assert Turn.objects.count() == 1

    def test_wrong_person_role_and_method(self, client_for, engineer, annotator, sme, turn):
        url = f"{URL}{turn.chat_id}/say/"
        assert client_for(engineer).post(url, {"text": "Hi"}).status_code == 404
        assert client_for(annotator).post(url, {"text": "Hi"}).status_code == 403
        assert client_for(sme).get(url).status_code == 405


class TestServers:
    def test_a_get_tells_and_a_post_asks(self, client_for, sme, pair):
        Server.objects.all().delete()
        url = f"{URL}{pair.pk}/servers/"
        told = client_for(sme).get(url).json()
        assert [server["state"] for server in told["servers"]] == ["", ""]
        assert not Server.objects.exists()
        Server.objects.create(artifact=pair.model_a, requested_by=sme, note="Waiting: run 7 is using the device")
        told = client_for(sme).post(url).json()
        assert [s["words"] for s in told["servers"]] == ["Waiting: run 7 is using the device", "Waiting for a GPU host"]
        Server.objects.filter(artifact=pair.model_a).update(state="crashed", error="No memory")
        assert client_for(sme).get(url).json()["servers"][0]["error"] == "No memory"

    def test_wrong_person_role_and_method(self, client_for, engineer, annotator, sme, pair):
        url = f"{URL}{pair.pk}/servers/"
        assert client_for(engineer).post(url).status_code == 404
        assert client_for(annotator).post(url).status_code == 403
        assert client_for(sme).put(url).status_code == 405


class TestWrite:
    def test_streams_lines(self, client_for, sme, project, talkers):
        chat = open_chat(project, sme, talkers("Hare", says="One two"))
        reply = ask(chat, "Count.").replies.get()
        url = f"{REPLIES}{reply.pk}/write/"
        answer = client_for(sme).post(url)
        lines = [json.loads(line) for line in b"".join(answer.streaming_content).splitlines()]
        assert lines == [{"text": "One "}, {"text": "two"}, {"state": "done", "error": ""}]
        again = client_for(sme).post(url)
        assert (again.status_code, again.json()) == (409, {"wait": "This answer is being written already."})

    @pytest.mark.django_db(transaction=True)  # closing a response closes its connection
    def test_a_reader_who_leaves_before_the_first_word_ends_it(self, client_for, sme, project, talkers):
        chat = open_chat(project, sme, talkers("Hare", says="One two"))
        reply = ask(chat, "Count.").replies.get()
        answer = client_for(sme).post(f"{REPLIES}{reply.pk}/write/")
        answer.close()
        reply.refresh_from_db()
        assert (reply.state, reply.error) == ("failed", "The connection broke off.")

    def test_waits_while_the_model_starts(self, client_for, sme, pair):
        reply = ask(pair, "Hello?").replies.first()
        answer = client_for(sme).post(f"{REPLIES}{reply.pk}/write/")
        assert (answer.status_code, answer.json()) == (409, {"wait": "The model is not ready yet."})

    @pytest.mark.parametrize("act", ["write", "stop", "repeat"])
    def test_wrong_person_role_and_method(self, client_for, engineer, annotator, sme, turn, act):
        url = f"{REPLIES}{turn.replies.first().pk}/{act}/"
        assert client_for(engineer).post(url).status_code == 404
        assert client_for(annotator).post(url).status_code == 403
        assert client_for(sme).get(url).status_code == 405

    def test_stop_and_again(self, client_for, sme, pair):
        reply = ask(pair, "Hello?").replies.first()
        seen = client_for(sme).post(f"{REPLIES}{reply.pk}/stop/").text
        assert "It was stopped before it began" in seen and "Try again" in seen
        assert "Waiting for the model" in client_for(sme).post(f"{REPLIES}{reply.pk}/repeat/").text


class TestVote:
    def test_makes_a_comparison(self, client_for, sme, turn):
        data = {"outcome": "a", "strength": "1", "rationale": "Shorter."}
        seen = client_for(sme).post(f"{TURNS}{turn.pk}/vote/", data, follow=True).text
        made = Comparison.objects.get()
        assert (made.strength, made.rationale, made.annotator) == (1, "Shorter.", sme)
        assert "A was preferred, slightly better" in seen

    def test_strength_of_a_tie_is_dropped(self, client_for, sme, turn):
        seen = client_for(sme).post(f"{TURNS}{turn.pk}/vote/", {"outcome": "tie", "strength": "3"}, follow=True).text
        assert Comparison.objects.get().strength is None and "Equally good" in seen

    def test_bad_input(self, client_for, sme, turn):
        browser = client_for(sme)
        assert "Say which answer is better" in browser.post(f"{TURNS}{turn.pk}/vote/", {}, follow=True).text
        browser.post(f"{TURNS}{turn.pk}/vote/", {"outcome": "neither"})
        assert "already" in browser.post(f"{TURNS}{turn.pk}/vote/", {"outcome": "a"}, follow=True).text
        assert Comparison.objects.get().tiers == []

    def test_wrong_person_role_and_method(self, client_for, engineer, annotator, sme, turn):
        url = f"{TURNS}{turn.pk}/vote/"
        assert client_for(engineer).post(url, {"outcome": "a"}).status_code == 404
        assert client_for(annotator).post(url, {"outcome": "a"}).status_code == 403
        assert client_for(sme).get(url).status_code == 405


class TestUse:
    def test_a_demonstration(self, client_for, sme, turn):
        url = f"{REPLIES}{turn.replies.first().pk}/demonstrate/"
        assert "Use **sort**." in client_for(sme).get(url).text
        seen = client_for(sme).post(url, {"text": "Use `sort`.", "reasoning": "As code."}).text
        assert f"Demonstration {Demonstration.objects.get().pk}" in seen
        assert f'data-refreshes="turn-{turn.pk}"' in seen

    def test_a_failure(self, client_for, sme, turn):
        url = f"{REPLIES}{turn.replies.first().pk}/failure/"
        rambles = add_class(turn.chat.project, "Rambles", sme)
        assert "Use <strong>sort</strong>." in client_for(sme).get(url).text
        seen = client_for(sme).post(url, {"failure_class": rambles.pk, "correction": "Use it so."}).text
        assert "Filed under" in seen
        assert FailureExample.objects.get().completion.text == "Use **sort**."

    def test_bad_input(self, client_for, sme, turn):
        reply = turn.replies.first()
        for act, data, sentence in (
            ("demonstrate", {"text": " "}, "The answer is empty"),
            ("failure", {"correction": "No."}, "Choose a class, or give a new one a name"),
            ("failure", {"name": "Rambles"}, "This field is required"),
        ):
            answer = client_for(sme).post(f"{REPLIES}{reply.pk}/{act}/", data)
            assert answer.status_code == 422
            assert sentence in answer.text
        assert not Demonstration.objects.exists() and not FailureExample.objects.exists()

    @pytest.mark.parametrize("act", ["demonstrate", "failure"])
    def test_wrong_person_role_and_method(self, client_for, engineer, annotator, sme, turn, act):
        reply = turn.replies.first()
        url = f"{REPLIES}{reply.pk}/{act}/"
        assert client_for(engineer).get(url).status_code == 404
        assert client_for(annotator).get(url).status_code == 403
        assert client_for(sme).put(url).status_code == 405
        Reply.objects.update(state="writing")
        assert client_for(sme).get(url).status_code == 404  # not finished
