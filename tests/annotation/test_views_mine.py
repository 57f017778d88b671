"""One's own finished work, changing it, its versions, and what a lead lets the screens ask for."""

from __future__ import annotations

import pytest

from annotation import queue, submit
from annotation.instrument import instrument_of
from annotation.models import Comparison, Demonstration, Instrument, JournalEntry

BASE = "/projects/helpdesk/"


@pytest.fixture
def label(annotator, rank_queue) -> Comparison:
    return submit.submit_ranking(
        queue.claim_next(rank_queue, annotator), [["b"], ["a", "c"]], strength=2, flags={"a": ["opinion"]}
    )


@pytest.fixture
def written(annotator, write_queue) -> Demonstration:
    return submit.submit_demonstration(queue.claim_next(write_queue, annotator), "Slice it.", reasoning="Copies.")


def url(label, page: str) -> str:
    room = "comparisons/demonstrations" if isinstance(label, Demonstration) else "comparisons"
    return f"{BASE}{room}/{label.pk}/{page}"


def new_ranking(**more) -> dict:
    return {"rank_a": "1", "rank_b": "2", "rank_c": "3", "confirmed": "order", "rationale": "A runs.", **more}


class TestMine:
    def test_lists_what_was_handed_in_a_page_at_a_time(self, client_for, annotator, label, written):
        seen = client_for(annotator).get(f"{BASE}annotate/mine/")
        assert url(label, "") in seen.text
        assert url(written, "") in seen.text

    def test_empty_outsider_and_wrong_method(self, client_for, sme, outsider, project):
        assert "Nothing yet" in client_for(sme).get(f"{BASE}annotate/mine/").text
        assert client_for(outsider).get(f"{BASE}annotate/mine/").status_code == 404
        assert client_for(sme).post(f"{BASE}annotate/mine/").status_code == 405

    def test_few_queries(self, client_for, annotator, rank_queue, django_assert_max_num_queries):
        while claim := queue.claim_next(rank_queue, annotator):
            submit.submit_ranking(claim, [["a", "b", "c"]])
        browser = client_for(annotator)
        with django_assert_max_num_queries(8):
            browser.get(f"{BASE}annotate/mine/")


class TestChange:
    def test_the_form_holds_what_was_said(self, client_for, annotator, label):
        seen = client_for(annotator).get(url(label, "change/")).text
        assert 'name="rank_b" value="1"' in seen
        assert seen.count(" checked") == 5  # three places, the strength, a flag
        assert "data-draft" not in seen  # nothing here is a draft of the claim
        assert not any(name in seen for name in ("Tortoise", "Hare", "Fox"))

    def test_a_ranking(self, client_for, annotator, label):
        answer = client_for(annotator).post(url(label, "change/"), new_ranking(second_look="Sure?"), follow=True)
        assert "Changed. What it said before is kept." in answer.text
        label.refresh_from_db()
        a, b, c = label.shown_order
        assert (label.tiers, label.rationale, label.revision) == ([[a], [b], [c]], "A runs.", 2)
        assert (label.second_look, label.flags) == ("Sure?", {})
        assert "Version 2: what it said before" in answer.text

    def test_a_demonstration(self, client_for, annotator, written):
        data = {"text": "Reverse it.", "reasoning": "Copies."}
        client_for(annotator).post(url(written, "change/"), data)
        written.refresh_from_db()
        assert (written.completion.text, written.revision) == ("Reverse it.", 2)
        answer = client_for(annotator).post(url(written, "change/"), data, follow=True)
        assert "Nothing was different." in answer.text

    def test_bad_input(self, client_for, annotator, label, written):
        answer = client_for(annotator).post(url(label, "change/"), {"rank_a": "1"})
        assert answer.status_code == 422
        assert "Give answer B a place" in answer.text
        assert client_for(annotator).post(url(written, "change/"), {"text": " "}).status_code == 422
        label.refresh_from_db()
        assert label.revision == 1

    def test_withdrawn_others_and_wrong_method(self, client_for, annotator, sme, owner, label):
        assert client_for(sme).get(url(label, "change/")).status_code == 404
        assert client_for(owner).post(url(label, "change/"), new_ranking()).status_code == 404
        assert client_for(annotator).delete(url(label, "change/")).status_code == 405
        client_for(annotator).post(url(label, "withdraw/"), {"reason": "Misread"})
        answer = client_for(annotator).get(url(label, "change/"), follow=True)
        assert "This cannot be changed. It has been withdrawn." in answer.text

    def test_few_queries(self, client_for, annotator, label, written, django_assert_max_num_queries):
        browser = client_for(annotator)
        for page in ("change/", ""):
            for each in (label, written):
                with django_assert_max_num_queries(15):
                    assert browser.get(url(each, page)).status_code == 200


