"""What a reward model makes of held-out comparisons: figures with their arithmetic, and asking people again."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from annotation import effects, lead, scoring
from annotation.datasets import freeze_comparisons
from annotation.models import Comparison, Completion, DatasetItem, JournalEntry, Repeat, RewardScore, Standing, Task
from annotation.queue import claim_next
from studio.models import Guideline
from studio.runs.models import Run, RunInput


def compare(user, answers: list[Completion], order: str, **fields) -> Comparison:
    """A ranking of one prompt's answers a, b, c in words: "b>a=c"."""
    tiers = [[answers[ord(letter) - ord("a")].pk for letter in tier.split("=")] for tier in order.split(">")]
    ranked = [pk for tier in tiers for pk in tier]
    comparison = Comparison.objects.create(
        prompt=answers[0].prompt, annotator=user, tiers=tiers, shown_order=ranked, **fields
    )
    comparison.completions.set(ranked)
    return comparison


@pytest.fixture
def trained(project, engineer, sme, answers, make_artifact):
    """A reward model that was trained on a ranking of the first prompt; the second is its test split."""
    for n in (0, 1):
        compare(sme, answers[n], "a>b>c")
    dataset = freeze_comparisons(project, engineer, test_fraction=0.5)
    assert DatasetItem.objects.filter(artifact=dataset, split="train").count() == 3
    run = Run.objects.create(
        project=project, recipe_name="reward_model", title="Train", queue="gpu", created_by=engineer, status="succeeded"
    )
    RunInput.objects.create(run=run, role="dataset", artifact=dataset)
    return make_artifact("reward_model", "Judge", produced_by=run, role="reward_model")


def give_scores(model, answers: list[Completion], *values: float) -> None:
    for completion, value in zip(answers, values, strict=True):
        RewardScore.objects.create(model=model, completion=completion, value=value)


@pytest.fixture
def held_prompt(trained, prompts) -> int:
    """The index of the prompt of the two frozen ones that stands in the test split."""
    found = DatasetItem.objects.filter(artifact__used_by__run=trained.produced_by, split="test").first()
    return [p.pk for p in prompts].index(found.comparison.prompt_id)


