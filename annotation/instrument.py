"""What a project asks of its judges: which controls its screens show, and which answers it takes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from annotation.models import Completion, Instrument, Prompt, Shown
from studio.models import Project


def instrument_of(project: Project | int) -> Instrument:
    """The project's instrument; one with the defaults, not saved, where nobody has changed any. At most one query."""
    if isinstance(project, Project):
        return getattr(project, "instrument", None) or Instrument(project_id=project.pk)
    project_id = project
    return Instrument.objects.filter(project=project_id).first() or Instrument(project_id=project_id)


def draft_for(prompt: Prompt, instrument: Instrument) -> Completion | None:
    """The newest answer of a model to this prompt, where the project lets demonstrations start from one."""
    if not instrument.start_from_draft:
        return None
    return prompt.completions.filter(model__isnull=False).exclude(text="").order_by("-id").first()


def check_ranking(
    instrument: Instrument,
    *,
    tiers: Sequence[Sequence[Any]],
    unrankable: Collection[Any] = (),
    strength: int | None = None,
    ratings: Mapping[Any, int] | None = None,
    flags: Mapping[Any, Collection[str]] | None = None,
    rationale: str = "",
) -> None:
    """Raise ValueError unless the ranking says what the instrument asks for, and nothing that it does not.

    Answers may be named by letter or by completion id, as long as it is one of the two throughout.
    """
    ratings = ratings or {}
    if not instrument.ties and any(len(tier) > 1 for tier in tiers):
        raise ValueError("Two answers have the same place, and this project takes no ties: decide between them.")
    if not instrument.unrankable and unrankable:
        raise ValueError("This project ranks every answer: give each a place.")
    _check_shown("the strength", instrument.strength, strength is not None, required=len(tiers) == 2)
    ranked = [answer for tier in tiers for answer in tier]
    _check_shown("ratings", instrument.ratings, bool(ratings), required=False)
    if instrument.ratings == Shown.REQUIRED and not set(ranked) <= set(ratings):
        raise ValueError("Rate every answer from 1 to 7.")
    _check_shown("flags", instrument.flags, any((flags or {}).values()), required=False)
    _check_shown("a rationale", instrument.rationale, bool(rationale.strip()), required=True)
    if rationale.strip() and len(rationale.strip()) < instrument.rationale_min:
        raise ValueError(
            f"The rationale has {len(rationale.strip())} characters; this project asks for {instrument.rationale_min}."
        )


def check_demonstration(instrument: Instrument, *, text: str, reasoning: str = "") -> None:
    """Raise ValueError unless the answer has the length that is asked for, and reasoning where that is required."""
    length = len(text.strip())
    if length < instrument.answer_min:
        raise ValueError(
            f"The answer has {length:,} characters; this project asks for {instrument.answer_min:,} at least."
        )
    if length > instrument.answer_max:
        raise ValueError(f"The answer has {length:,} characters; this project takes {instrument.answer_max:,} at most.")
    _check_shown("reasoning", instrument.reasoning, bool(reasoning.strip()), required=True)


def _check_shown(what: str, shown: str, given: bool, *, required: bool) -> None:
    """`required`: whether a control that the project requires is due in this case."""
    if shown == Shown.OFF and given:
        raise ValueError(f"This project does not ask for {what}: leave it out.")
    if shown == Shown.REQUIRED and required and not given:
        raise ValueError(f"This project asks for {what}: {_REMEDIES[what]}")


_REMEDIES = {
    "the strength": "say how much better the first place is.",
    "a rationale": "say in a sentence why you ranked them so.",
    "reasoning": "say step by step how you got to the answer.",
}
