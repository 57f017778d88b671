"""Merging failure classes: examples move, doubles stay, and a merge can be taken back."""

from __future__ import annotations

import pytest

from annotation.failures import add_class, add_example, edit_class, final_class, find_classes, set_status
from annotation.merging import merge, undo_merge
from annotation.models import Completion, FailureClass, FailureMerge, JournalEntry
from annotation.prompts import import_prompts
from studio.models import Project, User
from tests.annotation.test_concurrency import in_threads


@pytest.fixture
def source(project, sme) -> FailureClass:
    return add_class(project, "Goes on and on", sme)


@pytest.fixture
def target(project, sme) -> FailureClass:
    return add_class(project, "Rambles", sme)


def test_examples_move_and_doubles_stay(source, target, answers, sme, engineer):
    moves = add_example(source, answers[0][0], sme, correction="Shorter.")
    same_by_another = add_example(source, answers[1][0], engineer, correction="Shorter.")
    double = add_example(source, answers[1][0], sme, correction="Shorter.")
    there = add_example(target, answers[1][0], sme, correction="Much shorter.")
    done = merge(source, target, engineer, reason="The same")
    assert set(target.examples.all()) == {moves, same_by_another, there}
    assert list(source.examples.all()) == [double]
    assert done.examples == sorted([moves.pk, same_by_another.pk])
    source.refresh_from_db()
    assert source.merged_into == target
    entry = JournalEntry.objects.get(act="merged")
    assert (entry.actor, entry.detail["examples"], entry.detail["doubles"]) == (engineer, 2, 1)


def test_what_is_filed_under_a_merged_class_goes_where_its_examples_went(source, target, answers, sme, engineer):
    merge(source, target, engineer)
    assert add_example(source, answers[0][0], sme, correction="Shorter.").failure_class == target
    with pytest.raises(ValueError, match="was merged into “Rambles”"):
        add_class(source.project, "goes on AND on", sme)


def test_undo_gives_back_what_moved_and_leaves_what_came_later(source, target, answers, sme, engineer):
    moved = add_example(source, answers[0][0], sme, correction="Shorter.")
    done = merge(source, target, engineer)
    later = add_example(target, answers[1][0], sme, correction="Shorter.")
    assert undo_merge(done, engineer) == 1
    assert (list(source.examples.all()), list(target.examples.all())) == ([moved], [later])
    source.refresh_from_db()
    assert source.merged_into is None
    with pytest.raises(ValueError, match="taken back already"):
        undo_merge(done, engineer)
    merge(source, target, engineer)  # and again


def test_undo_finds_examples_that_a_later_merge_has_moved_on(source, target, answers, project, sme, engineer):
    third = add_class(project, "Never stops", sme)
    moved = add_example(source, answers[0][0], sme, correction="Shorter.")
    other = add_example(target, answers[1][0], sme, correction="Shorter.")
    first = merge(source, target, engineer)
    second = merge(target, third, engineer)
    assert final_class(FailureClass.objects.get(pk=source.pk)) == third
    assert undo_merge(first, engineer) == 1
    assert list(source.examples.all()) == [moved] and list(third.examples.all()) == [other]
    assert undo_merge(second, engineer) == 1
    assert list(target.examples.all()) == [other]


def test_merges_that_cannot_be(source, target, project, sme, engineer):
    elsewhere = add_class(Project.objects.create(slug="other", name="Other"), "Rambles", sme)
    for into, sentence in ((source, "into itself"), (elsewhere, "another project")):
        with pytest.raises(ValueError, match=sentence):
            merge(source, into, engineer)
    merge(source, target, engineer)
    for one, other in ((source, target), (target, source)):
        with pytest.raises(ValueError, match="merged into another class already"):
            merge(one, other, engineer)
    assert FailureMerge.objects.count() == 1


