"""The page about a reward model's accuracy: works / bad input / wrong role / wrong method."""

from __future__ import annotations

import pytest

from annotation.models import Comparison, Repeat, RewardScore
from studio.runs.models import Run
from tests.annotation.test_effects import compare, give_scores

URL = "/projects/helpdesk/quality/effects/"


@pytest.fixture
def judge(make_artifact, answers, annotator, sme):
    """A reward model without lineage that agrees on one prompt and disagrees on two, there with margins 1 and 2."""
    model = make_artifact("reward_model", "Judge")
    for n, order in ((0, "a>b"), (1, "b>a"), (2, "b>a")):
        compare(annotator if n else sme, answers[n], order)
    give_scores(model, answers[0], 1.0, 0.0, 0.0)
    give_scores(model, answers[1], 1.0, 0.0, 0.0)
    give_scores(model, answers[2], 2.0, 0.0, 0.0)
    return model


def test_it_shows_the_newest_scored_model_and_what_is_disputed(judge, make_artifact, engineer, client_for):
    bare = make_artifact("reward_model", "Without scores")
    client = client_for(engineer)
    shown = client.get(URL)
    assert shown.context["chosen"] == judge
    assert "33.3 %" in shown.text  # one pair of three
    assert "What this reward model was trained on is not known here" in shown.text
    assert [row["margin"] for row in shown.context["rows"]] == [2.0, 1.0]
    assert "88 %" in shown.text  # σ(2) = 0.881
    assert "No scores yet" in client.get(URL, {"model": bare.pk}).text


def test_an_empty_project_is_told_what_belongs_here(project, engineer, client_for):
    assert "No reward model yet" in client_for(engineer).get(URL).text


def test_queries_do_not_grow(judge, engineer, answers, sme, client_for, django_assert_max_num_queries):
    for n in (3, 4, 5):
        compare(sme, answers[n], "b>a")
        give_scores(judge, answers[n], 2.0, 0.0, 0.0)
    client = client_for(engineer)
    with django_assert_max_num_queries(15):
        client.get(URL)


def test_missing_answers_are_sent_to_a_run(judge, answers, sme, engineer, client_for, monkeypatch):
    monkeypatch.setattr("studio.runs.submit.enqueue", lambda run: None)
    compare(sme, answers[3], "a>b>c")
    client = client_for(engineer)
    assert "Score 3 ranked answers" in client.get(URL).text
    run_page = client.post(f"{URL}{judge.pk}/score/").url
    run = Run.objects.get()
    assert run.recipe_name == "score" and run_page.endswith(f"/runs/{run.pk}/")
    assert f"Run {run.pk}</a> scores answers" in client.get(URL).text
    again = client.post(f"{URL}{judge.pk}/score/", follow=True)
    assert "scores answers with this reward model already" in again.text and Run.objects.count() == 1


def test_the_strongest_go_back_to_people_once(judge, answers, engineer, client_for):
    client = client_for(engineer)
    said = client.post(f"{URL}{judge.pk}/ask-again/", {"count": 1, "overlap": 2}, follow=True)
    assert "1 task waits in “Second opinion”" in said.text and "Asked again" in said.text
    repeat = Repeat.objects.get()
    assert repeat.comparison == Comparison.objects.get(prompt=answers[2][0].prompt)
    assert repeat.task.overlap == 2
    client.post(f"{URL}{judge.pk}/ask-again/", {"count": 5, "overlap": 1})
    assert Repeat.objects.count() == 2
    done = client.post(f"{URL}{judge.pk}/ask-again/", {"count": 5, "overlap": 1}, follow=True)
    assert "sent to people before" in done.text and Repeat.objects.count() == 2


@pytest.mark.parametrize("data", [{}, {"count": 0, "overlap": 1}, {"count": 5, "overlap": 99}, {"count": "x"}])
def test_bad_input(judge, engineer, client_for, data):
    client = client_for(engineer)
    answer = client.post(f"{URL}{judge.pk}/ask-again/", data)
    assert answer.status_code == 422 and 'role="alert"' in answer.text
    assert not Repeat.objects.exists()


def test_unknown_models_are_not_found(judge, answers, engineer, client_for):
    client = client_for(engineer)
    for asked in ("999999", "x", "1" * 40):
        answer = client.get(URL, {"model": asked})
        assert answer.status_code == 404 and "no such reward model" in answer.text
    policy = answers[0][0].model  # a model, but no reward model
    for act in ("score", "ask-again"):
        assert client.post(f"{URL}{policy.pk}/{act}/", {"count": 1, "overlap": 1}).status_code == 404


def test_wrong_role_and_method(judge, sme, annotator, outsider, engineer, client_for):
    for user, status in ((sme, 403), (annotator, 403), (outsider, 404)):
        client = client_for(user)
        assert client.get(URL).status_code == status
        for act in ("score", "ask-again"):
            assert client.post(f"{URL}{judge.pk}/{act}/", {"count": 1, "overlap": 1}).status_code == status
    client = client_for(engineer)
    assert client.post(URL).status_code == 405
    assert client.get(f"{URL}{judge.pk}/score/").status_code == 405
    assert client.get(f"{URL}{judge.pk}/ask-again/").status_code == 405
    assert RewardScore.objects.count() == 9
