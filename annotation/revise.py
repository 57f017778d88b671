"""Second thoughts: take back what was just handed in, or change it later, with everything it said before kept.

Taken back (undone), the claim is live again and holds its place; its label is withdrawn until it is handed in anew, as
a revision of the same label.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from annotation import journal
from annotation.models import Claim, Comparison, Demonstration, Draft, GoldResult, Kind, Review, Slot, Task
from annotation.revisions import Label, rewrite
from annotation.standing import has_no_consent
from annotation.submit import demonstration_content, edit_distance, is_unchanged, label_of, ranking_content
from studio.models import User

UNDONE = "Undone"


def why_not_reopened(claim: Claim, user: User) -> str:
    """A sentence why this person cannot take the claim's answer back any more; "" when they can. A few queries."""
    if claim.annotator_id != user.pk or claim.status != Claim.Status.SUBMITTED:
        return "Only what you have handed in can be undone, once."
    if claim.surplus:
        return "This answer is not counted: the task had all its judgements. You can still change it."
    if claim.task.status not in (Task.Status.OPEN, Task.Status.CLOSED):
        return "Its task has been taken out of the queue."
    later = claim.task.claims.filter(status=Claim.Status.SUBMITTED, finished_at__gt=claim.finished_at)
    if claim.task.status == Task.Status.CLOSED and later.exclude(pk=claim.pk).exists():
        return "Others have finished this task since. You can still change your answer."
    if claim.task.review and claim.task.review.status == Review.Status.CLOSED:
        return "Its review is closed."
    ranks = claim.task.kind != Kind.DEMONSTRATE  # only rankings are settled, or have a right answer
    if ranks and claim.task.adjudications.exclude(status=Task.Status.WITHDRAWN).exists():
        return "The task's judgements differ and are being settled. You can still change your answer."
    if has_no_consent(claim.project_id, user):
        return "You have withdrawn your consent to the use of your work, so no work is given to you."
    if ranks and _was_told(claim):
        return "You have been shown the right order, so your answer stands."
    if label_of(claim).is_withdrawn:
        return "It has been withdrawn."
    return ""


def _was_told(claim: Claim) -> bool:
    """Whether it is a gold item whose right order this person has seen."""
    results = GoldResult.objects.filter(claim=claim)
    return (results if claim.task.queue.gold_feedback else results.filter(is_calibration=True)).exists()


def reopen(claim: Claim, user: User) -> Claim:
    """Undo a submission: the claim is live again, with a fresh lease and what was handed in as its draft.

    Raises ValueError with the reason when it cannot be undone any more.
    """
    with transaction.atomic():
        claim.refresh_from_db()
        why = why_not_reopened(claim, user)
        if why:
            raise ValueError(why)
        label = label_of(claim)
        now = timezone.now()
        stood = (now - (claim.paused_at or claim.finished_at or now)).total_seconds()
        changes = {
            "status": Claim.Status.LIVE, "finished_at": None, "idempotency_key": "", "body_digest": "",
            "paused_at": None, "paused_seconds": claim.paused_seconds + stood,
            "expires_at": now + timedelta(minutes=claim.task.queue.lease_minutes),
        }  # fmt: skip
        mine = Claim.objects.filter(pk=claim.pk, annotator=user, status=Claim.Status.SUBMITTED, surplus=False)
        place = Slot.objects.filter(claim=claim, status=Slot.Status.DONE)
        if mine.update(**changes) != 1 or place.update(status=Slot.Status.CLAIMED) != 1:
            raise ValueError("It was changed somewhere else at the same moment. Reload and look at it again.")
        standing = type(label).objects.filter(pk=label.pk, withdrawn_at=None)
        if standing.update(withdrawn_at=now, withdrawn_by=user, withdrawn_reason=UNDONE) != 1:
            raise ValueError("It has been withdrawn.")
        Task.objects.filter(pk=claim.task_id, status=Task.Status.CLOSED).update(status=Task.Status.OPEN)
        Draft.objects.update_or_create(claim=claim, defaults={"content": {"fields": fields_of(label, claim)}})
        journal.record(claim.task.prompt.project_id, user, "undone", label)
    claim.refresh_from_db()
    return claim


def fields_of(label: Label, claim: Claim | None = None) -> dict[str, list[str]]:
    """The label as the fields of the screen's form, {name: [value, …]}, answers by their letters in shown order."""
    common = {"second_look": [label.second_look]}
    if isinstance(label, Demonstration):
        draft_of = [str(label.draft_of_id)] if label.draft_of_id else []
        return {"text": [label.completion.text], "reasoning": [label.reasoning], "draft_of": draft_of, **common}
    fields: dict[str, list[str]] = {"rationale": [label.rationale], **common}
    if label.strength:
        fields["strength"] = [str(label.strength)]
    places = {pk: str(number) for number, tier in enumerate(label.tiers, 1) for pk in tier}
    for position, pk in enumerate(label.shown_order):
        letter = chr(ord("a") + position)
        fields[f"rank_{letter}"] = [places.get(pk, "x")]
        if rating := label.ratings.get(str(pk)):
            fields[f"rating_{letter}"] = [str(rating)]
        if flags := label.flags.get(str(pk)):
            fields[f"flags_{letter}"] = flags
    return fields


def why_not_revised(label: Label, user: User) -> str:
    """A sentence why this person cannot change the label; "" when they can."""
    if label.annotator_id != user.pk or label.claim is None:
        return "You can change what you have judged yourself, here."
    if label.is_withdrawn:
        return "It has been withdrawn."
    if isinstance(label, Comparison) and label.review and label.review.status == Review.Status.CLOSED:
        return "Its review is closed, and its result stands."
    if _was_told(label.claim):
        return "You have been shown the right order, so your answer stands."
    return ""


def revise(label: Label, user: User, *, second_look: str | None = None, **answer: Any) -> bool:
    """Change a label of one's own; False when nothing is different.

    `answer` is what `submit_ranking` or `submit_demonstration` takes: tiers by letters and so on, or text, reasoning.
    The guidelines in force now are the ones it was looked at with. Raises ValueError when it may not be changed, or is
    not what the project asks for.
    """
    why = why_not_revised(label, user)
    if why:
        raise ValueError(why)
    assert label.claim is not None
    fields: dict[str, Any] = {"guideline": label.prompt.project.guideline}
    if second_look is not None and second_look.strip()[:300] != label.second_look:
        fields.update(second_look=second_look.strip()[:300], second_look_done=False)
    if label.claim.task.kind == Kind.DEMONSTRATE:
        content = demonstration_content(label.prompt.project_id, **answer)
        fields["edit_distance"] = edit_distance(label.draft_of, content["text"])
    else:
        content = ranking_content(label.claim, **answer)
        fields["unchanged"] = is_unchanged(content["tiers"], label.shown_order)
    with transaction.atomic():
        number = label.revision
        changed = rewrite(label, user, content, **fields)
        if changed or "second_look" in fields:
            journal.record(label.prompt.project_id, user, "edited", label, revision=label.revision, before=number)
    return changed
