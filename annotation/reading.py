"""Read many comparisons with their answers, some at a time.

`prefetch_related` would build a manager and its query anew for every comparison; at a hundred thousand that is most of
the work.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from django.db.models import QuerySet

from annotation.models import Comparison, Completion

CHUNK = 500  # comparisons that are held, with their answers' texts


def with_answers(
    comparisons: QuerySet[Comparison], *related: str, chunk: int = CHUNK
) -> Iterator[tuple[Comparison, dict[int, Completion]]]:
    """Each comparison, in the queryset's order, with its answers by id. `related`: what of the answers to join."""
    rows = comparisons.iterator(chunk_size=chunk)
    while held := list(islice(rows, chunk)):
        ids = {pk for comparison in held for pk in answer_ids(comparison)}
        answers = Completion.everything.select_related(*related) if related else Completion.everything.all()
        found = answers.in_bulk(ids)
        for comparison in held:
            yield comparison, {pk: found[pk] for pk in answer_ids(comparison)}


def answer_ids(comparison: Comparison) -> list[int]:
    """The answers that were compared, each once, in the order of the screen."""
    ranked = [pk for tier in comparison.tiers for pk in tier]
    return list(dict.fromkeys([*comparison.shown_order, *ranked, *comparison.unrankable]))
