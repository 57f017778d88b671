"""The journal's page and export, and what a label's page says: works / bad input / wrong role / wrong method."""

from __future__ import annotations

import csv
import io
import json
from datetime import timedelta

import pytest
from django.utils import timezone

from annotation.failures import add_class, add_example, set_status
from annotation.journal import record
from annotation.models import Comparison, JournalEntry
from annotation.queue import claim_next
from annotation.submit import submit_ranking
from annotation.withdraw import withdraw

URL = "/projects/helpdesk/quality/journal/"


@pytest.fixture
def comparison(rank_queue, annotator) -> Comparison:
    return submit_ranking(claim_next(rank_queue, annotator), [["a"], ["b", "c"]])


def acts(response) -> list[str]:
    return [entry.act for entry in response.context["rows"]]


def test_acts_on_labels_are_written_down(project, comparison, annotator, sme, engineer, answers, make_artifact):
    withdraw(comparison, engineer, "Both answers are wrong")
    found = add_class(project, "Invents methods", sme)
    add_example(found, answers[0][0], sme, correction="list.reverse() exists.")
    set_status(found, answers[0][0].model, "open", engineer, note="Still there")
    withdrawn = JournalEntry.objects.get(act="withdrawn")
    assert (withdrawn.comparison, withdrawn.actor, withdrawn.detail) == (
        comparison, engineer, {"reason": "Both answers are wrong"},
    )  # fmt: skip
    assert {e.actor.username for e in JournalEntry.objects.filter(failure_class=found)} == {"sme", "engineer"}
    assert JournalEntry.objects.filter(failure_example__failure_class=found).exists()


def test_a_refused_withdrawal_writes_nothing(comparison, engineer):
    with pytest.raises(ValueError, match="why the label is withdrawn"):
        withdraw(comparison, engineer, " ")
    withdraw(comparison, engineer, "Wrong")
    with pytest.raises(ValueError, match="already"):
        withdraw(comparison, engineer, "Wrong")
    assert JournalEntry.objects.filter(act="withdrawn").count() == 1


def test_the_page_filters_by_person_act_label_and_time(project, comparison, annotator, sme, engineer, client_for):
    record(project, sme, "class added")
    record(project, engineer, "paused", person=annotator, accuracy=0.25)
    withdraw(comparison, engineer, "Wrong")
    old = JournalEntry(project=project, actor=sme, act="imported", at=timezone.now() - timedelta(days=40))
    old.save()
    client = client_for(engineer)
    shown = client.get(URL)
    assert acts(shown)[:4] == ["imported", "withdrawn", "paused", "class added"]  # by number, newest first
    assert "reason</span> Wrong" in shown.text and "accuracy</span> 0.25" in shown.text
    assert acts(client.get(URL, {"person": "sme"})) == ["imported", "class added"]
    assert "paused" in acts(client.get(URL, {"person": "annotator"}))  # it is about them
    assert acts(client.get(URL, {"act": "withdrawn"})) == ["withdrawn"]
    about = acts(client.get(URL, {"subject": "comparison", "number": comparison.pk}))
    assert about[0] == "withdrawn" and "class added" not in about
    day = (timezone.now() - timedelta(days=39)).date().isoformat()
    assert acts(client.get(URL, {"until": day})) == ["imported"]
    assert "imported" not in acts(client.get(URL, {"since": day}))
    assert "Nothing like that" in client.get(URL, {"person": "nobody"}).text


def test_pages_follow_the_number_of_the_entry_not_their_count(project, engineer, client_for):
    for n in range(120):
        record(project, engineer, f"act {n}")
    client = client_for(engineer)
    first = client.get(URL)
    assert len(acts(first)) == 50 and acts(first)[0] == "act 119"
    assert first.context["newer"] is None
    record(project, engineer, "act 120")  # somebody writes while the reader turns the page
    second = client.get(URL, {"before": first.context["older"]})
    assert acts(second) == [f"act {n}" for n in range(69, 19, -1)]
    third = client.get(URL, {"before": second.context["older"]})
    assert acts(third)[-1] == "act 0" and third.context["older"] is None
    back = client.get(URL, {"after": third.context["newer"]})
    assert acts(back) == acts(second)


def test_pages_cost_the_same_however_long_the_journal(project, engineer, client_for, django_assert_max_num_queries):
    for _ in range(60):
        record(project, engineer, "edited", person=engineer)
    client = client_for(engineer)
    with django_assert_max_num_queries(8):
        assert len(acts(client.get(URL))) == 50


def test_exports_stream_what_is_filtered(project, sme, engineer, client_for):
    sme.username = "=cmd"
    sme.save()
    record(project, engineer, "paused", person=sme, reason="Zu schnell, „ohne“ Lesen")
    record(project, sme, "class added")
    client = client_for(engineer)
    response = client.get(f"{URL}export/jsonl/", {"act": "paused"})
    assert response.streaming and "attachment" in response["Content-Disposition"]
    (row,) = [json.loads(line) for line in response.getvalue().decode().splitlines()]
    assert (row["actor"], row["person"], row["act"]) == ("engineer", "=cmd", "paused")
    assert row["detail"] == {"reason": "Zu schnell, „ohne“ Lesen"}
    table = list(csv.DictReader(io.StringIO(client.get(f"{URL}export/csv/").getvalue().decode())))
    assert [r["actor"] for r in table] == ["'=cmd", "engineer"]  # a spreadsheet takes it for text
    assert json.loads(table[1]["detail"]) == {"reason": "Zu schnell, „ohne“ Lesen"}


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"since": "yesterday"}, "Enter a valid date"),
        ({"number": "7"}, "Say of what kind the number is"),
        ({"since": "2026-03-02", "until": "2026-03-01"}, "The last day lies before the first"),
        ({"subject": "weather"}, "is not one of the available choices"),
        ({"until": "9999-12-31"}, "less than or equal to"),
    ],
)
def test_bad_input_gets_a_sentence(project, engineer, client_for, asked, sentence):
    client = client_for(engineer)
    answer = client.get(URL, asked)
    assert answer.status_code == 422 and sentence in answer.text
    assert client.get(f"{URL}export/csv/", asked).status_code == 422
    assert client.get(URL, {"before": "x", "person": "a\0b"}).status_code in (200, 422)
    assert client.get(f"{URL}export/xml/").status_code == 404


def test_wrong_role_and_method(project, sme, annotator, outsider, engineer, client_for):
    for user in (sme, annotator):
        assert client_for(user).get(URL).status_code == 403
        assert client_for(user).get(f"{URL}export/csv/").status_code == 403
    assert client_for(outsider).get(URL).status_code == 404
    assert client_for(engineer).post(URL).status_code == 405
    assert client_for(engineer).post(f"{URL}export/csv/").status_code == 405


def test_a_label_shows_its_own_history(project, comparison, annotator, engineer, sme, client_for):
    record(project, engineer, "settled", comparison, note="by the lead")
    withdraw(comparison, annotator, "Misread it")
    page = f"/projects/helpdesk/comparisons/{comparison.pk}/"
    seen = client_for(engineer).get(page).text
    assert "Withdrawn</strong> by annotator" in seen and "Settled</strong> by engineer" in seen
    assert f"{URL}?subject=comparison&amp;number={comparison.pk}" in seen
    assert "In the journal" not in client_for(sme).get(page).text  # the journal is for engineers
    own = client_for(annotator).get(page).text
    assert "Withdrawn</strong> by annotator" in own and "Settled</strong>" not in own
