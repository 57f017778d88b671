"""Guidelines: reading, comparing and publishing versions."""

import pytest
from django.db.models import QuerySet

from studio.models import Guideline

URL = "/projects/helpdesk/guidelines/"
EDIT = f"{URL}edit/"


class TestGuidelines:
    def test_newest_version_is_shown_as_markdown(self, client_for, annotator, guideline):
        page = client_for(annotator).get(URL)
        assert "<h3>How to judge</h3>" in page.text
        assert "<strong>runs</strong>" in page.text
        assert "First version" in page.text

    def test_older_version_and_difference(self, client_for, sme, guideline, project):
        Guideline.publish(project, "# How to judge\n\nPrefer the answer that **works**.", sme, "runs → works")
        browser = client_for(sme)
        assert "Superseded" in browser.get(URL, {"version": 1}).text
        page = browser.get(URL, {"version": 2, "against": 1})
        assert "<del>runs</del>" in page.text
        assert "<ins>works</ins>" in page.text

    def test_empty_page_teaches_and_offers_only_what_one_may(self, client_for, annotator, sme):
        assert "Write the first version" in client_for(sme).get(URL).text
        assert "Write the first version" not in client_for(annotator).get(URL).text

    @pytest.mark.parametrize("query", [{"version": 9}, {"version": "x"}, {"against": 9}, {"version": "9" * 40}])
    def test_bad_input(self, client_for, sme, guideline, query):
        assert client_for(sme).get(URL, query).status_code == 404

    def test_outsider(self, client_for, outsider, guideline):
        assert client_for(outsider).get(URL).status_code == 404

    def test_wrong_method(self, client_for, sme, guideline):
        assert client_for(sme).post(URL).status_code == 405

    def test_script_in_guidelines_is_text(self, client_for, sme, project):
        Guideline.publish(project, "<script>alert(1)</script>\n\n[x](javascript:alert(1))", sme)
        page = client_for(sme).get(URL)
        assert "<script>alert" not in page.text
        assert 'href="javascript' not in page.text


class TestEditGuidelines:
    def test_publishes_the_next_version(self, client_for, sme, guideline, project):
        form = client_for(sme).get(EDIT).context["form"]
        assert form.initial == {"text": guideline.text, "after": 1}
        answer = client_for(sme).post(EDIT, {"text": "Be brief.", "change_note": "shorter", "after": 1})
        assert answer.url == URL
        assert (project.guideline.version, project.guideline.created_by, project.guideline.text) == (
            2,
            sme,
            "Be brief.",
        )

    def test_first_version(self, client_for, engineer, project):
        assert client_for(engineer).post(EDIT, {"text": "Be brief.", "after": 0}).url == URL
        assert project.guideline.version == 1

    def test_conflict_keeps_the_text_and_shows_what_others_changed(self, client_for, sme, owner, guideline, project):
        Guideline.publish(project, guideline.text.replace("runs", "works"), owner, "by the owner")
        answer = client_for(sme).post(EDIT, {"text": "My long work.", "after": 1})
        assert answer.status_code == 409
        assert "Version 2 was published meanwhile." in answer.text
        assert "My long work." in answer.text
        assert "<ins>works</ins>" in answer.text
        assert project.guideline.version == 2
        # sent again from that page, it is published
        assert client_for(sme).post(EDIT, {"text": "My long work.", "after": answer.context["form"].data["after"]}).url
        assert project.guideline.text == "My long work."

    @pytest.mark.parametrize(
        ("data", "sentence"),
        [
            ({"text": "", "after": 1}, "This field is required"),
            ({"text": "x", "change_note": "y" * 201, "after": 1}, "at most 200 characters"),
            ({"text": "# How to judge\n\nPrefer the answer that **runs**.", "after": 1}, "word for word"),
        ],
    )
    def test_bad_input_gets_a_sentence(self, client_for, sme, guideline, project, data, sentence):
        answer = client_for(sme).post(EDIT, data)
        assert answer.status_code == 422
        assert sentence in answer.text
        assert project.guidelines.count() == 1

    def test_annotators_do_not_publish(self, client_for, annotator, guideline, project):
        assert client_for(annotator).get(EDIT).status_code == 403
        answer = client_for(annotator).post(EDIT, {"text": "Be lazy.", "after": 1})
        assert answer.status_code == 403
        assert "This page is for: Subject-matter expert, ML engineer, Owner." in answer.text
        assert project.guidelines.count() == 1

    def test_wrong_method(self, client_for, sme):
        assert client_for(sme).delete(EDIT).status_code == 405


class TestPreview:
    url = "/preview/"

    def test_renders_safely(self, client_for, outsider):
        answer = client_for(outsider).post(self.url, {"text": "**a** <script>x</script>"})
        assert answer.text == "<p><strong>a</strong> &lt;script&gt;x&lt;/script&gt;</p>\n"

    def test_refuses_what_is_too_long(self, client_for, outsider):
        answer = client_for(outsider).post(self.url, {"text": "x" * 100_001})
        assert answer.status_code == 422
        assert "this has 100,001" in answer.text

    def test_asks_to_sign_in(self, client, db):
        assert client.post(self.url, {"text": "x"}).status_code == 302

    def test_wrong_method(self, client_for, outsider):
        assert client_for(outsider).get(self.url, {"text": "x"}).status_code == 405


def test_two_who_publish_at_the_same_moment_do_not_end_in_a_traceback(project, sme, guideline, monkeypatch):
    """On PostgreSQL both read version 1 as the newest; the second INSERT breaks the unique constraint."""
    monkeypatch.setattr(QuerySet, "aggregate", lambda *_, **__: {"n": 0})  # what was read before the other committed
    with pytest.raises(ValueError, match="Version 1 was published meanwhile"):
        Guideline.publish(project, "Another text", sme)
    assert Guideline.objects.get().text == guideline.text
