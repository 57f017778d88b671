"""Pages of imports: works, bad input, wrong role, wrong method."""

from __future__ import annotations

import json

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from annotation.imports import stage, undo
from annotation.models import Comparison, ImportBatch, Prompt
from studio.models import Project
from tests.annotation.import_files import bring_in, keep, pair, unsent  # noqa: F401  (fixture)

pytestmark = pytest.mark.django_db
URL = "/projects/helpdesk/exchange/"
SETTINGS = {"format": "columns", "split": "hash", "test_fraction": "0.2"}


def upload(browser, *rows: object, name: str = "pairs.jsonl", **more):
    content = "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows).encode()
    return browser.post(f"{URL}imports/new/", {"file": SimpleUploadedFile(name, content), **more})


def columns(batch: ImportBatch, *roles: str) -> dict[str, str]:
    return {f"column-{number}": role for number, role in enumerate(roles)}


class TestNew:
    def test_a_file_is_kept_and_shown_before_it_counts(self, client_for, engineer, project):
        browser = client_for(engineer)
        answer = upload(browser, pair(1), pair(2))
        batch = ImportBatch.objects.get()
        assert answer.url == f"{URL}imports/{batch.pk}/"
        seen = browser.get(answer.url).text
        assert "Question 1?" in seen and "Good 2" in seen and "Nothing has been added yet" in seen
        assert not Prompt.everything.exists()

    def test_the_same_file_leads_to_its_import(self, client_for, engineer, project):
        browser = client_for(engineer)
        first = upload(browser, pair(1))
        again = upload(browser, pair(1), name="other.jsonl")
        assert again.url == first.url
        assert "The same content is waiting for its confirmation already" in browser.get(again.url).text

    def test_a_file_on_the_server(self, client_for, engineer, project, settings, tmp_path):
        settings.IMPORT_ROOTS = [tmp_path]
        (tmp_path / "p.jsonl").write_text(json.dumps(pair(1)))
        answer = client_for(engineer).post(f"{URL}imports/new/", {"path": str(tmp_path / "p.jsonl")})
        assert ImportBatch.objects.get().path == str(tmp_path / "p.jsonl")
        assert answer.status_code == 302

    @pytest.mark.parametrize(
        ("data", "sentence"),
        [({}, "Choose a file, or name one on the server"), ({"path": "/etc/passwd"}, "below these directories only"),
         ({"file": SimpleUploadedFile("a.jsonl", b"{")}, "not valid JSON"),
         ({"file": SimpleUploadedFile("a.jsonl", b"")}, "The submitted file is empty.")],
    )  # fmt: skip
    def test_bad_input(self, client_for, engineer, project, data, sentence):
        answer = client_for(engineer).post(f"{URL}imports/new/", data)
        assert answer.status_code == 422
        assert sentence in answer.text
        assert not ImportBatch.objects.exists()

    def test_uploads_are_bounded(self, client_for, engineer, project, settings):
        settings.MAX_UPLOAD_BYTES = 100
        answer = upload(client_for(engineer), "x" * 1000)
        assert answer.status_code == 422
        assert "larger than 100 B" in answer.text

    def test_the_token_against_forged_requests_is_asked_for(self, engineer, project):
        browser = Client(enforce_csrf_checks=True)
        browser.force_login(engineer)
        assert upload(browser, pair(1)).status_code == 403
        assert not ImportBatch.objects.exists()

    def test_the_old_address_leads_here(self, client_for, engineer, sme, project):
        answer = client_for(engineer).get("/projects/helpdesk/prompts/import/")
        assert (answer.status_code, answer.url) == (301, f"{URL}imports/new/")
        assert client_for(sme).get("/projects/helpdesk/prompts/import/").status_code == 403
        assert client_for(engineer).post("/projects/helpdesk/prompts/import/").status_code == 405

    def test_wrong_role_and_method(self, client_for, sme, engineer, outsider, project):
        for user, status in ((sme, 403), (outsider, 404)):
            assert client_for(user).get(f"{URL}imports/new/").status_code == status
            assert upload(client_for(user), pair(1)).status_code == status
        assert client_for(engineer).put(f"{URL}imports/new/").status_code == 405


