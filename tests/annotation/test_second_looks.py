"""Labels that want a second look. Works / bad input / wrong role / wrong method."""

from __future__ import annotations

import pytest

from annotation import second_looks
from annotation.gold_items import make_gold
from annotation.models import Comparison, Demonstration, JournalEntry, Kind, Queue, Task
from annotation.queue import claim_next
from annotation.revise import reopen
from annotation.submit import submit_demonstration, submit_ranking
from tests.annotation.test_effects import compare

URL = "/projects/helpdesk/quality/second-looks/"


@pytest.fixture
def ranked(rank_queue, annotator) -> Comparison:
    return submit_ranking(claim_next(rank_queue, annotator), [["a"], ["b"], ["c"]], second_look="Is b dangerous?")


@pytest.fixture
def written(write_queue, sme) -> Demonstration:
    return submit_demonstration(claim_next(write_queue, sme), "Use reversed().", second_look="Not sure about 3.8")


def act_on(label) -> str:
    return f"{URL}{label._meta.model_name}/{label.pk}/"


def shown(response) -> list[tuple[str, int]]:
    return [(row["kind"], row["label"].pk) for row in response.context["rows"]]


def test_those_that_wait_newest_first(ranked, written, sme, answers, engineer, client_for):
    compare(sme, answers[1], "a>b")  # nobody doubts it
    client = client_for(engineer)
    page = client.get(URL)
    assert shown(page) == [("demonstration", written.pk), ("comparison", ranked.pk)]
    assert "Is b dangerous?" in page.text and "Not sure about 3.8" in page.text
    assert "None so far" in client.get(URL, {"show": "done"}).text


def test_it_stands(ranked, engineer, client_for):
    client = client_for(engineer)
    assert "It stands" in client.post(act_on(ranked), {"act": "done", "note": "b is fine"}, follow=True).text
    entry = JournalEntry.objects.get(act="looked at again")
    assert (entry.comparison, entry.actor, entry.detail) == (
        ranked, engineer, {"asked": "Is b dangerous?", "note": "b is fine"},
    )  # fmt: skip
    assert shown(client.get(URL)) == [] and len(shown(client.get(URL, {"show": "done"}))) == 1
    again = client.post(act_on(ranked), {"act": "done"}, follow=True)
    assert "somebody was faster" in again.text and JournalEntry.objects.filter(act="looked at again").count() == 1


def test_it_is_settled_by_another(ranked, annotator, sme, engineer, client_for):
    client = client_for(engineer)
    assert "Sent to adjudication" in client.post(act_on(ranked), {"act": "settle"}, follow=True).text
    task = Task.objects.get(adjudicates=ranked.task)
    assert task.queue.kind == Kind.ADJUDICATE and claim_next(task.queue, sme).task == task
    ranked.refresh_from_db()
    assert ranked.second_look_done and not ranked.is_withdrawn
    other = submit_ranking(claim_next(ranked.task.queue, sme), [["a"], ["b"], ["c"]])
    Comparison.objects.filter(pk=other.pk).update(second_look="Me too", task=ranked.task)
    assert client.get(URL).context["rows"][0]["may_settle"] is False  # it is being settled
    refused = client.post(act_on(other), {"act": "settle"}, follow=True)
    assert "sent to adjudication already" in refused.text
    other.refresh_from_db()
    assert not other.second_look_done  # nothing was half done


def test_it_is_withdrawn(written, engineer, client_for):
    client = client_for(engineer)
    assert "why the label is withdrawn" in client.post(act_on(written), {"act": "withdraw"}, follow=True).text
    client.post(act_on(written), {"act": "withdraw", "note": "Wrong for 3.8"})
    written.refresh_from_db()
    assert (written.is_withdrawn, written.withdrawn_reason, written.second_look_done) == (True, "Wrong for 3.8", True)
    assert shown(client.get(URL)) == [] == shown(client.get(URL, {"show": "done"}))


def test_answers_to_gold_items_are_not_settled(rank_queue, sme, engineer, client_for):
    task = rank_queue.tasks.last()
    gold = make_gold(task, [[pk] for pk in task.completions.values_list("pk", flat=True)], engineer)
    Queue.objects.update(gold_rate=1)
    rank_queue.refresh_from_db()
    claim = claim_next(rank_queue, sme)
    assert claim.task_id == gold.task_id
    ranked = submit_ranking(claim, [["a"], ["b"], ["c"]], second_look="Is b dangerous?")
    client = client_for(engineer)
    assert client.get(URL).context["rows"][0]["may_settle"] is False
    assert "not of a gold item" in client.post(act_on(ranked), {"act": "settle"}, follow=True).text
    ranked.refresh_from_db()
    assert not ranked.second_look_done


def test_demonstrations_are_not_settled(written, engineer, client_for):
    client = client_for(engineer)
    assert client.get(URL).context["rows"][0]["may_settle"] is False
    assert "Only a ranking that came from a queue" in client.post(act_on(written), {"act": "settle"}, follow=True).text
    with pytest.raises(ValueError, match="at most 300"):
        second_looks.mark_done(written, engineer, "x" * 301)


@pytest.mark.parametrize("data", [{}, {"act": "burn"}, {"act": "done", "note": "x" * 301}])
def test_bad_input(ranked, engineer, client_for, data):
    client = client_for(engineer)
    answer = client.post(act_on(ranked), data, follow=True)
    assert "Choose what to do" in answer.text or "at most 300" in answer.text
    ranked.refresh_from_db()
    assert not ranked.second_look_done
    assert client.post(f"{URL}comparison/999999/", {"act": "done"}).status_code == 404
    assert client.post(f"{URL}poem/{ranked.pk}/", {"act": "done"}).status_code == 404


def test_wrong_role_and_method(ranked, sme, annotator, outsider, engineer, client_for):
    for user, status in ((sme, 403), (annotator, 403), (outsider, 404)):
        assert client_for(user).get(URL).status_code == status
        assert client_for(user).post(act_on(ranked), {"act": "done"}).status_code == status
    assert client_for(engineer).post(URL).status_code == 405
    assert client_for(engineer).get(act_on(ranked)).status_code == 405


def test_queries_do_not_grow(ranked, written, engineer, answers, sme, client_for, django_assert_max_num_queries):
    for n in range(4):
        compare(sme, answers[n], "a>b", second_look="Sure?")
    client = client_for(engineer)
    with django_assert_max_num_queries(15):
        assert len(shown(client.get(URL))) == 6


def test_asked_for_anew_after_an_undo_it_waits_again(ranked, annotator, engineer, project):
    second_looks.mark_done(ranked, engineer, "It is fine.")
    claim = reopen(ranked.claim, annotator)
    with pytest.raises(ValueError, match="Nobody waits"):  # it does not stand now
        second_looks.send_on(Comparison.everything.get(pk=ranked.pk), engineer)
    again = submit_ranking(claim, [["a"], ["b"], ["c"]], second_look="Answer b shows a password.")
    assert again.pk == ranked.pk and not again.second_look_done
    assert [row["pk"] for row in second_looks.flagged(project)] == [ranked.pk]


def test_looked_at_and_handed_in_again_unchanged_it_stays_so(ranked, annotator, engineer):
    second_looks.mark_done(ranked, engineer, "It is fine.")
    again = submit_ranking(reopen(ranked.claim, annotator), [["a"], ["b"], ["c"]], second_look="Is b dangerous?")
    assert again.second_look_done
