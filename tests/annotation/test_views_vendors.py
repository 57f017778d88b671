"""Pages of vendors: works, bad input, wrong role, wrong method."""

from __future__ import annotations

import json

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from annotation import vendors
from annotation.models import Comparison, VendorBatch
from annotation.progress import progress
from studio.models import Project
from tests.annotation.test_vendors import by_text, lines

pytestmark = pytest.mark.django_db
URL = "/projects/helpdesk/exchange/vendors/"


@pytest.fixture
def batch(rank_queue, engineer, guideline) -> VendorBatch:
    return vendors.hand_over(rank_queue, "Acme", "Pilot <1>", 3, engineer, gold_rate=0)


def send(browser, batch: VendorBatch, *rows: object):
    content = "".join(json.dumps(row) + "\n" for row in rows).encode()
    return browser.post(f"{URL}{batch.pk}/return/", {"file": SimpleUploadedFile("back.jsonl", content)}, follow=True)


class TestHandingOver:
    data = {"vendor": "Acme", "name": "One", "places": 2, "per_task": 1, "gold_rate": "0.1"}

    def test_form_and_page(self, client_for, engineer, rank_queue):
        browser = client_for(engineer)
        assert "Hand work over" in browser.get(URL).text
        assert "8 places free" in browser.get(f"{URL}new/").text
        answer = browser.post(f"{URL}new/", self.data | {"queue": rank_queue.pk})
        batch = VendorBatch.objects.get()
        assert answer.url == f"{URL}{batch.pk}/"
        assert "2 places are away, with 0 gold items." in browser.get(answer.url).text
        assert "Acme: One" in browser.get(URL).text
        assert progress(rank_queue)["away"] == 2

    @pytest.mark.parametrize(
        ("change", "sentence"),
        [({"places": 0}, "greater than or equal to 1"), ({"gold_rate": "0.9"}, "less than or equal to 0.5"),
         ({"queue": 0}, "Select a valid choice"), ({"vendor": ""}, "required")],
    )  # fmt: skip
    def test_bad_input(self, client_for, engineer, rank_queue, change, sentence):
        answer = client_for(engineer).post(f"{URL}new/", self.data | {"queue": rank_queue.pk} | change)
        assert answer.status_code == 422
        assert sentence in answer.text
        assert not VendorBatch.objects.exists()

    def test_without_work_the_list_teaches(self, client_for, engineer, project):
        assert "There is no work to hand out" in client_for(engineer).get(URL).text

    def test_wrong_role_and_method(self, client_for, sme, engineer, outsider, batch):
        for path in ("", "new/", f"{batch.pk}/", f"{batch.pk}/file/"):
            assert client_for(sme).get(URL + path).status_code == 403
            assert client_for(outsider).get(URL + path).status_code == 404
        for path in ("return/", "decide/", "recall/"):
            assert client_for(sme).post(f"{URL}{batch.pk}/{path}").status_code == 403
            assert client_for(engineer).get(f"{URL}{batch.pk}/{path}").status_code == 405
        for path in ("", f"{batch.pk}/", f"{batch.pk}/file/"):
            assert client_for(engineer).post(URL + path).status_code == 405

    def test_of_another_project_is_not_found(self, client_for, engineer, batch):
        VendorBatch.objects.update(project=Project.objects.create(slug="other", name="Other"))
        assert client_for(engineer).get(f"{URL}{batch.pk}/").status_code == 404


class TestReturning:
    def test_file_return_report_and_acceptance(self, client_for, engineer, batch, django_assert_max_num_queries):
        browser = client_for(engineer)
        answer = browser.get(f"{URL}{batch.pk}/file/")
        assert answer["Content-Disposition"] == 'attachment; filename="acme-pilot-1.jsonl"'
        _, *tasks = [json.loads(line) for line in answer.getvalue().decode().splitlines()]
        seen = send(browser, batch, *(by_text(t, worker="<w1>") for t in tasks), {"key": "none"}).text
        assert "&lt;w1&gt;" in seen and "Pilot &lt;1&gt;" in seen
        assert "is none of this batch" in seen
        assert "Nothing of it counts before you accept it" in seen
        with django_assert_max_num_queries(12):
            browser.get(f"{URL}{batch.pk}/")
        assert not Comparison.objects.exists()
        done = browser.post(f"{URL}{batch.pk}/decide/", {"verdict": "accept", "note": "Fine"}, follow=True).text
        assert "is accepted. Its labels count from now on." in done
        assert Comparison.objects.count() == 3
        assert "Only a batch that has come back" in browser.post(
            f"{URL}{batch.pk}/decide/", {"verdict": "reject", "note": "No"}, follow=True
        ).text  # fmt: skip

    @pytest.mark.parametrize(
        ("rows", "sentence"), [([{"key": "x"}], "none of its 1 rows can be taken"), ([], "The submitted file is empty")]
    )
    def test_bad_returns(self, client_for, engineer, batch, rows, sentence):
        answer = send(client_for(engineer), batch, *rows)
        assert answer.status_code == 422
        assert sentence in answer.text

    def test_rejection_needs_a_reason(self, client_for, engineer, batch):
        browser = client_for(engineer)
        send(browser, batch, *(by_text(t, worker="w1") for t in lines(batch)[1:]))
        assert "Say why" in browser.post(f"{URL}{batch.pk}/decide/", {"verdict": "reject"}, follow=True).text
        assert "Accept the batch, or reject it" in browser.post(f"{URL}{batch.pk}/decide/", follow=True).text
        done = browser.post(f"{URL}{batch.pk}/decide/", {"verdict": "reject", "note": "Guessed"}, follow=True).text
        assert "None of its labels counts" in done and "Guessed" in done

    def test_recall(self, client_for, engineer, batch):
        browser = client_for(engineer)
        assert "3 places are in the queue again" in browser.post(f"{URL}{batch.pk}/recall/", follow=True).text
        assert "not with the vendor any more" in browser.post(f"{URL}{batch.pk}/recall/", follow=True).text
        late = send(browser, batch, by_text(lines(batch)[1], worker="w1"))
        assert "not waiting for a return any more" in late.text