class TestPreview:
    def test_columns_are_mapped_and_the_import_confirmed(self, client_for, engineer, project, unsent):  # noqa: F811
        browser = client_for(engineer)
        upload(browser, {"frage": "Was?", "gut": "Ja", "schlecht": "Nein", "wer": "x"})
        batch = ImportBatch.objects.get()
        url = f"{URL}imports/{batch.pk}/"
        assert "it has none of the columns" in browser.get(url).text
        data = SETTINGS | columns(batch, "prompt", "chosen", "rejected", "") | {"licence": "MIT", "act": "look"}
        shown = browser.post(url, data, follow=True).text
        assert "Columns that are not taken: wer" in shown
        assert "Place 1" in shown
        assert browser.post(url, data | {"act": "import"}).status_code == 302
        batch.refresh_from_db()
        assert (batch.status, batch.options["licence"]) == ("waiting", "MIT")
        stage.stage(batch.pk)
        assert Comparison.objects.get().prompt.text == "Was?"
        assert "MIT" in browser.get(url).text
        assert "has been confirmed already" in browser.post(url, data, follow=True).text

    @pytest.mark.parametrize(
        ("change", "sentence"),
        [({"format": "none"}, "Select a valid choice"), ({"test_fraction": "2"}, "less than or equal to 1"),
         ({"column-1": "prompt"}, "Two columns are said to be the prompt"), ({"tags": "a," * 40}, "At most 20 tags")],
    )  # fmt: skip
    def test_bad_input(self, client_for, engineer, project, change, sentence):
        batch = keep(project, engineer, pair(1))
        data = SETTINGS | columns(batch, "prompt", "chosen", "rejected") | change
        answer = client_for(engineer).post(f"{URL}imports/{batch.pk}/", data | {"act": "import"})
        assert answer.status_code == 422
        assert sentence in answer.text
        batch.refresh_from_db()
        assert batch.status == "preview"

    def test_bad_rows_are_listed(self, client_for, engineer, project):
        batch = keep(project, engineer, pair(1), "{oops", pair(2, split="dev"))
        seen = client_for(engineer).get(f"{URL}imports/{batch.pk}/").text
        assert 'Line <span class="num">2</span>: not valid JSON' in seen
        assert 'Line <span class="num">3</span>: &#x27;split&#x27; must be' in seen
        assert "The first of these rows would stop the import" in seen

    def test_of_another_project_is_not_found(self, client_for, engineer, project):
        batch = keep(Project.objects.create(slug="other", name="Other"), engineer, pair(1))
        for path in ("", "cancel/", "undo/"):
            assert client_for(engineer).post(f"{URL}imports/{batch.pk}/{path}").status_code == 404

    def test_wrong_role_and_method(self, client_for, sme, engineer, project):
        batch = keep(project, engineer, pair(1))
        assert client_for(sme).get(f"{URL}imports/{batch.pk}/").status_code == 403
        assert client_for(engineer).delete(f"{URL}imports/{batch.pk}/").status_code == 405


class TestAfter:
    def test_list_and_page_show_progress_and_poll(self, client_for, engineer, project):
        batch = bring_in(project, engineer, pair(1))
        ImportBatch.objects.filter(pk=batch.pk).update(status="staging", rows_total=4)
        browser = client_for(engineer)
        assert 'hx-trigger="every 3s"' in browser.get(URL).text
        part = browser.get(f"{URL}imports/{batch.pk}/", headers={"HX-Request": "true"}).text
        assert "1 of 4 rows read" in part and "<html" not in part
        ImportBatch.objects.filter(pk=batch.pk).update(status="visible")
        assert "hx-trigger" not in browser.get(f"{URL}imports/{batch.pk}/", headers={"HX-Request": "true"}).text
        assert "1 comparison" in browser.get(URL, headers={"HX-Request": "true"}).text

    def test_what_was_imported_has_its_pages(self, client_for, engineer, sme, project):
        bring_in(project, engineer, pair(1, annotator="w1", split="train"))
        made = Comparison.objects.get()
        for user in (engineer, sme):
            seen = client_for(user).get(f"/projects/helpdesk/prompts/{made.prompt_id}/").text
            assert "Good 1" in seen and "imported" in seen
            assert "w1 (pairs.jsonl)" in client_for(user).get(f"/projects/helpdesk/comparisons/{made.pk}/").text
        assert client_for(engineer).get("/projects/helpdesk/quality/").status_code == 200

    def test_failure_says_file_line_and_reason(self, client_for, engineer, project):
        batch = bring_in(project, engineer, pair(1), {"prompt": "Q?", "chosen": "A"})
        seen = client_for(engineer).get(f"{URL}imports/{batch.pk}/").text
        assert "pairs.jsonl, line 2: a preference needs both" in seen

    def test_cancel_and_discard(self, client_for, engineer, sme, project):
        batch = keep(project, engineer, pair(1))
        url = f"{URL}imports/{batch.pk}/cancel/"
        assert client_for(sme).post(url).status_code == 403
        assert client_for(engineer).get(url).status_code == 405
        assert client_for(engineer).post(url).url == URL
        batch.refresh_from_db()
        assert batch.status == "cancelled"
        assert "reload the page" in client_for(engineer).post(url, follow=True).text

    def test_undo(self, client_for, engineer, sme, project):
        batch = bring_in(project, engineer, pair(1))
        url = f"{URL}imports/{batch.pk}/undo/"
        assert client_for(sme).post(url).status_code == 403
        assert client_for(engineer).get(url).status_code == 405
        assert "is gone from all pages" in client_for(engineer).post(url, follow=True).text
        assert not Prompt.objects.exists()
        undo.take_up(batch.pk)
        assert "has been taken out" in client_for(engineer).get(f"{URL}imports/{batch.pk}/").text
        assert "not there to be undone" in client_for(engineer).post(url, follow=True).text

    def test_list_of_other_roles_and_queries(self, client_for, sme, engineer, project, django_assert_max_num_queries):
        for n in range(12):
            bring_in(project, engineer, pair(n), name=f"{n}.jsonl")
        assert client_for(sme).get(URL).status_code == 403
        assert client_for(engineer).post(URL).status_code == 405
        browser = client_for(engineer)
        with django_assert_max_num_queries(12):
            browser.get(URL)

    def test_an_empty_list_teaches(self, client_for, engineer, project):
        assert "Nothing was imported yet" in client_for(engineer).get(URL).text
