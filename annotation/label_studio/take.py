"""One annotation becomes a label, a revision of one, or a skip; or is kept with the reason why it cannot."""

from __future__ import annotations

import hashlib
import json
import math
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from annotation.journal import record
from annotation.label_studio import links
from annotation.label_studio.formats import Ranking, Written, parse_demonstration, parse_ranking
from annotation.label_studio.people import People
from annotation.models import (
    Claim,
    Comparison,
    Demonstration,
    Kind,
    LabelStudioAnnotation,
    LabelStudioLink,
    LabelStudioTask,
    Skip,
    Slot,
)
from annotation.queue import release
from annotation.revise import reopen, revise
from annotation.standing import has_no_consent
from annotation.submit import submit_demonstration, submit_ranking
from studio.models import User

Label = Demonstration | Comparison
LONGEST_DAYS = 31  # a lead time longer than that is a clock gone wrong
SKIPPED = "Skipped in Label Studio"


class Taken(StrEnum):
    """What became of an annotation."""

    LABEL = "labels"
    REVISED = "revised"
    SKIPPED = "skipped"
    REFUSED = "refused"


def digest_of(annotation: dict[str, Any]) -> str:
    """sha256 of what an annotation says: its result, whether it is a skip, how long it took."""
    said = {name: annotation.get(name) for name in ("result", "was_cancelled", "lead_time", "completed_by")}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def take(
    link: LabelStudioLink,
    mine: LabelStudioTask,
    annotation: dict[str, Any],
    row: LabelStudioAnnotation | None,
    people: People,
) -> Taken | None:
    """Take in an annotation of our task; `row` is what it was when it was last seen. None: nothing new came of it."""
    digest = digest_of(annotation)
    is_new = row is None or row.digest != digest
    row = row or LabelStudioAnnotation(link=link, task=mine, remote_annotation=annotation["id"])
    if row.pk and is_new:
        row.earlier = [*row.earlier, row.raw]
    row.raw, row.digest, row.deleted, row.refused = annotation, digest, False, ""
    row.remote_updated_at = _moment(annotation.get("updated_at"))
    try:
        with transaction.atomic():
            outcome = _take(row, people)
            row.save()
    except IntegrityError:  # another pull took it at this moment, or the person does the same task here
        if LabelStudioAnnotation.objects.filter(link=link, remote_annotation=annotation["id"], digest=digest).exists():
            return None
        return _refuse(row, "Its author did something else with this task at the same moment.", is_new)
    except ValueError as error:
        return _refuse(row, str(error), is_new)
    return outcome


def _refuse(row: LabelStudioAnnotation, why: str, is_new: bool) -> Taken | None:
    row.refused = why[:500]
    if row.pk:
        row.claim, row.comparison, row.demonstration = _standing(row.pk)
    row.save()
    return Taken.REFUSED if is_new else None


def _standing(pk: int) -> tuple[Claim | None, Comparison | None, Demonstration | None]:
    """What came of the annotation before; the attempt that failed left nothing behind."""
    kept = LabelStudioAnnotation.objects.get(pk=pk)
    return kept.claim, kept.comparison, kept.demonstration


def _take(row: LabelStudioAnnotation, people: People) -> Taken | None:
    label = row.comparison or row.demonstration
    if row.raw.get("was_cancelled"):
        return _take_back(row, label) if label else _skip(row, people)
    task = row.task.task
    answer: Ranking | Written
    if task.kind == Kind.DEMONSTRATE:
        answer = parse_demonstration(row.raw.get("result"))
    else:
        letters = [chr(ord("a") + i) for i in range(len(row.task.shown_order))]
        answer = parse_ranking(row.raw.get("result"), letters)
    if label:
        return _change(row, label, answer)
    person = _person(row, people)
    claim = _claim(row, person)
    label = _submit(claim, answer)
    _write_down(row, label, created_at=_begun(row.raw) + timedelta(seconds=_seconds(row.raw) or 0))
    record(task.queue.project_id, None, "pulled", label, annotation=row.remote_annotation, person=person)
    row.claim = claim
    row.comparison = label if isinstance(label, Comparison) else None
    row.demonstration = label if isinstance(label, Demonstration) else None
    return Taken.LABEL


def _person(row: LabelStudioAnnotation, people: People) -> User:
    remote = row.raw.get("completed_by")
    if isinstance(remote, dict):  # as exports have it
        remote = remote.get("id")
    if not isinstance(remote, int):
        raise ValueError("It does not say who made it.")
    person = people.find(remote)
    if has_no_consent(row.link.project_id, person):
        raise ValueError(f"{person.display_name} has withdrawn their consent to the use of their work.")
    return person


