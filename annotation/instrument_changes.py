"""Change what a project asks of its judges; the journal keeps what it asked before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import transaction

from annotation import journal
from annotation.models import Instrument
from annotation.submit import LONGEST
from studio.models import Project, User

ASKED = (
    "ties", "unrankable", "strength", "ratings", "flags", "rationale", "rationale_min", "reasoning", "answer_min",
    "answer_max", "start_from_draft", "near_duplicate",
)  # fmt: skip


def problems(asked: Mapping[str, Any]) -> dict[str, str]:
    """A sentence for each setting that is wrong; a setting that is left out, or None, is not looked at."""
    found = {}
    least, most = asked.get("answer_min"), asked.get("answer_max")
    if least is not None and most is not None and least > most:
        found["answer_min"] = "An answer cannot have to be longer than it may be."
    for name in ("answer_max", "rationale_min"):
        if (asked.get(name) or 0) > LONGEST:
            found[name] = f"No text here has more than {LONGEST:,} characters."
    if most == 0:
        found["answer_max"] = "Nobody could write an answer of no length."
    similarity = asked.get("near_duplicate")
    if similarity is not None and not 0 < similarity <= 1:
        found["near_duplicate"] = "A similarity lies between 0 and 1."
    return found


@transaction.atomic
def change_instrument(project: Project, by: User, asked: Mapping[str, Any]) -> Instrument:
    """Ask for this from the next task on that anybody opens; settings that are left out stay. Raises ValueError."""
    Instrument.objects.get_or_create(project=project)
    found = Instrument.objects.select_for_update().get(project=project)
    before = {name: getattr(found, name) for name in asked if getattr(found, name) != asked[name]}
    for name in before:
        setattr(found, name, asked[name])
    if wrong := problems({name: getattr(found, name) for name in ASKED}):
        raise ValueError(next(iter(wrong.values())))
    if before:
        found.save(update_fields=before)
        after = {name: asked[name] for name in before}
        journal.record(project, by, "changed what is asked", before=before, after=after)
    return found