class TestAccuracy:
    def test_what_was_trained_on_does_not_count(self, project, trained, held_prompt, answers, sme, annotator):
        late = compare(annotator, answers[1 - held_prompt], "a>b>c")  # of the trained conversation, made after training
        held = set(effects.held_out(project, effects.trained_roots(trained)))
        assert {c.prompt_id for c in held} == {answers[held_prompt][0].prompt_id}
        assert late not in held

    def test_accuracy_counts_pairs_and_leaves_ties_out(self, trained, held_prompt, answers, annotator, sme):
        compare(annotator, answers[2], "a>b=c")  # two pairs: a>b, a>c
        compare(annotator, answers[3], "c>b>a")  # three pairs: c>b, c>a, b>a
        compare(annotator, answers[4], "a=b=c")  # none
        for n in (2, 3, 4, held_prompt):
            give_scores(trained, answers[n], 1.0, 0.5, 0.5)
        found = effects.effects_of(trained)
        # test prompt, a>b>c: 1 > .5 right, 1 > .5 right, .5 = .5 half → 2.5 of 3
        # answers[2]: both right → 2 of 2.  answers[3]: c>b half, c>a wrong, b>a wrong → 0.5 of 3
        assert found.overall.accuracy.value == pytest.approx((2.5 + 2 + 0.5) / 8)
        assert (found.overall.accuracy.n, found.overall.accuracy.clusters, found.overall.comparisons) == (8, 3, 3)
        assert (found.held_out, found.unscored, found.trained_prompts, found.lineage_known) == (4, 1, 1, True)
        assert found.overall.accuracy.low <= found.overall.accuracy.value <= found.overall.accuracy.high
        by = {e.label: (e.accuracy.value, e.accuracy.n) for e in found.by_annotator}
        assert by["sme"] == (pytest.approx(2.5 / 3), 3) and by["annotator"] == (pytest.approx(2.5 / 5), 5)
        # strongest first: answers[3] puts c over a, which the model has the other way round by 1 - 0.5
        assert [(j.prompt, j.margin) for j in found.disputed] == [(answers[3][0].prompt_id, 0.5)]

    def test_parts_by_slice_guideline_agreement_and_time(
        self, project, trained, held_prompt, prompts, answers, annotator, sme, engineer, rank_queue, guideline
    ):
        Comparison.objects.filter(prompt=answers[held_prompt][0].prompt).update(withdrawn_at=timezone.now())
        type(prompts[3]).objects.filter(pk=prompts[3].pk).update(cluster="strings")
        second = Guideline.publish(project, "New", engineer)
        tasks = {t.prompt_id: t for t in Task.objects.filter(queue=rank_queue)}
        for n, orders in ((2, ("a>b>c", "a>b>c")), (3, ("a>b>c", "c>b>a"))):
            for user, order, version in zip((annotator, sme), orders, (guideline, second), strict=True):
                compare(user, answers[n], order, task=tasks[prompts[n].pk], guideline=version)
            give_scores(trained, answers[n], 3.0, 2.0, 1.0)
        old = compare(annotator, answers[4], "b>a>c", created_at=timezone.now() - timedelta(days=400))
        give_scores(trained, answers[4], 3.0, 2.0, 1.0)
        found = effects.effects_of(trained)
        slices = {e.label: (e.accuracy.value, e.accuracy.n) for e in found.by_slice}
        assert slices == {"lists": (pytest.approx(8 / 9), 9), "strings": (0.5, 6)}  # b>a>c: one pair of three is wrong
        levels = {e.label: e.accuracy.value for e in found.by_agreement}
        assert levels == {"All agree": 1.0, "Divided": 0.5, "Judged once": pytest.approx(2 / 3)}
        versions = [(e.label, e.accuracy.n) for e in found.by_guideline]
        assert versions == [("Version 2", 6), ("Version 1", 6), ("None", 3)]
        months = [e.label for e in found.by_time]
        assert months[0] == f"{old.created_at:%B %Y}" and len(months) == 2  # more than half a year: by month

    def test_who_is_excluded_or_took_consent_back_does_not_count(self, project, trained, answers, annotator):
        compare(annotator, answers[2], "a>b>c")
        give_scores(trained, answers[2], 3.0, 2.0, 1.0)
        assert effects.effects_of(trained).overall.comparisons == 1
        standing = Standing.objects.create(project=project, user=annotator, consent_withdrawn_at=timezone.now())
        assert effects.effects_of(trained).overall is None
        Standing.objects.filter(pk=standing.pk).update(consent_withdrawn_at=None, status="excluded")
        assert effects.effects_of(trained).overall is None

    def test_without_lineage_everything_counts_and_it_is_said(self, project, answers, annotator, make_artifact):
        foreign = make_artifact("reward_model", "From elsewhere")
        compare(annotator, answers[0], "a>b>c")
        give_scores(foreign, answers[0], 1.0, 2.0, 3.0)
        found = effects.effects_of(foreign)
        assert not found.lineage_known and found.overall.accuracy.value == 0.0

    def test_the_models_own_probability(self):
        assert effects.probability(0.0) == 0.5
        assert effects.probability(1.0) == pytest.approx(0.7311, abs=1e-4)  # 1 / (1 + e⁻¹)
        assert effects.probability(-5000.0) == 0.0


def test_agreement_levels_of_tasks():
    three = [[1], [2], [3]]
    levels = effects.agreement_levels(
        [
            (1, three), (1, three),  # the same: 3 of 3
            (2, three), (2, [[2], [1], [3]]),  # one pair of three the other way round: 2 of 3
            (3, three), (3, [[3], [2], [1]]),  # none
            (4, three),  # one judgement says nothing
            (None, three), (None, three),
        ]
    )  # fmt: skip
    assert levels == {1: "All agree", 2: "Most agree", 3: "Divided"}


