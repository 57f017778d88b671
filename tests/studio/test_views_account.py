"""Signing in, lock-out, API tokens and passwords."""

import re
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from studio.models import ApiToken

URL = "/account/"
PASSWORD = "correct horse battery"


class TestSignIn:
    def test_signs_in_and_goes_on(self, client, annotator):
        answer = client.post("/sign-in/?next=/account/", {"username": "annotator", "password": PASSWORD, "next": URL})
        assert answer.url == URL
        assert client.post("/sign-out/").url == "/sign-in/"
        assert client.get(URL).status_code == 302

    def test_wrong_password_gets_a_sentence(self, client, annotator):
        answer = client.post("/sign-in/", {"username": "annotator", "password": "wrong"})
        assert "Please enter a correct username and password" in answer.text

    def test_never_leads_to_another_site(self, client, annotator):
        answer = client.post(
            "/sign-in/", {"username": "annotator", "password": PASSWORD, "next": "https://evil.example/"}
        )
        assert answer.url == "/"

    def test_locks_after_eight_failures_even_for_the_right_password(self, client, annotator, settings):
        for _ in range(settings.AXES_FAILURE_LIMIT):
            locked = client.post("/sign-in/", {"username": "annotator", "password": "wrong"})
        assert locked.status_code == 429
        assert "locked for 15 min" in locked.text
        assert client.post("/sign-in/", {"username": "annotator", "password": PASSWORD}).status_code == 429
        assert client.get(URL).status_code == 302

    def test_wrong_method(self, client, db):
        assert client.delete("/sign-in/").status_code == 405
        assert client.get("/sign-out/").status_code == 405

    def test_forms_need_their_csrf_token(self, annotator):
        browser = Client(enforce_csrf_checks=True)
        answer = browser.post("/sign-in/", {"username": "annotator", "password": PASSWORD})
        assert answer.status_code == 403
        assert "This form was too old to send" in answer.text


class TestTokens:
    def test_secret_is_shown_once_and_works(self, client_for, annotator):
        browser = client_for(annotator)
        answer = browser.post(
            URL, {"act": "issue", "name": "nightly import", "scopes": ["read", "import"], "days": "30"}
        )
        secret = re.search(r'<code id="secret">(studio_[\w-]+)</code>', answer.text)[1]
        token = ApiToken.authenticate(secret)
        assert (token.user, token.scopes) == (annotator, ["import", "read"])
        assert timedelta(days=29) < token.expires_at - timezone.now() <= timedelta(days=30)
        page = browser.get(URL)
        assert "nightly import" in page.text
        assert secret not in page.text

    def test_revoked_token_is_refused(self, client_for, annotator):
        token, secret = ApiToken.issue(annotator, "old")
        client_for(annotator).post(URL, {"act": "revoke", "token": token.pk})
        assert ApiToken.authenticate(secret) is None

    def test_nobody_revokes_the_tokens_of_others(self, client_for, annotator, sme):
        token, secret = ApiToken.issue(sme, "theirs")
        assert client_for(annotator).post(URL, {"act": "revoke", "token": token.pk}).status_code == 404
        assert ApiToken.authenticate(secret).user == sme

    @pytest.mark.parametrize(
        "data",
        [
            {"act": "issue", "name": "", "scopes": ["read"]},
            {"act": "issue", "name": "x" * 81, "scopes": ["read"]},
            {"act": "issue", "name": "none"},
            {"act": "issue", "name": "more", "scopes": ["everything"]},
            {"act": "issue", "name": "long", "scopes": ["read"], "days": "3650"},
            {"act": "?"},
            {},
        ],
    )
    def test_bad_input(self, client_for, annotator, data):
        assert client_for(annotator).post(URL, data).status_code == 422
        assert not ApiToken.objects.exists()

    def test_asks_to_sign_in(self, client, db):
        assert client.post(URL, {"act": "issue", "name": "x"}).url.startswith("/sign-in/")

    def test_wrong_method(self, client_for, annotator):
        assert client_for(annotator).delete(URL).status_code == 405


class TestPassword:
    def test_changes_and_stays_signed_in(self, client_for, client, annotator):
        browser, elsewhere = client_for(annotator), client_for(annotator)
        new = "a longer phrase than before"
        data = {"act": "password", "old_password": PASSWORD, "new_password1": new, "new_password2": new}
        assert browser.post(URL, data).url == URL
        assert browser.get(URL).status_code == 200
        assert elsewhere.get(URL).status_code == 302
        assert client.post("/sign-in/", {"username": "annotator", "password": new}).url == "/"

    @pytest.mark.parametrize(
        ("old", "new", "again", "sentence"),
        [
            ("wrong", "a longer phrase", "a longer phrase", "entered incorrectly"),
            (PASSWORD, "a longer phrase", "another phrase", "match"),
            (PASSWORD, "short", "short", "too short"),
            (PASSWORD, "annotator", "annotator", "too similar"),
        ],
    )
    def test_bad_input_gets_a_sentence(self, client_for, annotator, old, new, again, sentence):
        data = {"act": "password", "old_password": old, "new_password1": new, "new_password2": again}
        answer = client_for(annotator).post(URL, data)
        assert answer.status_code == 422
        assert sentence in answer.text
        annotator.refresh_from_db()
        assert annotator.check_password(PASSWORD)
