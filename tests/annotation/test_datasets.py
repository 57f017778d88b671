import json

import pytest
from django.db import IntegrityError
from django.db.models import ProtectedError

from annotation.datasets import freeze_comparisons, freeze_demonstrations, freeze_prompts
from annotation.lineage import artifacts_using, datasets_using, labels_behind, models_using
from annotation.models import Comparison, Completion, DatasetItem, Demonstration, Prompt, Review
from annotation.queue import claim_next
from annotation.submit import submit_demonstration, submit_ranking
from annotation.tasks import add_tasks, find_queue
from annotation.withdraw import may_withdraw, withdraw
from studio.models import Membership
from studio.runs.models import Run, RunInput, hash_directory
from training.dataset_files import read_split


def lines(artifact, split):
    return [json.loads(line) for line in (artifact.directory / f"{split}.jsonl").read_text().splitlines()]


@pytest.fixture
def written(write_queue, annotator, guideline):
    """A demonstration for each of the four train prompts."""
    found = []
    while claim := claim_next(write_queue, annotator):
        found.append(submit_demonstration(claim, f"Answer to {claim.task.prompt.text}"))
    return found


@pytest.fixture
def ranked(rank_queue, annotator):
    """A ranking a > b = c (by letter) of each of the four train prompts."""
    found = []
    while claim := claim_next(rank_queue, annotator):
        found.append(submit_ranking(claim, [["a"], ["b", "c"]]))
    return found


def make_run(make_artifact, project, user, recipe, inputs, output):
    """A finished run as rows: what it took by role and the one artifact (kind, name) it made."""
    run = Run.objects.create(
        project=project, recipe_name=recipe, title=recipe, queue="gpu", created_by=user, status="succeeded"
    )
    for role, artifact in inputs.items():
        RunInput.objects.create(run=run, role=role, artifact=artifact)
    return make_artifact(*output, produced_by=run, role="out")


def test_demonstrations_in_trl_columns_each_tied_to_its_label(project, engineer, written):
    dataset = freeze_demonstrations(project, engineer, name="Hand-written")
    assert dataset.kind == "dataset" and dataset.dataset_type == "demonstrations"
    assert dataset.metadata["counts"] == {"train": 3, "test": 1}  # a tenth of four conversations, at least one
    rows = {split: lines(dataset, split) for split in ("train", "test")}
    for item in DatasetItem.objects.filter(artifact=dataset):
        row = rows[item.split][item.index]
        assert row["demonstration_id"] == item.demonstration_id and item.label == item.demonstration
        assert row["prompt"] == item.demonstration.prompt.messages
        assert row["completion"] == [{"role": "assistant", "content": item.demonstration.completion.text}]
    assert dataset.items.count() == 4
    assert hash_directory(dataset.directory) == (dataset.sha256, dataset.size_bytes)
    assert json.loads((dataset.directory / "dataset.json").read_text())["type"] == "demonstrations"
    card = (dataset.directory / "README.md").read_text()
    assert "# Hand-written" in card and "- annotator: 4 labels" in card and "- version 1: 4 labels" in card
    assert len(read_split(dataset.directory, "demonstrations", "train")) == 3  # as the recipes read it


def test_rankings_become_pairs_and_no_conversation_is_in_both_splits(project, engineer, ranked):
    dataset = freeze_comparisons(project, engineer)
    rows = {split: lines(dataset, split) for split in ("train", "test")}
    assert len(rows["train"]) + len(rows["test"]) == 4 * 2  # a > b and a > c; b = c says nothing
    assert not {r["prompt_id"] for r in rows["train"]} & {r["prompt_id"] for r in rows["test"]}
    assert rows["test"]
    by_id = {c.pk: c for c in ranked}
    for row in rows["train"] + rows["test"]:
        label = by_id[row["comparison_id"]]
        best = Completion.objects.get(pk=label.tiers[0][0])
        assert row["chosen"] == [{"role": "assistant", "content": best.text}]
        assert row["rejected"][0]["content"] != best.text
    assert read_split(dataset.directory, "comparisons", "train") == rows["train"]


def test_later_freezes_keep_the_split(project, engineer, ranked):
    first, second = freeze_comparisons(project, engineer), freeze_comparisons(project, engineer)
    assert first.path != second.path
    assert lines(first, "test") == lines(second, "test")


def test_what_must_not_train_is_left_out(project, engineer, prompts, answers, annotator, ranked):
    queue = find_queue(project, "review", "Blind")
    review = Review.objects.create(project=project, name="Blind", queue=queue, created_by=engineer)
    held_out = find_queue(project, "rank", "held out")
    add_tasks(queue, [(prompts[0], answers[0])], review=review)
    add_tasks(held_out, [(prompts[5], answers[5])])
    for other in (queue, held_out):
        submit_ranking(claim_next(other, annotator), [["a"], ["b"], ["c"]])
    withdraw(ranked[0], annotator, "Clicked too fast")
    Comparison.objects.filter(pk=ranked[1].pk).update(surplus=True)
    dataset = freeze_comparisons(project, engineer)
    assert set(dataset.items.values_list("comparison", flat=True)) == {ranked[2].pk, ranked[3].pk}


def test_prompts_keep_their_own_split(project, engineer, prompts):
    dataset = freeze_prompts(project, engineer)
    assert [r["prompt_id"] for r in lines(dataset, "train")] == [p.pk for p in prompts[:4]]
    assert [r["prompt_id"] for r in lines(dataset, "test")] == [p.pk for p in prompts[4:]]
    some = freeze_prompts(project, engineer, prompts=Prompt.objects.filter(pk=prompts[0].pk))
    assert some.metadata["counts"] == {"train": 1, "test": 0}


