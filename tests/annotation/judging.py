"""People who judge a whole queue in one and the same way."""

from __future__ import annotations

from annotation.models import Queue
from annotation.queue import claim_next
from annotation.submit import submit_ranking
from studio.models import User


def judge_all(queue: Queue, user: User, best_first: bool = True, rationale: str = "") -> None:
    """Every task that this person gets, in the order of the models or in its reverse."""
    while claim := claim_next(queue, user):
        letters = sorted(claim.letters, key=claim.letters.get, reverse=not best_first)
        submit_ranking(claim, [[letter] for letter in letters], rationale=rationale)
