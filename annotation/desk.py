"""A person who comes to a queue: all that decides what they may have, in one query."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

from django.utils import timezone

from annotation.models import Queue
from studio import statements
from studio.models import Guideline, User


@dataclass(frozen=True)
class Desk:
    standing: str  # of Standing.Status; "" where none is written down
    standing_reason: str
    no_consent: bool  # they took it back
    role: str  # "" outside the project
    skills: tuple[str, ...]
    is_reserved: bool  # the queue is kept for some people …
    is_named: bool  # … and this is one of them
    live_claim: int | None  # the oldest of theirs in this queue
    has_kept: bool  # a free place is kept for them
    is_overdue: bool  # somewhere a claim's time is over
    is_doubted: bool  # the queue asks others about judgements of theirs
    guideline: Guideline | None  # in force; its text is not loaded


_GUIDELINE = statements.Part(Guideline, "g", "id", "project", "version")
_LOOK = f"""
SELECT {_GUIDELINE}, s.status, s.reason, s.consent_withdrawn_at IS NOT NULL, m.role, m.skills,
    EXISTS(SELECT 1 FROM annotation_queue_people WHERE queue_id = %(queue)s),
    EXISTS(SELECT 1 FROM annotation_queue_people WHERE queue_id = %(queue)s AND user_id = %(user)s),
    (SELECT MIN(c.id) FROM annotation_claim c JOIN annotation_task t ON t.id = c.task_id
        WHERE c.annotator_id = %(user)s AND c.status = 'live' AND t.queue_id = %(queue)s),
    EXISTS(SELECT 1 FROM annotation_slot
        WHERE queue_id = %(queue)s AND status = 'free' AND skill = '' AND assignee_id = %(user)s),
    EXISTS(SELECT 1 FROM annotation_claim WHERE status = 'live' AND expires_at < %(now)s),
    EXISTS(SELECT 1 FROM annotation_repeat r
        JOIN annotation_task t ON t.id = r.task_id JOIN annotation_comparison c ON c.id = r.comparison_id
        WHERE r.reward_model_id IS NOT NULL AND t.queue_id = %(queue)s AND c.annotator_id = %(user)s)
FROM studio_user u
LEFT JOIN annotation_standing s ON s.user_id = u.id AND s.project_id = %(project)s
LEFT JOIN studio_membership m ON m.user_id = u.id AND m.project_id = %(project)s
LEFT JOIN studio_guideline g ON g.id =
    (SELECT id FROM studio_guideline WHERE project_id = %(project)s ORDER BY version DESC LIMIT 1)
WHERE u.id = %(user)s
"""


def look_at(queue: Queue, user: User, now: datetime | None = None) -> Desk:
    facts = {"queue": queue.pk, "project": queue.project_id, "user": user.pk, "now": now or timezone.now()}
    row = statements.first(_LOOK, facts, _GUIDELINE)
    assert row is not None, "the user is in the database"
    guideline, standing, reason, no_consent, role, skills, reserved, named, live, kept, overdue, doubted = row
    known = json.loads(skills) if isinstance(skills, str) else skills or []
    return Desk(
        standing or "", reason or "", bool(no_consent), role or "", tuple(sorted(set(known))), bool(reserved),
        bool(named), live, bool(kept), bool(overdue), bool(doubted), guideline,
    )  # fmt: skip