def test_an_empty_dataset_is_refused_and_leaves_nothing(project, engineer, var):
    for freeze, says in (
        (freeze_demonstrations, "no demonstration to freeze"),
        (freeze_comparisons, "no comparison to freeze"),
        (freeze_prompts, "no prompt to freeze"),
    ):
        with pytest.raises(ValueError, match=says):
            freeze(project, engineer)
    assert list((var / "datasets").iterdir()) == []


def test_a_freeze_that_fails_leaves_nothing(project, engineer, written, var, monkeypatch):
    def full(*args, **kwargs):
        raise OSError("No space left on device")

    monkeypatch.setattr("annotation.freezing.data_card", full)
    with pytest.raises(OSError, match="No space"):
        freeze_demonstrations(project, engineer)
    assert list((var / "datasets").iterdir()) == [] and not DatasetItem.objects.exists()


def test_bad_settings(project, engineer, ranked):
    with pytest.raises(ValueError, match="between 0 and 0.5"):
        freeze_comparisons(project, engineer, test_fraction=0.9)
    with pytest.raises(ValueError, match="none of every, majority"):
        freeze_comparisons(project, engineer, aggregation="magic")
    with pytest.raises(ValueError, match="Prior"):
        freeze_comparisons(project, engineer, aggregation="bradley_terry", prior=0)


def test_lineage_both_ways(project, engineer, make_artifact, written, ranked, answers):
    """demonstrations → SFT → samples → comparisons → reward model → PPO; a base model beside it."""
    base = make_artifact("model", "Base")
    demonstrations = freeze_demonstrations(project, engineer)
    sft = make_run(
        make_artifact, project, engineer, "sft", {"model": base, "dataset": demonstrations}, ("model", "SFT")
    )
    prompts = freeze_prompts(project, engineer)
    samples = make_run(
        make_artifact, project, engineer, "sample", {"models": sft, "prompts": prompts}, ("completions", "Samples")
    )
    Completion.objects.filter(comparisons__in=ranked).update(artifact=samples, run=samples.produced_by)
    comparisons = freeze_comparisons(project, engineer)
    reward = make_run(
        make_artifact,
        project,
        engineer,
        "reward_model",
        {"model": base, "dataset": comparisons},
        ("reward_model", "RM"),
    )
    ppo = make_run(
        make_artifact, project, engineer, "ppo",
        {"model": sft, "reward_model": reward, "prompts": prompts}, ("model", "PPO"),
    )  # fmt: skip

    behind = labels_behind(ppo)
    assert set(behind.demonstrations) == set(written) and set(behind.comparisons) == set(ranked)
    assert behind.prompts.count() == 6 and behind.count == 8
    assert behind.artifacts == {a.pk for a in (base, demonstrations, sft, prompts, samples, comparisons, reward, ppo)}
    assert set(labels_behind(sft).comparisons) == set() and labels_behind(base).count == 0
    # The reward model saw answers that the SFT model gave, so the demonstrations stand behind it too.
    assert set(labels_behind(reward).demonstrations) == set(written)

    assert list(datasets_using(written[0])) == [demonstrations]
    assert set(models_using(written[0])) == {sft, reward, ppo}
    assert set(models_using(ranked[0])) == {reward, ppo}
    assert set(artifacts_using(ranked[0])) == {comparisons, reward, ppo}


def test_lineage_costs_by_level_not_by_width(project, engineer, make_artifact, written, django_assert_max_num_queries):
    dataset = freeze_demonstrations(project, engineer)
    models = [
        make_run(make_artifact, project, engineer, "sft", {"dataset": dataset}, ("model", f"SFT {n}"))
        for n in range(12)
    ]
    with django_assert_max_num_queries(8):
        assert set(models_using(written[0])) == set(models)


def test_withdrawing_keeps_the_label_and_what_used_it(project, engineer, annotator, written, sme):
    dataset = freeze_demonstrations(project, engineer)
    with pytest.raises(ValueError, match="why"):
        withdraw(written[0], annotator, "  ")
    withdraw(written[0], annotator, "It is wrong on 3.12")
    label = Demonstration.objects.get(pk=written[0].pk)
    assert label.is_withdrawn and label.withdrawn_by == annotator and label.withdrawn_reason == "It is wrong on 3.12"
    assert list(datasets_using(label)) == [dataset]
    assert freeze_demonstrations(project, engineer).items.count() == 3
    with pytest.raises(ValueError, match="already"):
        withdraw(label, annotator, "Again")


def test_who_may_withdraw(project, engineer, annotator, sme, written):
    def membership(user):
        return Membership.objects.get(project=project, user=user)

    assert may_withdraw(membership(annotator), written[0]) and may_withdraw(membership(engineer), written[0])
    assert not may_withdraw(membership(sme), written[0])


def test_what_a_dataset_came_from_cannot_be_deleted(project, engineer, annotator, written):
    freeze_demonstrations(project, engineer)
    for thing in (written[0], written[0].completion, written[0].prompt, annotator, written[0].claim):
        with pytest.raises(ProtectedError):
            thing.delete()


def test_a_row_has_exactly_one_source(project, engineer, prompts, written, make_artifact):
    dataset = make_artifact("dataset", "By hand")
    with pytest.raises(IntegrityError):
        DatasetItem.objects.create(
            artifact=dataset, split="train", index=0, prompt=prompts[0], demonstration=written[0]
        )
