"""Datasets: the list of what was frozen, and freezing."""

from __future__ import annotations

import json
import re

import pytest

from annotation import queue, submit
from annotation.consent import give_again, take_back
from annotation.datasets import freeze_comparisons, freeze_demonstrations
from annotation.withdraw import withdraw
from studio.runs.models import Artifact
from tests.annotation.judging import judge_all

URL = "/projects/helpdesk/datasets/"


@pytest.fixture
def demonstrations(write_queue, annotator):
    return [submit.submit_demonstration(queue.claim_next(write_queue, annotator), f"Way {n}.") for n in range(4)]


class TestList:
    def test_counts_labels_and_those_withdrawn_since(self, client_for, engineer, project, demonstrations):
        freeze_demonstrations(project, engineer, name="Spring")
        for label in demonstrations[:3]:
            withdraw(label, engineer, "Wrong")
        seen = client_for(engineer).get(URL).text
        assert "Spring" in seen
        assert '<td class="num" data-label="Labels">4</td>' in seen
        assert "3 withdrawn</span>" in seen
        assert "without consent" not in seen

    def test_counts_labels_whose_makers_took_their_consent_back(
        self, client_for, engineer, project, demonstrations, rank_queue, annotator, sme
    ):
        freeze_demonstrations(project, engineer)
        for person in (annotator, sme):
            submit.submit_ranking(queue.claim_next(rank_queue, person), [["a"], ["b"], ["c"]])
        freeze_comparisons(project, engineer)
        withdraw(demonstrations[0], engineer, "Wrong")  # counted as withdrawn, and not once more
        take_back(project, annotator, annotator)
        seen = client_for(engineer).get(URL).text
        assert re.findall(r"(\d+) (withdrawn|without consent)</span>", seen) == [
            ("1", "without consent"), ("1", "withdrawn"), ("3", "without consent"),
        ]  # fmt: skip
        now = client_for(engineer).get(f"{URL}freeze/").text
        left_out = "can be frozen now; {} left out, their makers took consent back"
        assert f'<dt>demonstrations</dt><dd>0</dd><dd class="note">{left_out.format(3)}</dd>' in now
        assert f'<dt>comparisons</dt><dd>1</dd><dd class="note">{left_out.format(1)}</dd>' in now
        give_again(project, annotator, annotator)
        assert "without consent" not in client_for(engineer).get(URL).text
        assert "took consent back" not in client_for(engineer).get(f"{URL}freeze/").text

    def test_uploads_are_elsewhere(self, client_for, engineer, project, make_artifact):
        make_artifact("dataset", "Uploaded")
        seen = client_for(engineer).get(URL).text
        assert "Uploaded" not in seen
        assert "Nothing is frozen yet" in seen

    def test_wrong_role_and_method(self, client_for, sme, outsider, engineer, project):
        assert client_for(sme).get(URL).status_code == 403
        assert client_for(outsider).get(URL).status_code == 404
        assert client_for(engineer).post(URL).status_code == 405

    def test_queries_do_not_grow(self, client_for, engineer, project, demonstrations, django_assert_max_num_queries):
        for _ in range(5):
            freeze_demonstrations(project, engineer)
        browser = client_for(engineer)
        with django_assert_max_num_queries(8):
            assert len(browser.get(URL).context["page"]) == 5


class TestFreeze:
    url = f"{URL}freeze/"

    def test_demonstrations(self, client_for, engineer, demonstrations):
        data = {"kind": "demonstrations", "name": "Spring", "test_fraction": "0.25"}
        answer = client_for(engineer).post(self.url, data)
        made = Artifact.objects.get(kind="dataset")
        assert answer.url == f"/projects/helpdesk/artifacts/{made.pk}/"
        rows = [json.loads(line) for split in ("train", "test")
                for line in (made.directory / f"{split}.jsonl").read_text().splitlines()]  # fmt: skip
        assert {row["demonstration_id"] for row in rows} == {label.pk for label in demonstrations}

    def test_comparisons_and_prompts(self, client_for, engineer, rank_queue):
        submit.submit_ranking(queue.claim_next(rank_queue, engineer), [["a"], ["b", "c"]])
        for kind in ("comparisons", "prompts"):
            client_for(engineer).post(self.url, {"kind": kind, "name": "", "test_fraction": "0.1"})
        counts = {a.name: sum(a.metadata["counts"].values()) for a in Artifact.objects.filter(kind="dataset")}
        assert counts == {"Comparisons": 2, "Prompts": 6}  # one ranking, a above b and c: two pairs

    def test_merged_rankings_with_margins(self, client_for, engineer, sme, rank_queue):
        for person in (engineer, sme):
            judge_all(rank_queue, person)
        data = {
            "kind": "comparisons",
            "test_fraction": "0",
            "aggregation": "bradley_terry",
            "prior": "1",
            "margin": "on",
        }
        client_for(engineer).post(self.url, data)
        made = Artifact.objects.get(kind="dataset", name="Comparisons")
        assert made.metadata["aggregation"] == "bradley_terry" and made.metadata["prior"] == 1
        assert '"margin": 0.' in (made.directory / "train.jsonl").read_text()
        answer = client_for(engineer).post(self.url, data | {"prior": "0"})
        assert answer.status_code == 422 and "greater than or equal to 0.01" in answer.text

    def test_tells_what_could_be_frozen(self, client_for, engineer, demonstrations):
        seen = client_for(engineer).get(self.url).text
        assert "<dt>demonstrations</dt><dd>4</dd>" in seen
        assert "2 held out" in seen

    @pytest.mark.parametrize(
        ("data", "sentence"),
        [
            ({"kind": "demonstrations", "test_fraction": "0.1"}, "There is no demonstration to freeze"),
            ({"kind": "comparisons", "test_fraction": "0.1"}, "There is no comparison to freeze"),
            ({"kind": "prompts", "test_fraction": "0.9"}, "less than or equal to 0.5"),
            ({"kind": "poems", "test_fraction": "0.1"}, "not one of the available choices"),
        ],
    )
    def test_bad_input(self, client_for, engineer, prompts, data, sentence):
        answer = client_for(engineer).post(self.url, data)
        assert answer.status_code == 422
        assert sentence in answer.text
        assert not Artifact.objects.exists()

    def test_wrong_role_and_method(self, client_for, sme, engineer, demonstrations):
        data = {"kind": "demonstrations", "test_fraction": "0.1"}
        assert client_for(sme).post(self.url, data).status_code == 403
        assert client_for(engineer).put(self.url).status_code == 405
        assert not Artifact.objects.filter(kind="dataset").exists()
