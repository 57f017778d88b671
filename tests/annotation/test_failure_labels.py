"""Labels made of failure examples, and prompts to probe with."""

from __future__ import annotations

import pytest

from annotation.failure_labels import comparison_from, demonstration_from, prompts_like, suggested_prompts
from annotation.failures import add_class, add_example, edit_class
from annotation.merging import merge
from annotation.models import Comparison, Completion, FailureExample, JournalEntry
from annotation.prompts import import_prompts
from annotation.withdraw import withdraw


@pytest.fixture
def example(project, answers, sme) -> FailureExample:
    rambles = add_class(project, "Rambles", sme)
    return add_example(rambles, answers[0][0], sme, correction="Use reverse().", reasoning="One call.")


def test_a_demonstration_by_the_author_whoever_asks_for_it(example, sme, engineer):
    made = demonstration_from(example, engineer)
    assert (made.annotator, made.completion.text, made.reasoning) == (sme, "Use reverse().", "One call.")
    assert made.draft_of == example.completion
    assert made.source == f"Failure class “Rambles”, example {example.pk}"
    example.refresh_from_db()
    assert example.demonstration == made
    entry = JournalEntry.objects.get(demonstration=made)
    assert (entry.actor, entry.detail) == (engineer, {"failure_example": example.pk})
    with pytest.raises(ValueError, match="already"):
        demonstration_from(example, sme)


@pytest.mark.parametrize("order", [(demonstration_from, comparison_from), (comparison_from, demonstration_from)])
def test_both_share_the_correction(example, sme, order):
    before = Completion.objects.count()
    for make in order:
        make(example, sme)
    example.refresh_from_db()
    correction = example.demonstration.completion
    assert Completion.objects.count() == before + 1
    assert example.comparison.tiers == [[correction.pk], [example.completion_id]]
    assert set(example.comparison.completions.all()) == {correction, example.completion}
    assert example.comparison.rationale == "One call."


def test_examples_of_which_nothing_can_be_made(example, project, answers, sme):
    same = add_example(example.failure_class, answers[1][0], sme, correction=answers[1][0].text)
    with pytest.raises(ValueError, match="the same as the failing answer"):
        comparison_from(same, sme)
    withdraw(example, sme, "It is fine.")
    with pytest.raises(ValueError, match="withdrawn"):
        demonstration_from(example, sme)
    assert not Comparison.objects.exists()


def test_prompts_that_ask_alike_come_nearest_first_and_held_out_ones_never(example, project, prompts, engineer):
    import_prompts(project, [{"prompt": "What is the weather?", "split": "train"}], engineer)
    failed, alike = prompts_like(example.failure_class)
    assert failed == [prompts[0]]
    assert alike and set(alike) <= set(prompts[1:4])  # 4 and 5 are held out
    assert prompts_like(add_class(project, "Empty", engineer)) == ([], [])


def test_suggestions_of_merged_classes_are_taken_over(example, project, sme):
    def suggest(failure_class, *texts) -> None:
        edit_class(
            failure_class, sme, name=failure_class.name, description="", severity=2, owner=sme, suggested_prompts=texts
        )
        failure_class.refresh_from_db()

    other = add_class(project, "Goes on", sme)
    suggest(other, "Explain len.", "Why?")
    suggest(example.failure_class, "Why?")
    merge(other, example.failure_class, sme)
    assert suggested_prompts(example.failure_class) == ["Why?", "Explain len."]
