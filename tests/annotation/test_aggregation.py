"""Merging rankings, with the arithmetic; and freezing what was merged."""

from __future__ import annotations

import json
import math
from datetime import timedelta

import numpy as np
import pytest
from django.utils import timezone
from scipy.optimize import minimize_scalar

from annotation import withdraw
from annotation.aggregation import METHODS, preferences
from annotation.datasets import freeze_comparisons, freeze_demonstrations
from annotation.lineage import datasets_using, labels_behind
from annotation.models import Comparison, DatasetItem, Gold, Standing, Task
from annotation.queue import claim_next
from annotation.submit import submit_demonstration, submit_ranking
from annotation.tasks import add_tasks, find_queue
from evaluation.lineage import trace
from training.dataset_files import read_split

A, B, C = 10, 20, 30


def merged(rankings, method, strengths=None, **settings):
    found = preferences(rankings, strengths or [None] * len(rankings), method, **settings)
    return {(p.chosen, p.rejected): (p.margin, p.rankings) for p in found}


def test_every_ranking_as_it_is():
    found = preferences([[[A], [B, C]], [[B], [A]]], [2, None])
    assert found == [(A, B, 2 / 3, (0,)), (A, C, 2 / 3, (0,)), (B, A, 0.0, (1,))]


def test_majority():
    """A beats B 2 : 1, C ties with A once and loses to it once: 1 of 2 votes; B and C draw 1 : 1 and say nothing."""
    found = merged([[[A], [B], [C]], [[A, C], [B]], [[B], [A]]], "majority")
    assert found == {(A, B): (pytest.approx(1 / 3), (0, 1, 2)), (A, C): (0.5, (0, 1))}


def test_majority_of_a_circle_keeps_the_circle():
    found = merged([[[A], [B], [C]], [[B], [C], [A]], [[C], [A], [B]]], "majority")
    assert set(found) == {(A, B), (B, C), (C, A)}
    assert merged([[[A], [B], [C]], [[B], [C], [A]], [[C], [A], [B]]], "bradley_terry") == {}


def test_an_answer_that_never_loses_has_a_finite_score():
    """Three wins of three and a prior of ½ win each way: odds 3.5 to 0.5, so 2·P - 1 = 2·7/8 - 1 = 0.75.

    Without a prior the likelihood grows for ever.
    """
    for method in ("bradley_terry", "plackett_luce"):
        found = merged([[[A], [B]]] * 3, method, prior=0.25)
        assert found == {(A, B): (pytest.approx(0.75, abs=1e-4), (0, 1, 2))}
    likelihood = minimize_scalar(lambda d: 3 * math.log1p(math.exp(-d)), bounds=(0, 500), method="bounded")
    assert likelihood.x > 30  # the undefeated answer runs away
    for prior in (0, -1, math.nan):
        with pytest.raises(ValueError, match="Prior"):
            preferences([[[A], [B]]], [None], "bradley_terry", prior)


def test_bradley_terry_of_two_answers_by_hand():
    """Two wins, a loss and a tie: 2.5 to 1.5, with the prior 3 to 2: 2·0.6 - 1 = 0.2."""
    found = merged([[[A], [B]], [[A], [B]], [[B], [A]], [[A, B]]], "bradley_terry", prior=0.25)
    assert found == {(A, B): (pytest.approx(0.2, abs=1e-4), (0, 1, 2, 3))}


def test_plackett_luce_finds_the_maximum_of_its_likelihood():
    """With next to no prior the scores are where the gradient of the likelihood, written out here, vanishes."""
    rankings = [[[A], [B], [C]], [[A], [C], [B]], [[B], [A], [C]], [[C], [B], [A]], [[B], [C], [A]]]
    found = merged(rankings, "plackett_luce", prior=1e-9)
    difference = {pair: 2 * math.atanh(margin) for pair, (margin, _) in found.items()}
    assert set(difference) == {(B, A), (B, C), (A, C)}
    scores = {A: 0.0, B: difference[B, A], C: -difference[A, C]}
    gradient = dict.fromkeys(scores, 0.0)
    for ranking in rankings:
        rest = [answer for (answer,) in ranking]
        while len(rest) > 1:
            weights = np.exp([scores[a] for a in rest])
            gradient[rest[0]] += 1
            for answer, weight in zip(rest, weights / weights.sum(), strict=True):
                gradient[answer] -= weight
            rest = rest[1:]
    assert list(gradient.values()) == pytest.approx([0, 0, 0], abs=1e-4)


