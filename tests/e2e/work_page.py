"""The screen of a claim in a real browser."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from annotation import queue
from annotation.models import Claim

HOME = "/projects/helpdesk/annotate/"


def open_task(page: Page, work, user) -> Claim:
    claim = queue.claim_next(work, user)
    assert claim is not None
    page.goto(f"{HOME}work/{claim.pk}/")
    return claim


def handed_in(page: Page) -> None:
    expect(page.locator(".toast", has_text=re.compile("Saved"))).to_be_visible()
