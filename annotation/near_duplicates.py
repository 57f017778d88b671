"""Is a demonstration nearly the same as one that the project has? Two of them teach no more than one."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models.functions import Length
from rapidfuzz import process
from rapidfuzz.distance import Levenshtein

from annotation.models import Demonstration, Prompt

CANDIDATES = 1000  # the newest of about the same length; comparing them takes some hundredths of a second
LONGEST = 20_000  # characters compared


@dataclass(frozen=True)
class Twin:
    demonstration: Demonstration
    similarity: float  # 1 - Levenshtein distance / length of the longer one


def nearest(prompt: Prompt, text: str, threshold: float, *, apart_from: int | None = None) -> Twin | None:
    """The standing demonstration of the prompt's project most like `text`, if it is at least `threshold` like it.

    Only texts whose length allows that are looked at: a similarity of s needs lengths within a factor s.
    `apart_from`: the demonstration that is being edited.
    """
    text = text.strip()[:LONGEST]
    if not text or not 0 < threshold <= 1:
        return None
    found = Demonstration.objects.filter(prompt__project=prompt.project_id, withdrawn_at=None).exclude(pk=apart_from)
    alike = found.annotate(length=Length("completion__text")).filter(
        length__gte=int(len(text) * threshold), length__lte=int(len(text) / threshold) + 1
    )
    texts = dict(alike.order_by("-id").values_list("pk", "completion__text")[:CANDIDATES])
    best = process.extractOne(text, texts, scorer=Levenshtein.normalized_similarity, score_cutoff=threshold)
    if best is None:
        return None
    _, similarity, pk = best
    return Twin(Demonstration.objects.select_related("prompt").get(pk=pk), similarity)
