"""When the models behind answers are hidden: from annotators always, from others while their own judgement is due."""

from __future__ import annotations

from django.db.models import Exists, OuterRef, Q

from annotation.models import Claim, Kind, Prompt, Review, Skip, Task
from studio.access import ENGINEERS, EXPERTS, may
from studio.models import Membership


def hides_models(membership: Membership, prompt: Prompt) -> bool:
    """Whether this member must not learn which model wrote which of the prompt's answers; at most one query.

    SMEs may still be given any open task on it that they have not judged; engineers only what they have begun.
    """
    if not may(membership, EXPERTS):
        return True
    mine = Claim.objects.filter(task=OuterRef("pk"), annotator=membership.user_id)
    due = Exists(mine.filter(status=Claim.Status.LIVE))
    if not may(membership, ENGINEERS):
        answered = Exists(mine.filter(Q(status=Claim.Status.SUBMITTED) | Q(skip__in=(Skip.OTHERS, Skip.UNUSABLE))))
        due = due | Q(~answered, status=Task.Status.OPEN)
    return Task.objects.filter(due, prompt=prompt).exclude(queue__kind=Kind.DEMONSTRATE).exists()


def hides_result(membership: Membership, review: Review) -> bool:
    """Who may still judge a review sees how far it is, not how it stands."""
    return review.status == Review.Status.OPEN and not may(membership, ENGINEERS)
