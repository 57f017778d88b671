"""What every page has: the way around, the security policy, errors that help."""

import re
from pathlib import Path

import pytest
from django.contrib.staticfiles import finders
from django.template.loader import render_to_string
from django.test import Client

from studio.web.navigation import ROOMS

PAGES = ["/", "/account/", "/projects/new/", "/projects/helpdesk/", "/projects/helpdesk/members/",
         "/projects/helpdesk/guidelines/", "/projects/helpdesk/guidelines/edit/"]  # fmt: skip


@pytest.mark.parametrize("url", PAGES)
def test_pages_obey_their_security_policy(client_for, owner, guideline, url):
    page = client_for(owner).get(url)
    policy = page["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "unsafe-inline" not in policy
    assert not re.search(r"<[^>]+\s(style|on[a-z]+)=", page.text)
    assert not re.search(r"<style|<script(?![^>]*\bsrc=)", page.text)
    assert page.text.count("<h1") == 1
    assert 'class="skip-link" href="#content"' in page.text


@pytest.mark.parametrize("url", PAGES)
def test_pages_are_light(client_for, owner, guideline, url):
    """Page, styles and scripts before compression: under 150 KB."""
    page = client_for(owner).get(url)
    files = re.findall(r'(?:src|href)="/static/([^"]+)"', page.text)
    assert len(files) >= 6
    assert len(page.content) + sum(Path(finders.find(f)).stat().st_size for f in files) < 150_000


def test_where_one_is_is_marked_once(client_for, owner, project):
    page = client_for(owner).get("/projects/helpdesk/guidelines/edit/").text
    assert re.findall(r'class="nav-link" href="([^"]+)"[^>]*aria-current="(\w+)"', page) == [
        ("/projects/helpdesk/guidelines/", "true")
    ]
    page = client_for(owner).get("/projects/helpdesk/").text
    assert re.findall(r'class="nav-link" href="([^"]+)"[^>]*aria-current="(\w+)"', page) == [
        ("/projects/helpdesk/", "page")
    ]


@pytest.mark.parametrize("role", ["annotator", "sme", "engineer", "owner"])
def test_every_room_that_is_offered_opens(client_for, request, role):
    """Navigation and views agree about roles: what one sees one may enter, and nothing else is shown."""
    browser = client_for(request.getfixturevalue(role))
    offered = re.findall(r'class="nav-link" href="(/projects/helpdesk/[^"]*)"', browser.get("/projects/helpdesk/").text)
    assert offered
    assert {url: browser.get(url, follow=True).status_code for url in offered} == dict.fromkeys(offered, 200)


def test_keys_are_unambiguous():
    keys = [room.key for rooms in ROOMS.values() for room in rooms]
    assert len(set(keys)) == len(keys)


def test_errors_say_what_happened_and_what_to_do(client_for, outsider):
    page = client_for(outsider).get("/nothing-here/")
    assert page.status_code == 404
    assert "may be mistyped" in page.text


@pytest.mark.parametrize("code", [400, 500])
def test_error_pages_need_neither_request_nor_database(code):
    html = render_to_string(f"{code}.html")
    assert "Go back" in html


def test_broken_view_answers_with_our_page(outsider, monkeypatch):
    def broken(*args):
        raise RuntimeError("on purpose")

    monkeypatch.setattr("studio.forms.ProjectForm.__init__", broken)
    browser = Client(raise_request_exception=False)
    browser.force_login(outsider)
    answer = browser.get("/projects/new/")
    assert answer.status_code == 500
    assert "Something broke on our side" in answer.text
    assert "on purpose" not in answer.text