def _claim(row: LabelStudioAnnotation, person: User) -> Claim:
    """A claim on one of the task's places in Label Studio; without a place where all are filled: it will be surplus."""
    task = row.task.task
    own = Claim.objects.filter(task=task, annotator=person)
    if own.filter(status=Claim.Status.SUBMITTED).exists():
        raise ValueError(f"{person.display_name} has judged this task already, here or in another annotation.")
    if own.filter(status=Claim.Status.LIVE).exists():
        raise ValueError(f"{person.display_name} is working on this task here; what they hand in first counts.")
    now = timezone.now()
    claim = Claim.objects.create(
        task=task, annotator=person, project_id=task.queue.project_id, guideline=row.link.guideline,
        shown_order=row.task.shown_order, created_at=min(_begun(row.raw), now),
        expires_at=now + timedelta(minutes=task.queue.lease_minutes),
    )  # fmt: skip
    for slot in links.away_slots(row.link, [task.pk]).order_by("number").values_list("pk", flat=True):
        place = Slot.objects.filter(pk=slot, status=Slot.Status.AWAY)
        if place.update(status=Slot.Status.CLAIMED, claim=claim) == 1:
            return claim
    Claim.objects.filter(pk=claim.pk).update(status=Claim.Status.RELEASED)
    claim.status = Claim.Status.RELEASED
    return claim


def _submit(claim: Claim, answer: Ranking | Written) -> Label:
    if isinstance(answer, Written):
        return submit_demonstration(claim, answer.text, reasoning=answer.reasoning)
    return submit_ranking(claim, answer.tiers, **_but_tiers(answer))


def _but_tiers(answer: Ranking) -> dict[str, Any]:
    return {
        "unrankable": answer.unrankable, "strength": answer.strength, "ratings": answer.ratings,
        "rationale": answer.rationale,
    }  # fmt: skip


def _change(row: LabelStudioAnnotation, label: Label, answer: Ranking | Written) -> Taken | None:
    """It was changed there: the label's next revision, by the same person."""
    if isinstance(answer, Written):
        changed = revise(label, label.annotator, text=answer.text, reasoning=answer.reasoning)
    else:
        changed = revise(label, label.annotator, tiers=answer.tiers, **_but_tiers(answer))
    _write_down(row, label, guideline=row.link.guideline)
    return Taken.REVISED if changed else None


def _write_down(row: LabelStudioAnnotation, label: Label, **fields: Any) -> None:
    """What only Label Studio knows: how long it took there, and where it is from."""
    source = f"Label Studio, annotation {row.remote_annotation} of project {row.link.remote_project}"
    type(label).everything.filter(pk=label.pk).update(seconds=_seconds(row.raw), source=source, **fields)


def _skip(row: LabelStudioAnnotation, people: People) -> Taken | None:
    """To others, as Label Studio does it; the place stays there."""
    if row.claim is not None:
        return None
    now = timezone.now()
    row.claim = Claim.objects.create(
        task=row.task.task, annotator=_person(row, people), project_id=row.task.task.queue.project_id,
        guideline=row.link.guideline, status=Claim.Status.RELEASED, shown_order=row.task.shown_order,
        created_at=min(_begun(row.raw), now), expires_at=now, finished_at=now, skip=Skip.OTHERS, reason=SKIPPED,
    )  # fmt: skip
    return Taken.SKIPPED


def _take_back(row: LabelStudioAnnotation, label: Label) -> Taken:
    """What was an answer is a skip now: the label is undone, its place goes back to Label Studio."""
    assert label.claim is not None
    claim = reopen(label.claim, label.annotator)
    slot = claim.slot.pk
    release(claim, reason=SKIPPED, skip=Skip.OTHERS)
    Slot.objects.filter(pk=slot, status=Slot.Status.FREE).update(status=Slot.Status.AWAY)
    row.claim, row.comparison, row.demonstration = claim, None, None
    return Taken.SKIPPED


def _seconds(annotation: dict[str, Any]) -> float | None:
    """Label Studio's lead time; None where it has none, or one that cannot be."""
    seconds = annotation.get("lead_time")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not math.isfinite(seconds):
        return None
    return float(seconds) if 0 <= seconds <= LONGEST_DAYS * 86_400 else None


def _begun(annotation: dict[str, Any]) -> datetime:
    """When work on it began: it was made at `created_at`, after the lead time."""
    made = min(_moment(annotation.get("created_at")), timezone.now())
    return made - timedelta(seconds=_seconds(annotation) or 0)


def _moment(text: Any) -> datetime:
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return timezone.now()
    return moment if moment.tzinfo else timezone.make_aware(moment)