class TestTakenBack:
    def test_its_page_leads_back_to_the_task(self, client_for, annotator, label):
        browser = client_for(annotator)
        assert "Take back" in browser.get(url(label, "")).text
        browser.post(f"{BASE}annotate/work/{label.claim_id}/undo/")
        seen = browser.get(url(label, "")).text
        assert "Go on with it" in seen
        assert "Take back" not in seen
        assert f"{BASE}annotate/work/{label.claim_id}/" in seen


class TestVersions:
    def test_each_with_what_changed(self, client_for, annotator, sme, label, written):
        client_for(annotator).post(url(label, "change/"), new_ranking())
        seen = client_for(sme).get(url(label, "versions/")).text
        assert seen.index("Version 2") < seen.index("Version 1")
        assert "Strength: Better" in seen
        assert "Place 1: " in seen
        client_for(annotator).post(url(written, "change/"), {"text": "Reverse it.", "reasoning": "Copies."})
        assert "Reverse" in client_for(annotator).get(url(written, "versions/")).text

    def test_others_and_wrong_method(self, client_for, annotator, outsider, rank_queue, sme):
        theirs = submit.submit_ranking(queue.claim_next(rank_queue, sme), [["a", "b", "c"]])
        assert client_for(annotator).get(url(theirs, "versions/")).status_code == 403
        assert client_for(outsider).get(url(theirs, "versions/")).status_code == 404
        assert client_for(sme).post(url(theirs, "versions/")).status_code == 405


class TestInstrument:
    PAGE = f"{BASE}annotate/instrument/"
    DATA = {
        "ties": "on", "unrankable": "on", "strength": "required", "ratings": "off", "flags": "off",
        "rationale": "optional", "rationale_min": "0", "reasoning": "required", "answer_min": "20",
        "answer_max": "4000", "near_duplicate": "0.8",
    }  # fmt: skip

    def test_a_lead_decides(self, client_for, engineer, project):
        browser = client_for(engineer)
        assert "How much better" in browser.get(self.PAGE).text
        assert browser.post(self.PAGE, self.DATA).url == self.PAGE
        found = instrument_of(project)
        assert (found.strength, found.ratings, found.answer_min, found.near_duplicate) == ("required", "off", 20, 0.8)
        assert JournalEntry.objects.get().detail["after"]["strength"] == "required"
        browser.post(self.PAGE, self.DATA)
        assert Instrument.objects.count() == 1
        assert JournalEntry.objects.count() == 1  # nothing had changed

    @pytest.mark.parametrize(
        ("wrong", "sentence"),
        [
            ({"answer_min": "5000"}, "cannot have to be longer"),
            ({"answer_max": "0"}, "of no length"),
            ({"answer_max": "200000"}, "No text here has more"),
            ({"near_duplicate": "2"}, "between 0 and 1"),
            ({"flags": "required"}, "not one of the available choices"),
        ],
    )
    def test_bad_input(self, client_for, owner, project, wrong, sentence):
        answer = client_for(owner).post(self.PAGE, self.DATA | wrong)
        assert answer.status_code == 422
        assert sentence in answer.text
        assert not Instrument.objects.exists()

    def test_others_and_wrong_method(self, client_for, sme, outsider, owner, project):
        assert client_for(sme).get(self.PAGE).status_code == 403
        assert client_for(outsider).get(self.PAGE).status_code == 404
        assert client_for(owner).delete(self.PAGE).status_code == 405