class TestAskAgain:
    def test_others_are_asked_once_and_the_label_stays(
        self, project, trained, answers, rank_queue, annotator, sme, engineer
    ):
        task = Task.objects.get(queue=rank_queue, prompt=answers[2][0].prompt)
        one, two = (compare(u, answers[2], "c>b>a", task=task) for u in (annotator, sme))
        other = compare(annotator, answers[3], "c>b>a")
        made = effects.ask_again(trained, [one.pk, two.pk, other.pk], engineer)
        assert len(made) == 2  # the two of one task are one piece of work
        assert {c.pk for c in made[0].completions.all()} == {c.pk for c in answers[2]}
        assert made[0].queue.name == "Second opinion" and made[0].overlap == 1
        assert Repeat.objects.filter(reward_model=trained).count() == 3
        assert JournalEntry.objects.filter(act="asked again").count() == 3
        with pytest.raises(ValueError, match="sent to people before"):
            effects.ask_again(trained, [one.pk, other.pk], engineer)
        assert not Comparison.objects.filter(pk__in=[one.pk, two.pk]).exclude(withdrawn_at=None).exists()

    def test_who_made_it_is_not_given_it_again(self, project, trained, answers, annotator, sme, engineer):
        comparison = compare(annotator, answers[2], "c>b>a")
        (task,) = effects.ask_again(trained, [comparison.pk], engineer)
        assert claim_next(task.queue, annotator) is None
        with pytest.raises(ValueError, match="about a judgement of annotator"):
            lead.assign(task, annotator, engineer)
        assert claim_next(task.queue, sme).task == task

    def test_what_was_trained_on_is_not_asked(self, trained, held_prompt, answers, engineer):
        used = Comparison.objects.get(prompt=answers[1 - held_prompt][0].prompt)
        with pytest.raises(ValueError, match="not held out"):
            effects.ask_again(trained, [used.pk], engineer)


class TestScoring:
    def test_ranked_answers_are_frozen_with_their_ids_and_scored_once(
        self, project, trained, answers, sme, engineer, monkeypatch
    ):
        monkeypatch.setattr("studio.runs.submit.enqueue", lambda run: None)
        compare(sme, answers[4], "a>b>c")  # held out
        run = scoring.request_scores(project, trained, engineer)
        dataset = run.inputs.get(role="dataset").artifact
        assert dataset.metadata == {"type": "completions", "counts": {"train": 6, "test": 3}}
        assert set(DatasetItem.objects.filter(artifact=dataset).values_list("completion", flat=True)) == {
            c.pk for n in (0, 1, 4) for c in answers[n]
        }
        text = (dataset.directory / "train.jsonl").read_text()
        assert "Tortoise" not in text and '"model"' not in text  # whose answer it is stays unsaid
        with pytest.raises(ValueError, match=f"Run {run.pk} scores answers"):
            scoring.request_scores(project, trained, engineer)

        Run.objects.filter(pk=run.pk).update(status="succeeded")
        output = run.directory / "output/scores"
        output.mkdir(parents=True)
        lines = "".join(f'{{"completion_id": {c.pk}, "score": {c.pk}.5}}\n' for n in (0, 1, 4) for c in answers[n])
        (output / "scores.jsonl").write_text(lines + '{"completion_id": 999999, "score": 1.0}\n')
        type(trained).register(project, "dataset", "Scores", output, engineer, {}, produced_by=run, role="scores")
        for _ in range(2):  # a worker that crashed calls again
            scoring.import_scores_of(run)
        assert dict(RewardScore.objects.values_list("completion", "value")) == {
            c.pk: c.pk + 0.5 for n in (0, 1, 4) for c in answers[n]
        }
        with pytest.raises(ValueError, match="has scored every answer"):
            scoring.request_scores(project, trained, engineer)

    def test_scores_of_drawn_completions_come_by_line(self, project, trained, answers, make_artifact):
        drawn = make_artifact("completions", "Drawn")
        Completion.objects.filter(pk=answers[0][0].pk).update(artifact=drawn, line=4)
        lines = (
            f'{{"artifact": {drawn.pk}, "line": 4, "score": 0.25}}\n{{"artifact": {drawn.pk}, "line": 5, "score": 1}}\n'
        )
        scores = make_artifact("dataset", "Scores", {"scores.jsonl": lines})
        assert scoring.import_scores(scores, trained) == 1
        assert RewardScore.objects.get().value == 0.25 and RewardScore.objects.get().completion == answers[0][0]

    @pytest.mark.parametrize("line", ['{"score": 1}', '{"completion_id": 1}', '{"completion_id": 1, "score": "x"}'])
    def test_a_broken_file_is_refused(self, trained, make_artifact, line):
        scores = make_artifact("dataset", "Scores", {"scores.jsonl": line})
        with pytest.raises(ValueError, match="line 1"):
            scoring.import_scores(scores, trained)

    def test_only_reward_models_of_the_project(self, project, engineer, answers):
        with pytest.raises(ValueError, match="not a reward model"):
            scoring.request_scores(project, answers[0][0].model, engineer)
