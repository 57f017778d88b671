"""The screen of a claim, as tests of its views come to it and fill it in."""

from __future__ import annotations

from annotation import queue
from annotation.models import Claim

HOME = "/projects/helpdesk/annotate/"


def work_url(claim: Claim, act: str = "") -> str:
    return f"{HOME}work/{claim.pk}/{act}"


def claim_of(work, user) -> Claim:
    claim = queue.claim_next(work, user)
    assert claim is not None
    return claim


def ranking(claim: Claim, *places: str, **more) -> dict:
    places_of = {f"rank_{letter}": place for letter, place in zip("abc", places, strict=True)}
    return {"key": "one", "confirmed": "order", **places_of, **more}
