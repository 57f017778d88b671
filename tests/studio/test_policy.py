"""Choosing the model that the next round starts from. Works / bad input / wrong role / wrong method."""

from __future__ import annotations

import pytest
from django.conf import settings
from django.urls import reverse

from studio.models import Project, Round
from studio.policy import set_policy
from studio.runs.models import Artifact


def make(project: Project, user, name: str, kind: str = "model") -> Artifact:
    directory = settings.VAR / "policies-under-test" / f"{project.slug}-{name}"
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text("{}")
    return Artifact.register(project, kind, name, directory, user, {"uploaded": True})


@pytest.fixture
def model(project, engineer) -> Artifact:
    return make(project, engineer, "tuned")


def address(artifact: Artifact) -> str:
    return reverse("runs:set-policy", args=["helpdesk", artifact.pk])


def page(artifact: Artifact) -> str:
    return reverse("runs:artifact", args=["helpdesk", artifact.pk])


@pytest.mark.parametrize("who", ["engineer", "owner"])
def test_a_model_becomes_the_policy(who, project, model, client_for, request):
    client = client_for(request.getfixturevalue(who))
    assert address(model) in client.get(page(model)).content.decode()
    shown = client.post(address(model), {"replaces": ""}, follow=True).content.decode()
    project.refresh_from_db()
    assert project.policy == model
    choice = project.policy_choices.get()
    assert (choice.policy, choice.replaced, choice.round, choice.chosen_by.username) == (model, None, None, who)
    assert "chose it as the project's policy by hand" in shown
    assert "is the project&#x27;s policy now" in shown and address(model) not in shown  # no button for what is so


def test_it_replaces_the_one_that_was_seen(project, model, engineer):
    other = make(project, engineer, "other")
    set_policy(project, model, None, engineer)
    with pytest.raises(ValueError, match="chose another policy meanwhile"):
        set_policy(project, other, None, engineer)  # the page was opened before the first choice
    set_policy(project, other, model.pk, engineer)
    project.refresh_from_db()
    assert project.policy == other
    assert [(c.policy, c.replaced) for c in project.policy_choices.all()] == [(other, model), (model, None)]


def test_a_round_under_way_is_not_undermined(project, model, engineer, client_for):
    set_policy(project, model, None, engineer)
    round = Round.objects.create(project=project, number=1, start_policy=model, created_by=engineer)
    other = make(project, engineer, "other")
    shown = client_for(engineer).post(address(other), {"replaces": model.pk}, follow=True).content.decode()
    assert "Round 1 is under way and ends with a promotion" in shown
    Round.objects.filter(pk=round.pk).update(status="closed")
    set_policy(project, other, model.pk, engineer)


def test_only_the_projects_own_models(project, engineer, client_for):
    dataset = make(project, engineer, "rows", kind="dataset")
    assert address(dataset) not in client_for(engineer).get(page(dataset)).content.decode()
    shown = client_for(engineer).post(address(dataset), follow=True).content.decode()
    assert "only a model can be its policy" in shown
    elsewhere = make(Project.objects.create(slug="elsewhere", name="Elsewhere"), engineer, "foreign")
    assert client_for(engineer).post(address(elsewhere)).status_code == 404
    with pytest.raises(ValueError, match="not a model of this project"):
        set_policy(project, elsewhere, None, engineer)


def test_experts_and_annotators_do_not_choose(project, model, sme, annotator, client_for):
    assert address(model) not in client_for(sme).get(page(model)).content.decode()
    for user in (sme, annotator):
        assert client_for(user).post(address(model)).status_code == 403
    project.refresh_from_db()
    assert project.policy is None


def test_choosing_is_posted(model, engineer, client_for):
    assert client_for(engineer).get(address(model)).status_code == 405
