"""The pages of lineage. Works / bad input / wrong role / wrong method."""

from __future__ import annotations

import pytest
from django.urls import reverse

from annotation.models import Comparison, Demonstration
from evaluation import lineage_views
from studio.models import Project, User
from studio.runs.models import Artifact, Run
from tests.showcase import build_showcase


@pytest.fixture
def showcase(db) -> Project:
    return build_showcase()


@pytest.fixture
def policy(showcase) -> Artifact:
    return Run.objects.get(recipe_name="ppo").outputs.get()


@pytest.fixture
def sign_in(client_for):
    return lambda name: client_for(User.objects.get(username=name))


def url(name: str, *arguments) -> str:
    return reverse(f"evaluation:{name}", args=["showcase", *arguments])


def words(response) -> str:
    return " ".join(response.content.decode().split())


def test_the_picture_and_the_list_show_both_ways(showcase, sign_in, django_assert_max_num_queries):
    sft = Run.objects.get(recipe_name="sft", status="succeeded").outputs.get()
    client = sign_in("sme")
    with django_assert_max_num_queries(15):
        shown = words(client.get(url("lineage", sft.pk)))
    picture, listed = shown.split('<svg class="lineage-graph"')[1].split("What it came from</h2>")
    for artifact in Artifact.objects.filter(pk__in=(sft.pk, sft.pk - 1)):
        assert reverse("runs:artifact", args=["showcase", artifact.pk]) in picture
    for recipe in ("import_model", "ppo", "reward_model", "evaluate", "bias"):
        run = reverse("runs:detail", args=["showcase", Run.objects.get(recipe_name=recipe).pk])
        assert run in picture and run in listed
    assert "6 demonstrations" in picture and "6 demonstrations" in listed and "comparisons" in picture
    assert "style=" not in shown.split("<main", 1)[1]
    assert "Every link is recorded" in shown and url("check-files", sft.pk) not in shown  # engineers check


def test_broken_links_are_listed(policy, sign_in):
    Run.objects.filter(outputs=policy).update(status="failed")
    assert "1 broken link" in words(sign_in("sme").get(url("lineage", policy.pk)))


def test_files_are_checked_on_request(policy, sign_in, django_assert_max_num_queries):
    client = sign_in("engineer")
    assert url("check-files", policy.pk) in words(client.get(url("lineage", policy.pk)))
    part = words(client.post(url("check-files", policy.pk), headers={"HX-Request": "true"}))
    assert "<html" not in part and "are those that were registered" in part
    (policy.directory / "config.json").write_text("{}")
    assert "are not those that were registered" in words(client.post(url("check-files", policy.pk)))


def test_many_files_are_left_to_the_shell(policy, sign_in, monkeypatch):
    monkeypatch.setattr(lineage_views, "CHECKED_BYTES", 1)
    (policy.directory / "config.json").write_text("{}")
    client = sign_in("engineer")
    assert f"manage.py trace {policy.pk}" in words(client.get(url("lineage", policy.pk)))
    assert "Every link is recorded" in words(client.post(url("check-files", policy.pk)))  # and nothing was hashed


def test_a_label_names_datasets_models_and_reports(showcase, sign_in, django_assert_max_num_queries):
    client = sign_in("sme")
    for label in (Demonstration.objects.first(), Comparison.objects.exclude(dataset_items=None).first()):
        with django_assert_max_num_queries(15):
            shown = words(client.get(url("label-lineage", label._meta.model_name, label.pk)))
        assert "PPO model" in shown and f"What used {label}".lower() in shown.lower()
    unused = Comparison.objects.filter(dataset_items=None).first()
    assert "Nothing has used it" in words(client.get(url("label-lineage", "comparison", unused.pk)))


def test_what_is_not_there_is_not_found(showcase, sign_in, outsider, client_for):
    client = sign_in("owner")
    for address in (url("lineage", 99999), url("label-lineage", "comparison", 99999), url("label-lineage", "thing", 1)):
        assert client.get(address).status_code == 404
    assert client_for(outsider).get(url("lineage", 1)).status_code == 404


def test_annotators_do_not_learn_the_models(policy, sign_in):
    client = sign_in("annotator")
    label = Comparison.objects.first()
    assert client.get(url("lineage", policy.pk)).status_code == 403
    assert client.get(url("label-lineage", "comparison", label.pk)).status_code == 403


def test_checking_is_posted_by_engineers(policy, sign_in):
    assert sign_in("sme").post(url("check-files", policy.pk)).status_code == 403
    assert sign_in("engineer").get(url("check-files", policy.pk)).status_code == 405
    assert sign_in("engineer").post(url("lineage", policy.pk)).status_code == 405