def test_edits_are_kept_in_the_journal(target, sme, engineer, annotator):
    changes = {
        "name": "Rambles on", "description": "Goes on.", "severity": 3, "owner": engineer,
        "suggested_prompts": ["What is len?", " ", "What is len?"],
    }  # fmt: skip
    assert edit_class(target, engineer, **changes) == ["name", "description", "severity", "owner", "suggested_prompts"]
    assert edit_class(target, engineer, **changes) == []
    target.refresh_from_db()
    assert (target.name, target.suggested_prompts, target.owner) == ("Rambles on", ["What is len?"], engineer)
    entry = JournalEntry.objects.get(act="edited")
    assert entry.detail["before"] == {
        "name": "Rambles", "description": "", "severity": 2, "owner": "sme", "suggested_prompts": [],
    }  # fmt: skip
    for change, sentence in (
        ({"owner": annotator}, "annotator is no SME"),
        ({"name": " "}, "a name of at most"),
        ({"severity": 7}, "Severity is"),
        ({"suggested_prompts": [str(n) for n in range(51)]}, "at most 50 prompts"),
    ):
        with pytest.raises(ValueError, match=sentence):
            edit_class(target, sme, **(changes | change))


def test_classes_are_found_by_their_examples_and_by_how_some_model_fares_now(source, target, answers, sme, engineer):
    project = source.project
    add_example(target, answers[0][0], sme, correction="Call list.reverse().", reasoning="One call is enough.")
    tortoise, hare = answers[0][0].model, answers[0][1].model
    set_status(target, tortoise, "open", engineer)
    set_status(target, tortoise, "fixed", engineer)
    set_status(target, hare, "regressed", engineer)
    set_status(source, hare, "open", engineer)

    def found(**conditions) -> list[str]:
        return [each.name for each in find_classes(project, **conditions)]

    assert found() == ["Goes on and on", "Rambles"]
    assert found(q="list.REVERSE") == found(q="one call") == found(q="ramb") == ["Rambles"]
    assert found(state="open") == ["Goes on and on"]  # the other's is of the past
    assert found(state="fixed") == found(state="regressed") == ["Rambles"]
    assert found(severity="3") == []
    merge(source, target, engineer)
    assert found() == ["Rambles"] and found(merged=True) == ["Goes on and on", "Rambles"]


def assert_one_of_crossing_merges_happens(project, user) -> None:
    """Two merges that cross, four times each at the same moment: one happens."""
    one, other = add_class(project, "One", user), add_class(project, "Other", user)

    def act(number: int) -> bool:
        pair = (one, other) if number % 2 else (other, one)
        try:
            merge(*pair, user)
        except ValueError:
            return False
        return True

    assert sum(in_threads(act, range(8))) == 1 == FailureMerge.objects.count()
    assert FailureClass.objects.exclude(merged_into=None).count() == 1


@pytest.mark.postgres
def test_cross_merges_on_postgres(on_postgres):
    project = Project.objects.create(slug="crowd", name="Crowd")
    assert_one_of_crossing_merges_happens(project, User.objects.create(username="lead"))


@pytest.mark.django_db(transaction=True)
def test_cross_merges_on_one_file(project, engineer):
    assert_one_of_crossing_merges_happens(project, engineer)


def test_an_example_that_a_later_merge_left_behind_goes_back_too(project, sme, engineer, answers):
    a, b, c = (add_class(project, name, sme) for name in ("A", "B", "C"))
    example = add_example(a, answers[0][0], sme, correction="Right.")
    add_example(c, answers[0][0], sme, correction="Right.")
    first = merge(a, b, engineer)
    merge(b, c, engineer)  # C has the same answer by the same person: the double stays in B
    assert undo_merge(first, engineer) == 1
    example.refresh_from_db()
    assert example.failure_class == a


@pytest.mark.postgres
def test_filing_holds_its_class_against_merges_on_postgres(on_postgres):
    """Outside a transaction of its own, PostgreSQL refuses to lock the row."""
    user = User.objects.create(username="expert")
    project = Project.objects.create(slug="crowd", name="Crowd")
    (prompt,) = import_prompts(project, [{"prompt": "How do I reverse a list?"}], user).prompts
    answer = Completion.objects.create(prompt=prompt, text="With list.flip().")
    example = add_example(add_class(project, "Invents methods", user), answer, user, correction="Use reversed().")
    assert JournalEntry.objects.get(act="filed").failure_example == example