def test_scores_place_answers_that_were_ranked_by_different_people():
    """A > B and B > C: the models put A above C, yet nobody ranked that pair, so it is no row."""
    for method in ("bradley_terry", "plackett_luce"):
        found = merged([[[A], [B]], [[B], [C]]], method)
        assert set(found) == {(A, B), (B, C)}
        assert found[A, B][1] == (0, 1)  # both rankings are behind the scores


def test_ties_alone_say_nothing():
    for method in METHODS:
        assert merged([[[A, B]], [[A, B, C]]], method) == {}
        assert merged([[[A]], []], method) == {}
    with pytest.raises(ValueError, match="none of every"):
        preferences([], [], "average")


# Freezing


@pytest.fixture
def three_judges(rank_queue, annotator, sme, owner):
    """a > b > c twice and c > a = b once on each of the four train prompts, by two people and a third."""
    Task.objects.filter(queue=rank_queue).update(overlap=3)
    for task in rank_queue.tasks.all():
        task.slots.create(number=2, queue=rank_queue)
    for person, shown in ((annotator, "abc"), (sme, "abc"), (owner, "cab")):
        while claim := claim_next(rank_queue, person):
            ids = dict(zip("abc", sorted(claim.shown_order), strict=True))
            letter = {pk: name for name, pk in claim.letters.items()}
            tiers = [[letter[ids[x]]] for x in shown] if person != owner else [
                [letter[ids["c"]]], [letter[ids["a"]], letter[ids["b"]]],
            ]  # fmt: skip
            submit_ranking(claim, tiers, strength=None)
    return list(Comparison.objects.order_by("id"))


def rows_of(artifact):
    return [
        json.loads(line)
        for split in ("train", "test")
        for line in (artifact.directory / f"{split}.jsonl").read_text().splitlines()
    ]


@pytest.mark.parametrize("method", ["majority", "bradley_terry", "plackett_luce"])
def test_one_row_a_pair_tied_to_every_ranking(project, engineer, three_judges, method):
    dataset = freeze_comparisons(project, engineer, aggregation=method, margin=True)
    rows = rows_of(dataset)
    assert len(rows) == 4 * 3  # a > b, a > c, b > c of each prompt
    assert all(0 < row["margin"] < 1 and len(row["comparison_ids"]) == 3 for row in rows)
    assert dataset.items.count() == len(rows) * 3
    for item in dataset.items.all():
        row = json.loads((dataset.directory / f"{item.split}.jsonl").read_text().splitlines()[item.index])
        assert item.comparison_id in row["comparison_ids"] and item.revision == 1
        assert item.comparison.prompt_id == row["prompt_id"]
    assert set(labels_behind(dataset).comparisons) == set(three_judges)
    assert list(datasets_using(three_judges[0])) == [dataset]
    assert trace([dataset]).unresolved == [] and trace([dataset]).labels == 12
    assert dataset.metadata["aggregation"] == method
    card = (dataset.directory / "README.md").read_text()
    assert METHODS[method] in card and "`margin`" in card and "- annotator: 4 labels" in card
    assert read_split(dataset.directory, "comparisons", "train")


def test_a_lost_source_breaks_the_thread(project, engineer, three_judges):
    dataset = freeze_comparisons(project, engineer, aggregation="majority")
    DatasetItem.objects.filter(artifact=dataset, split="train", index=0).delete()
    (problem,) = trace([dataset]).unresolved
    assert "1 of 12 rows do not say" in problem


def test_every_ranking_has_margins_from_strength_where_asked(project, engineer, rank_queue, annotator, sme):
    for person, strength in ((annotator, 3), (sme, None)):
        submit_ranking(claim_next(rank_queue, person), [["a"], ["b", "c"]], strength=strength)
    assert "margin" not in rows_of(freeze_comparisons(project, engineer))[0]
    dataset = freeze_comparisons(project, engineer, margin=True)
    margins = {row["comparison_id"]: row["margin"] for row in rows_of(dataset)}
    assert list(margins.values()) == [1.0, 0.0]


