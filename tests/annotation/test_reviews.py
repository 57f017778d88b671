import pytest

from annotation.models import Claim, Comparison, Completion, Kind
from annotation.queue import claim_next
from annotation.reviews import close_review, judgements, start_review, win_rate_of, win_rates
from annotation.statistics.intervals import win_rate
from annotation.submit import submit_ranking
from annotation.withdraw import withdraw
from studio.runs.models import Artifact


@pytest.fixture
def models(answers):
    return [Artifact.objects.get(name=name) for name in ("Tortoise", "Hare", "Fox")]


def judge(review, user, order):
    """Rank every task of the review by the models' names: [["Hare"], ["Tortoise", "Fox"]]."""
    while claim := claim_next(review.queue, user):
        rank_as(claim, order)


def rank_as(claim, order):
    names = {c.pk: c.model.name for c in claim.task.completions.all()}
    letters = {names[pk]: letter for letter, pk in claim.letters.items()}
    return submit_ranking(claim, [[letters[name] for name in tier] for tier in order])


def test_a_review_queues_each_held_out_prompt(project, engineer, models, prompts):
    review = start_review(project, engineer, "Round 1", models, overlap=2)
    assert [t.prompt for t in review.tasks.all()] == prompts[4:]
    assert review.queue.kind == Kind.REVIEW and review.queue.slots.count() == 4
    assert {c.model for c in review.tasks.first().completions.all()} == set(models)


def test_the_newest_completions_are_taken_in_turn(project, engineer, models, prompts):
    newer = {m.pk: Completion.objects.create(prompt=prompts[4], text=f"Newer {m.pk}", model=m) for m in models[:2]}
    once = start_review(project, engineer, "Newest", models[:2])
    assert set(once.tasks.get(prompt=prompts[4]).completions.all()) == set(newer.values())
    twice = start_review(project, engineer, "Both", models[:2], per_prompt=2)
    assert twice.tasks.filter(prompt=prompts[4]).count() == 2 and twice.tasks.filter(prompt=prompts[5]).count() == 1
    narrowed = start_review(
        project, engineer, "Older", models[:2], completions=Completion.objects.exclude(text__startswith="Newer")
    )
    assert not set(narrowed.tasks.get(prompt=prompts[4]).completions.all()) & set(newer.values())


def test_win_rate_arithmetic(project, engineer, models, annotator, sme):
    """Two prompts, two people. Hare against Tortoise: won, won, tied, lost → (2 + ½) / 4."""
    review = start_review(project, engineer, "Round 1", models, overlap=2)
    first, second = review.tasks.all()
    verdicts = {
        (annotator, first.pk): [["Hare"], ["Tortoise"], ["Fox"]],
        (sme, first.pk): [["Hare"], ["Tortoise", "Fox"]],
        (annotator, second.pk): [["Hare", "Tortoise"], ["Fox"]],
        (sme, second.pk): [["Fox"], ["Tortoise"], ["Hare"]],
    }
    for user in (annotator, sme):
        while claim := claim_next(review.queue, user):
            rank_as(claim, verdicts[user, claim.task_id])
    tortoise, hare, fox = models
    rate = win_rate_of(judgements(review), hare, tortoise)
    assert (rate.wins, rate.ties, rate.losses) == (2, 1, 1)
    assert rate.rate.value == 2.5 / 4 and (rate.rate.n, rate.rate.clusters) == (4, 2)
    assert rate.rate == win_rate([1, 1, 0.5, 0], [1, 1, 2, 2])
    assert [(r.first, r.second) for r in win_rates(review)] == [(hare, tortoise), (fox, tortoise), (fox, hare)]
    fox_tortoise = win_rates(review)[1]  # lost, tied, lost, won
    assert (fox_tortoise.wins, fox_tortoise.ties, fox_tortoise.losses) == (1, 1, 2)


def test_the_table_goes_down_to_each_judgement(project, engineer, models, annotator):
    review = start_review(project, engineer, "Round 1", models)
    judge(review, annotator, [["Fox"], ["Tortoise", "Hare"]])
    found = judgements(review)
    assert len(found) == 2
    for judgement in found:
        assert [[c.model.name for c in tier] for tier in judgement.tiers][0] == ["Fox"]
        assert {c.model.name for c in judgement.tiers[1]} == {"Tortoise", "Hare"}
        assert judgement.comparison.annotator == annotator and judgement.comparison.review == review


def test_withdrawn_and_surplus_judgements_do_not_count(project, engineer, models, annotator):
    review = start_review(project, engineer, "Round 1", models)
    judge(review, annotator, [["Fox"], ["Tortoise", "Hare"]])
    withdraw(Comparison.objects.first(), annotator, "Mixed up")
    Comparison.objects.filter(withdrawn_at=None).update(surplus=True)
    assert judgements(review) == [] and win_rates(review) == []


def test_closing_keeps_what_was_judged(project, engineer, models, annotator, sme):
    review = start_review(project, engineer, "Round 1", models, overlap=2)
    rank_as(claim_next(review.queue, annotator), [["Fox"], ["Hare"], ["Tortoise"]])
    half_done = claim_next(review.queue, annotator)
    close_review(review)
    assert review.status == "closed" and claim_next(review.queue, sme) is None
    assert not rank_as(half_done, [["Fox"], ["Hare"], ["Tortoise"]]).surplus  # begun before the end
    assert len(judgements(review)) == 2 and not Claim.objects.filter(status="live").exists()


def test_refusals(project, engineer, models, prompts, make_artifact):
    with pytest.raises(ValueError, match="two or more different models"):
        start_review(project, engineer, "One", models[:1])
    with pytest.raises(ValueError, match="two or more different models"):
        start_review(project, engineer, "Twice", [models[0], models[0]])
    with pytest.raises(ValueError, match="models of this project"):
        start_review(project, engineer, "Odd", [models[0], make_artifact("corpus", "Corpus")])
    with pytest.raises(ValueError, match="Without completions there: Silent"):
        start_review(project, engineer, "Silent", [models[0], make_artifact("model", "Silent")])
    with pytest.raises(ValueError, match="name"):
        start_review(project, engineer, " ", models)
    start_review(project, engineer, "Once", models)
    with pytest.raises(ValueError, match="already"):
        start_review(project, engineer, "Once", models)


def test_reading_a_review_takes_few_queries(project, engineer, models, annotator, django_assert_max_num_queries):
    review = start_review(project, engineer, "Round 1", models)
    judge(review, annotator, [["Fox"], ["Tortoise", "Hare"]])
    with django_assert_max_num_queries(5):
        win_rates(review)
