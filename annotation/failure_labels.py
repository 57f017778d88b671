"""What a failure class gives to training and to probing: labels made of its examples, prompts that provoke it."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from rapidfuzz import fuzz, process
from rapidfuzz.distance import Levenshtein

from annotation import journal
from annotation.models import Comparison, Completion, Demonstration, FailureClass, FailureExample, Prompt, Split
from studio.models import User

LIKE = 8  # suggestions
LOOKED_AT = 2000  # of the project's newest prompts, when like ones are looked for
ALIKE = 60.0  # token set ratio of 100, above which two questions are about the same


@transaction.atomic
def demonstration_from(example: FailureExample, user: User) -> Demonstration:
    """The correction as an ideal answer by the example's author, once. Raises ValueError when it is withdrawn."""
    locked = _standing(example)
    if locked.demonstration_id:
        raise ValueError("There is a demonstration from this example already.")
    completion = _correction(locked)
    made = Demonstration.objects.create(
        completion=completion, reasoning=locked.reasoning, draft_of=locked.completion,
        edit_distance=Levenshtein.distance(locked.completion.text, completion.text), **_common(locked),
    )  # fmt: skip
    _tie(locked, demonstration=made)
    journal.record(locked.failure_class.project_id, user, "submitted", made, failure_example=locked.pk)
    return made


@transaction.atomic
def comparison_from(example: FailureExample, user: User) -> Comparison:
    """The correction above the failing answer, judged by the example's author, once.

    Raises ValueError when the example is withdrawn or its correction says the same as the answer.
    """
    locked = _standing(example)
    if locked.comparison_id:
        raise ValueError("There is a comparison from this example already.")
    if locked.correction.strip() == locked.completion.text.strip():
        raise ValueError("The correction is the same as the failing answer: there is nothing to compare.")
    correction = _correction(locked)
    made = Comparison.objects.create(
        tiers=[[correction.pk], [locked.completion_id]], shown_order=[locked.completion_id, correction.pk],
        rationale=locked.reasoning, **_common(locked),
    )  # fmt: skip
    made.completions.set([correction.pk, locked.completion_id])
    _tie(locked, comparison=made)
    journal.record(locked.failure_class.project_id, user, "submitted", made, failure_example=locked.pk)
    return made


def _standing(example: FailureExample) -> FailureExample:
    rows = FailureExample.objects.select_for_update(of=("self",)).select_related(
        "completion", "failure_class", "prompt", "author", "guideline", "demonstration__completion", "comparison"
    )
    locked = rows.get(pk=example.pk)
    if locked.withdrawn_at is not None:
        raise ValueError("The example is withdrawn: nothing can be made of it.")
    return locked


def _common(example: FailureExample) -> dict[str, Any]:
    return {
        "prompt": example.prompt, "annotator": example.author, "guideline": example.guideline,
        "source": f"Failure class “{example.failure_class.name}”, example {example.pk}"[:200],
    }  # fmt: skip


def _correction(example: FailureExample) -> Completion:
    """As an answer by its author; demonstration and comparison share it."""
    if example.demonstration is not None:
        return example.demonstration.completion
    if example.comparison is not None:
        return Completion.objects.get(pk=example.comparison.tiers[0][0])
    return Completion.objects.create(prompt=example.prompt, text=example.correction, author=example.author)


def _tie(example: FailureExample, **made: Demonstration | Comparison) -> None:
    (name,) = made
    free = FailureExample.objects.filter(pk=example.pk, **{name: None})
    if free.update(**made) != 1:
        raise ValueError("Somebody has just made it: reload the page.")


# Prompts to probe with


def prompts_like(failure_class: FailureClass) -> tuple[list[Prompt], list[Prompt]]:
    """(prompts of its examples, prompts of the project that ask alike and have no example of it yet).

    Alike by RapidFuzz's token set ratio to the nearest example's question, nearest first; held-out prompts are left out
    of both, since probing with them would teach people what reviews and evaluation ask.
    """
    examples = failure_class.examples.filter(withdrawn_at=None)
    failed = list(Prompt.objects.filter(failures__in=examples, split=Split.TRAIN).distinct().order_by("-id")[:LIKE])
    if not failed:
        return [], []
    others = Prompt.objects.filter(project=failure_class.project_id, split=Split.TRAIN)
    others = others.exclude(failures__failure_class=failure_class).order_by("-id")[:LOOKED_AT]
    by_id = {prompt.pk: prompt for prompt in others}
    texts = {pk: prompt.text.casefold() for pk, prompt in by_id.items()}
    nearest: dict[int, float] = {}
    for prompt in failed:
        hits = process.extract(
            prompt.text.casefold(), texts, scorer=fuzz.token_set_ratio, score_cutoff=ALIKE, limit=LIKE
        )
        for _, score, pk in hits:
            nearest[pk] = max(score, nearest.get(pk, 0.0))
    best = sorted(nearest, key=lambda pk: -nearest[pk])[:LIKE]
    return failed, [by_id[pk] for pk in best]


def suggested_prompts(failure_class: FailureClass) -> list[str]:
    """What people wrote down to provoke it, those of the classes that were merged into it included."""
    lists = [failure_class.suggested_prompts, *failure_class.merged.values_list("suggested_prompts", flat=True)]
    return list(dict.fromkeys(text for texts in lists for text in texts))