def test_an_edited_label_is_frozen_at_its_revision(project, engineer, three_judges):
    Comparison.objects.filter(pk=three_judges[0].pk).update(revision=3)
    dataset = freeze_comparisons(project, engineer)
    assert set(dataset.items.filter(comparison=three_judges[0]).values_list("revision", flat=True)) == {3}


def test_what_settled_a_disagreement_stands_for_what_it_settled(project, engineer, prompts, answers, three_judges):
    disputed = three_judges[0].task
    (task,) = add_tasks(find_queue(project, "adjudicate"), [(disputed.prompt, list(disputed.completions.all()))])
    Task.objects.filter(pk=task.pk).update(adjudicates=disputed)
    ids = sorted(three_judges[0].shown_order)
    settled = Comparison.objects.create(
        prompt=disputed.prompt, task=task, annotator=engineer, tiers=[[ids[2]], ids[:2]], shown_order=ids
    )
    settled.completions.set(ids)
    for method in METHODS:
        rows = [r for r in rows_of(freeze_comparisons(project, engineer, aggregation=method))
                if r["prompt_id"] == disputed.prompt_id]  # fmt: skip
        assert len(rows) == 2 and all(r.get("comparison_ids", [r.get("comparison_id")]) == [settled.pk] for r in rows)
    assert "only the adjudicated ranking" in (freeze_comparisons(project, engineer).directory / "README.md").read_text()
    withdraw.withdraw(settled, engineer, "Was mistaken")  # what it settled counts again
    dataset = freeze_comparisons(project, engineer)
    assert set(dataset.items.values_list("comparison", flat=True)) == {c.pk for c in three_judges}


def test_gold_items_and_people_who_are_out(project, engineer, sme, owner, annotator, three_judges):
    gold = three_judges[0].task
    Gold.objects.create(task=gold, tiers=[[1], [2]], created_by=engineer)
    Standing.objects.create(project=project, user=sme, status=Standing.Status.EXCLUDED)
    Standing.objects.create(project=project, user=owner, consent_withdrawn_at=timezone.now())
    Standing.objects.create(project=project, user=annotator, status=Standing.Status.PAUSED)  # their labels count
    used = Comparison.objects.filter(dataset_items__artifact=freeze_comparisons(project, engineer)).distinct()
    assert {c.annotator for c in used} == {annotator} and gold not in {c.task for c in used}
    assert used.count() == 3


def test_demonstrations_of_people_who_are_out(project, engineer, write_queue, annotator, sme):
    for person in (annotator, sme):
        submit_demonstration(claim_next(write_queue, person), f"Way of {person}")
    Standing.objects.create(project=project, user=sme, consent_withdrawn_at=timezone.now())
    dataset = freeze_demonstrations(project, engineer)
    assert [i.demonstration.annotator for i in dataset.items.all()] == [annotator]
    assert "took their consent back" in (dataset.directory / "README.md").read_text()


def test_a_label_withdrawn_while_it_is_frozen(project, engineer, three_judges, monkeypatch):
    """The first attempt has read the label; the second does without it. New labels are no matter."""
    from annotation import freezing

    reads = []
    write = freezing._write_splits

    def meanwhile(*args):
        reads.append(1)
        if len(reads) == 1:
            withdraw.withdraw(three_judges[0], engineer, "Consent")
            Comparison.objects.create(
                prompt=three_judges[0].prompt, annotator=engineer, tiers=[], shown_order=[],
                created_at=timezone.now() - timedelta(days=1),
            )  # fmt: skip
        return write(*args)

    monkeypatch.setattr(freezing, "_write_splits", meanwhile)
    dataset = freeze_comparisons(project, engineer)
    assert len(reads) == 2
    assert three_judges[0].pk not in set(dataset.items.values_list("comparison", flat=True))
    assert len(rows_of(dataset)) == sum(dataset.metadata["counts"].values())


def test_labels_that_never_stand_still(project, engineer, three_judges, var, monkeypatch):
    monkeypatch.setattr("annotation.datasets._Labels.still_usable", lambda self: False)
    with pytest.raises(ValueError, match="Try again"):
        freeze_comparisons(project, engineer)
    assert list((var / "datasets").iterdir()) == []
