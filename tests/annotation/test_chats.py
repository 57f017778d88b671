"""Chats: messages, replies that are streamed and kept, and the labels that are made of them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.utils import timezone

from annotation import chat_labels, chats
from annotation.chats import ask, messages_of, open_chat, settle, stop, take_up, try_again, write
from annotation.models import (
    Chat,
    Comparison,
    Completion,
    Demonstration,
    FailureClass,
    FailureExample,
    JournalEntry,
    Prompt,
    Reply,
    Turn,
)
from studio.serving.client import Sampling
from studio.serving.models import Server
from tests.annotation.talkers import Talkers, make_model
from tests.annotation.test_concurrency import in_threads

State = Reply.State


@pytest.fixture
def talkers(project, engineer, var, settings) -> Iterator[Talkers]:
    settings.MAX_SERVERS = 2
    made = Talkers(project, engineer)
    yield made
    made.end()


def answered(turn: Turn, side: str = "a", text: str = "An answer", state: str = State.DONE) -> Reply:
    """As if its model had written it."""
    Reply.objects.filter(turn=turn, side=side).update(state=state, text=text, finish_reason="stop", tokens=2)
    return Reply.objects.get(turn=turn, side=side)


def streamed(reply: Reply) -> list[dict]:
    return list(write(reply, take_up(reply)))


class TestStreaming:
    def test_words_come_one_by_one_and_are_kept_with_their_sampling(self, talkers, project, sme):
        chat = open_chat(project, sme, talkers("Hare", says="One two three"), sampling=Sampling(0.5, 0.9, 32))
        reply = ask(chat, "Count.").replies.get()
        events = streamed(reply)
        assert [event["text"] for event in events if "text" in event] == ["One ", "two ", "three"]
        assert events[-1] == {"state": "done", "error": ""}
        reply.refresh_from_db()
        assert (reply.state, reply.text, reply.finish_reason, reply.tokens) == ("done", "One two three", "stop", 3)
        assert {k: reply.sampling[k] for k in ("temperature", "top_p", "max_tokens")} == {
            "temperature": 0.5, "top_p": 0.9, "max_tokens": 32,
        }  # fmt: skip
        assert isinstance(reply.sampling["seed"], int)

    def test_what_was_written_stays_when_the_reader_leaves(self, talkers, project, sme):
        chat = open_chat(project, sme, talkers("Hare", says="One two three four five", word_after=0.05))
        reply = ask(chat, "Count.").replies.get()
        events = write(reply, take_up(reply))
        seen = [next(events) for _ in range(3)]  # that it has begun, and two words
        events.close()
        reply.refresh_from_db()
        assert seen[1:] == [{"text": "One "}, {"text": "two "}]
        assert (reply.state, reply.text, reply.finish_reason) == ("cut", "One two ", "cut")

    def test_what_was_written_stays_when_the_server_breaks(self, talkers, project, sme):
        chat = open_chat(project, sme, talkers("Hare", says="One two three", break_after=2))
        reply = ask(chat, "Count.").replies.get()
        assert streamed(reply)[-1]["state"] == "cut"
        reply.refresh_from_db()
        assert (reply.text, reply.error) == ("One two ", "The server broke off.")

    def test_a_refusal_is_told(self, talkers, project, sme):
        chat = open_chat(project, sme, talkers("Hare", refuse="maximum context length is 256 tokens"))
        reply = ask(chat, "Count.").replies.get()
        assert streamed(reply)[-1] == {"state": "failed", "error": "maximum context length is 256 tokens"}

    def test_stop_ends_it_within_a_second_or_so(self, talkers, project, sme, monkeypatch):
        monkeypatch.setattr(chats, "SAVE_SECONDS", 0.05)
        chat = open_chat(project, sme, talkers("Hare", says="word " * 200, word_after=0.02))
        reply = ask(chat, "Go on for ever.").replies.get()
        events = write(reply, take_up(reply))
        next(events), next(events)
        assert stop(reply)
        rest = list(events)
        assert rest[-1] == {"state": "cut", "error": "It was stopped."}
        assert len(rest) < 20
        assert not stop(reply)

    def test_one_writer_a_reply_and_no_more_than_the_web_servers_bear(self, talkers, project, sme, settings):
        chat = open_chat(project, sme, talkers("Hare"))
        reply = ask(chat, "Hello?").replies.get()
        take_up(reply)
        with pytest.raises(chats.NotYet, match="being written already"):
            take_up(reply)
        other = ask(open_chat(project, sme, chat.model_a), "Hello?").replies.get()
        settings.MAX_CHAT_STREAMS = 1
        with pytest.raises(chats.NotYet, match="as many answers as it can"):
            take_up(other)

    def test_not_before_the_model_is_ready(self, talkers, project, sme):
        chat = open_chat(project, sme, make_model(project, sme, "Asleep"))
        assert Server.objects.get().state == "starting"  # opening the chat has asked for it
        with pytest.raises(chats.NotYet, match="not ready yet"):
            take_up(ask(chat, "Hello?").replies.get())

    def test_replies_whose_writer_was_killed_are_settled(self, talkers, project, sme):
        chat = open_chat(project, sme, talkers("Hare"))
        reply = ask(chat, "Hello?").replies.get()
        take_up(reply)
        Reply.objects.update(text="Half a", saved_at=timezone.now() - timedelta(seconds=chats.STALE_SECONDS - 5))
        settle(chat)
        assert Reply.objects.get().state == "writing"  # it may still be at it
        Reply.objects.update(saved_at=timezone.now() - timedelta(seconds=chats.STALE_SECONDS + 5))
        settle(chat)
        assert (Reply.objects.get().state, Reply.objects.get().finish_reason) == ("cut", "cut")
        assert try_again(reply)
        assert (Reply.objects.get().state, Reply.objects.get().text) == ("waiting", "")


@pytest.fixture
def pair(project, engineer, sme, var, settings) -> Chat:
    """A chat of the SME with two models that nobody has started."""
    settings.MAX_SERVERS = 2
    return open_chat(
        project,
        sme,
        make_model(project, engineer, "Hare"),
        make_model(project, engineer, "Tortoise"),
        system="Be kind.",
    )


class TestConversation:
    def test_goes_on_from_the_chosen_answer(self, pair):
        first = ask(pair, "How do I sort?")
        answered(first, "a", "Use sort().")
        answered(first, "b", "Use sorted().")
        with pytest.raises(ValueError, match="which of the two answers"):
            ask(pair, "And backwards?")
        second = ask(pair, "And backwards?", chosen="b")
        assert messages_of(second) == [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": "How do I sort?"},
            {"role": "assistant", "content": "Use sorted()."},
            {"role": "user", "content": "And backwards?"},
        ]

    def test_goes_on_from_the_only_usable_answer_and_forgets_what_got_none(self, pair):
        first = ask(pair, "How do I sort?")
        answered(first, "a", "", State.FAILED)
        answered(first, "b", "Use sorted().")
        second = ask(pair, "And backwards?")
        answered(second, "a", "", State.FAILED)
        answered(second, "b", "  ")
        third = ask(pair, "Hello?")
        assert [m["content"] for m in messages_of(third)[1:]] == ["How do I sort?", "Use sorted().", "Hello?"]

    @pytest.mark.parametrize(
        ("text", "sentence"), [(" ", "Write a message"), ("x" * 50_001, "50,001 characters"), ("Again", "still being")]
    )
    def test_refused_messages(self, pair, text, sentence):
        ask(pair, "First")
        with pytest.raises(ValueError, match=sentence):
            ask(pair, text)
        assert pair.turns.count() == 1

    def test_models_that_do_not_fit(self, project, sme, engineer, make_artifact, pair):
        model = pair.model_a
        for chosen, options, sentence in (
            ((model, model), {}, "the same model"),
            ((model,), {"is_blind": True}, "no name to hide"),
            ((make_artifact("corpus", "Text"),), {}, "models of this project"),
        ):
            with pytest.raises(ValueError, match=sentence):
                open_chat(project, sme, *chosen, **options)

    def test_a_model_that_cannot_be_served_leaves_no_chat(self, project, sme, make_artifact):
        with pytest.raises(ValueError):
            open_chat(project, sme, make_artifact("model", "No config"))
        assert not Chat.objects.exists()

    def test_blind_sides_are_drawn(self, project, sme, pair):
        hare, tortoise = pair.model_a, pair.model_b
        lefts = {open_chat(project, sme, hare, tortoise, is_blind=True).model_a for _ in range(30)}
        assert lefts == {hare, tortoise}  # 1 in 2^29 that a fair draw fails this

    def test_with_room_for_one_server_the_next_to_answer_is_woken(self, project, sme, engineer, var, settings):
        settings.MAX_SERVERS = 1
        hare, tortoise = make_model(project, engineer, "Hare"), make_model(project, engineer, "Tortoise")
        chat = open_chat(project, sme, hare, tortoise)
        assert [server.artifact for server in Server.objects.all()] == [hare]
        turn = ask(chat, "Hello?")
        answered(turn, "a")
        chats.wake_models(chat, sme)
        assert {server.artifact for server in Server.objects.all()} == {hare, tortoise}


class TestLabels:
    @pytest.fixture
    def turn(self, pair) -> Turn:
        first = ask(pair, "How do I sort?")
        answered(first, "a", "Use sort().")
        answered(first, "b", "Use sorted().")
        return Turn.objects.get(pk=first.pk)

    def test_a_vote_is_a_comparison_of_completions_with_their_models(self, turn, sme, guideline):
        assert not Prompt.objects.exists()  # a chat alone adds nothing to the project
        made = chat_labels.vote(turn, sme, "b", strength=3, rationale=" It keeps the list. ")
        a, b = Completion.objects.order_by("id")
        assert (made.tiers, made.shown_order, made.strength) == ([[b.pk], [a.pk]], [a.pk, b.pk], 3)
        assert (made.annotator, made.guideline, made.rationale) == (sme, guideline, "It keeps the list.")
        assert made.source == f"Chat {turn.chat_id}, turn 1"
        assert (a.model, b.model) == (turn.chat.model_a, turn.chat.model_b)
        assert a.sampling["max_tokens"] == 256
        assert made.prompt.messages == [
            {"role": "system", "content": "Be kind."}, {"role": "user", "content": "How do I sort?"},
        ]  # fmt: skip
        turn.refresh_from_db()
        assert (turn.comparison, turn.chosen, turn.prompt) == (made, "b", made.prompt)
        entry = JournalEntry.objects.get(comparison=made)
        assert (entry.act, entry.actor, entry.detail["blind"]) == ("submitted", sme, False)

    def test_ties_and_neither(self, turn, sme, pair):
        made = chat_labels.vote(turn, sme, "tie")
        a, b = made.shown_order
        assert (made.tiers, made.unrankable) == ([[a, b]], [])
        second = ask(pair, "And backwards?", chosen="a")
        answered(second, "a", "No.")
        answered(second, "b", "Never.")
        made = chat_labels.vote(second, sme, "neither")
        assert (made.tiers, made.unrankable) == ([], made.shown_order)

    def test_votes_that_cannot_be(self, turn, sme, pair):
        for arguments, sentence in (
            ({"outcome": "c"}, "Say which answer"),
            ({"outcome": "tie", "strength": 1}, "a tie has none"),
            ({"outcome": "a", "strength": 9}, "Strength is"),
        ):
            with pytest.raises(ValueError, match=sentence):
                chat_labels.vote(turn, sme, **arguments)
        chat_labels.vote(turn, sme, "a")
        with pytest.raises(ValueError, match="already"):
            chat_labels.vote(turn, sme, "b")
        second = ask(pair, "And backwards?")
        answered(second, "a", "Same.")
        with pytest.raises(ValueError, match="no two finished"):
            chat_labels.vote(second, sme, "a")
        answered(second, "b", "Same. ")
        with pytest.raises(ValueError, match="the same"):
            chat_labels.vote(second, sme, "a")
        assert Comparison.objects.count() == 1

    def test_names_come_with_the_first_vote(self, project, sme, pair):
        chat = open_chat(project, sme, pair.model_a, pair.model_b, is_blind=True)
        turn = ask(chat, "Hello?")
        answered(turn, "a", "Hi.")
        answered(turn, "b", "Yes?")
        assert not chats.shows_names(chat)
        made = chat_labels.vote(turn, sme, "a")
        assert chats.shows_names(chat)
        assert JournalEntry.objects.get(comparison=made).detail["blind"] is True

    def test_a_demonstration_knows_what_it_was_written_from(self, turn, sme):
        reply = turn.replies.get(side="a")
        made = chat_labels.demonstrate(reply, sme, "Use sort(reverse=True).", reasoning="Asked for backwards.")
        assert made.draft_of.text == "Use sort()."
        assert made.edit_distance == 12  # the characters of "reverse=True"
        assert (made.completion.author, made.completion.text) == (sme, "Use sort(reverse=True).")
        with pytest.raises(ValueError, match="already"):
            chat_labels.demonstrate(reply, sme, " Use sort(reverse=True). ")
        with pytest.raises(ValueError, match="empty"):
            chat_labels.demonstrate(reply, sme, " ")
        assert Demonstration.objects.count() == 1

    def test_a_failing_reply_is_filed(self, turn, sme):
        reply = turn.replies.get(side="a")
        made = chat_labels.file_reply(reply, sme, name="Forgets the key", correction="Use sort(key=len).")
        assert (made.completion.model, made.completion.text) == (turn.chat.model_a, "Use sort().")
        assert FailureClass.objects.get().owner == sme
        with pytest.raises(ValueError, match="already"):
            chat_labels.file_reply(reply, sme, failure_class=made.failure_class, correction="Again.")
        chat_labels.vote(Turn.objects.get(pk=turn.pk), sme, "b")
        assert Completion.objects.count() == 2  # each reply once, whatever is made of it

    def test_a_conversation_keeps_the_split_of_its_first_message(self, turn, sme, pair):
        chat_labels.vote(turn, sme, "a")
        second = ask(pair, "And backwards?")
        answered(second, "a", "No.")
        made = chat_labels.demonstrate(second.replies.get(side="a"), sme, "Use reverse=True.")
        splits = set(Prompt.objects.values_list("split", flat=True))
        assert Prompt.objects.count() == 2 and splits == {made.prompt.split}

    def test_nothing_is_made_of_what_is_not_finished(self, pair, sme):
        turn = ask(pair, "Hello?")
        with pytest.raises(ValueError, match="not finished"):
            chat_labels.demonstrate(turn.replies.get(side="a"), sme, "Hi.")
        assert not Completion.objects.exists()

    def test_what_labels_rest_on_is_not_drawn_again(self, turn, sme):
        answered(turn, "a", "Use so", State.CUT)
        reply = turn.replies.get(side="a")
        chat_labels.file_reply(reply, sme, name="Stops", correction="Use sort().")
        assert not try_again(reply)
        assert FailureExample.objects.get().completion.finish_reason == "stop"


def assert_one_vote_counts(project, user) -> None:
    """Six clicks on the same vote make one comparison of two completions."""
    chat = open_chat(project, user, make_model(project, user, "Hare"), make_model(project, user, "Tortoise"))
    turn = ask(chat, "How do I sort?")
    answered(turn, "a", "Use sort().")
    answered(turn, "b", "Use sorted().")

    def click(_: int) -> bool:
        try:
            chat_labels.vote(Turn.objects.select_related("chat__project").get(pk=turn.pk), user, "a")
        except ValueError:
            return False
        return True

    assert sum(in_threads(click, range(6))) == 1 == Comparison.objects.count()
    assert Completion.objects.count() == 2


@pytest.mark.postgres
def test_one_vote_on_postgres(on_postgres, var, settings):
    from studio.models import Project, User

    user = User.objects.create(username="lead")
    assert_one_vote_counts(Project.objects.create(slug="crowd", name="Crowd"), user)


@pytest.mark.django_db(transaction=True)
def test_one_vote_on_one_file(var, project, sme):
    assert_one_vote_counts(project, sme)
