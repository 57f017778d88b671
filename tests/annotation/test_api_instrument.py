"""What is asked of judges over the API, and demonstrations that start from a model's answer."""

from __future__ import annotations

import pytest

from annotation.models import Claim, Demonstration, Instrument, JournalEntry
from annotation.queue import claim_next

URL = "/projects/helpdesk/instrument"


def test_read_by_all_and_changed_where_something_is_given(call, annotator, engineer, rank_queue):
    asked = call(annotator, "GET", URL).json()
    assert (asked["ties"], asked["rationale"], asked["answer_max"]) == (True, "optional", 100_000)
    changed = call(engineer, "PATCH", URL, {"ties": False, "rationale": "required"})
    assert changed.status_code == 200, changed.text
    assert changed.json() == asked | {"ties": False, "rationale": "required"} == call(annotator, "GET", URL).json()
    claim = call(annotator, "POST", f"/queues/{rank_queue.pk}/claim").json()
    key = {"Idempotency-Key": "k"}
    tied = call(annotator, "POST", f"/claims/{claim['id']}/submit", {"tiers": [["a", "b"], ["c"]]}, **key)
    assert tied.status_code == 422 and "takes no ties" in tied.json()["detail"]
    entry = JournalEntry.objects.get(act="changed what is asked")
    assert entry.detail == {
        "before": {"ties": True, "rationale": "optional"}, "after": {"ties": False, "rationale": "required"},
    }  # fmt: skip
    call(engineer, "PATCH", URL, {"ties": False})  # as it is already
    assert JournalEntry.objects.filter(act="changed what is asked").count() == 1


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"answer_min": 10, "answer_max": 5}, "cannot have to be longer"),
        ({"answer_min": 100_000, "answer_max": 99_999}, "cannot have to be longer"),
        ({"flags": "required"}, ""),
        ({"near_duplicate": 0}, ""),
        ({"ties": None}, ""),
    ],
)
def test_bad_input(call, engineer, wrong, sentence):
    refused = call(engineer, "PATCH", URL, wrong)
    assert refused.status_code == 422 and sentence in str(refused.json()["detail"])
    assert not Instrument.objects.exists()


class TestModelsAnswer:
    @pytest.fixture
    def offered(self, project, write_queue, answers) -> None:
        Instrument.objects.create(project=project, start_from_draft=True)

    def test_told_by_id_and_its_distance_kept(self, call, annotator, write_queue, offered):
        claim = call(annotator, "POST", f"/queues/{write_queue.pk}/claim")
        start = claim.json()["start_from"]
        prompt = Claim.objects.get(pk=claim.json()["id"]).task.prompt
        newest = prompt.completions.order_by("-pk").first()
        assert start == {"id": newest.pk, "text": newest.text}
        assert newest.model.name not in claim.text
        assert call(annotator, "GET", f"/claims/{claim.json()['id']}").json()["start_from"] == start
        sent = call(
            annotator, "POST", f"/claims/{claim.json()['id']}/submit",
            {"text": f"{start['text']} So.", "draft_of": start["id"]}, **{"Idempotency-Key": "k"},
        )  # fmt: skip
        assert sent.status_code == 201, sent.text
        label = Demonstration.objects.get(pk=sent.json()["label"])
        assert (label.draft_of, label.edit_distance) == (newest, 4)  # " So."

    def test_only_a_models_answer_to_this_prompt(self, call, annotator, write_queue, offered, answers):
        claim = claim_next(write_queue, annotator)
        other = next(a for row in answers for a in row if a.prompt_id != claim.task.prompt_id)
        refused = call(
            annotator, "POST", f"/claims/{claim.pk}/submit", {"text": "So.", "draft_of": other.pk},
            **{"Idempotency-Key": "k"},
        )  # fmt: skip
        assert refused.status_code == 422 and "not one of a model to this prompt" in refused.json()["detail"]
        assert not Demonstration.objects.exists()

    def test_none_where_the_project_does_not_offer_it(self, call, annotator, write_queue, answers):
        assert call(annotator, "POST", f"/queues/{write_queue.pk}/claim").json()["start_from"] is None
