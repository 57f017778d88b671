"""Probes: assigned or taken by one person, counted, concluded."""

from __future__ import annotations

import pytest

from annotation import probe
from annotation.failures import add_class, add_example
from annotation.merging import merge
from annotation.models import FailureClass, JournalEntry, Probe
from annotation.withdraw import withdraw
from studio.models import Membership, Project, Role, User
from studio.runs.models import Artifact
from tests.annotation.test_concurrency import in_threads


@pytest.fixture
def rambles(project, sme) -> FailureClass:
    return add_class(project, "Rambles", sme)


@pytest.fixture
def model(answers) -> Artifact:
    return answers[0][0].model


def test_only_what_its_assignee_has_found_since_counts(rambles, model, answers, sme, engineer, project):
    add_example(rambles, answers[0][0], sme, correction="Before it was asked for.")
    work = probe.assign(rambles, model, engineer, wanted=2, assignee=sme)
    counted = add_example(rambles, answers[1][0], sme, correction="Shorter.")
    add_example(rambles, answers[2][1], sme, correction="Of another model.")
    add_example(rambles, answers[2][0], engineer, correction="By somebody else.")
    add_example(add_class(project, "Invents", sme), answers[3][0], sme, correction="Of another class.")
    assert list(probe.examples_of(work)) == [counted]
    assert [p.found for p in probe.with_found([work])] == [1]
    withdraw(counted, sme, "It was fine.")
    assert probe.found(work) == 0


def test_what_moved_with_a_merge_still_counts(rambles, model, answers, sme, engineer, project):
    work = probe.assign(rambles, model, engineer, assignee=sme)
    add_example(rambles, answers[1][0], sme, correction="Shorter.")
    goes_on = add_class(project, "Goes on", sme)
    merge(rambles, goes_on, engineer)
    merge(goes_on, add_class(project, "Never stops", sme), engineer)
    work = Probe.objects.select_related("failure_class").get(pk=work.pk)
    assert probe.found(work) == 1 == probe.with_found([work])[0].found


def test_taken_given_up_and_concluded(rambles, model, sme, engineer, owner):
    work = probe.assign(rambles, model, engineer)
    assert probe.take(work, sme)
    assert not probe.take(work, owner)
    assert probe.take(work, sme)  # again: it is theirs
    assert not probe.give_up(work, owner)
    assert probe.give_up(work, sme)
    assert probe.take(work, owner)
    work.refresh_from_db()
    with pytest.raises(ValueError, match="Say what you found"):
        probe.conclude(work, owner, " ")
    with pytest.raises(ValueError, match="not yours"):
        probe.conclude(work, sme, "Nothing.")
    probe.conclude(work, owner, "I asked ten things and it never rambled.", state="fixed")
    work.refresh_from_db()
    assert (work.status, work.conclusion[:5]) == ("done", "I ask")
    assert (rambles.statuses.get().state, rambles.statuses.get().note) == ("fixed", f"Probe {work.pk}")
    with pytest.raises(ValueError, match="it is over"):
        probe.conclude(work, owner, "Again.")
    assert not probe.withdraw(work, engineer)
    acts = list(JournalEntry.objects.filter(detail__probe=work.pk).order_by("id").values_list("act", flat=True))
    assert acts == [
        "probe assigned", "probe taken", "probe given up", "probe taken", "probe concluded",
    ]  # fmt: skip


def test_probes_that_cannot_be_assigned(rambles, model, engineer, annotator, make_artifact, sme, project):
    for arguments, sentence in (
        ({"wanted": 0}, "1 to 100"),
        ({"assignee": annotator}, "is no SME"),
        ({"model": make_artifact("corpus", "Text")}, "a model of this project"),
    ):
        with pytest.raises(ValueError, match=sentence):
            probe.assign(rambles, lead=engineer, **({"model": model} | arguments))
    merge(rambles, add_class(project, "Goes on", sme), engineer)
    rambles.refresh_from_db()
    with pytest.raises(ValueError, match="was merged"):
        probe.assign(rambles, model, engineer)
    assert not Probe.objects.exists()


def assert_one_person_gets_it(model: Artifact, lead: User) -> None:
    """Eight people reach for a free probe: one gets it."""
    project = model.project
    people = [User.objects.create(username=f"person{i}") for i in range(8)]
    for user in people:
        Membership.objects.create(project=project, user=user, role=Role.SME)
    work = probe.assign(add_class(project, "Rambles", lead), model, lead)
    assert sum(in_threads(lambda user: probe.take(work, user), people)) == 1
    assert JournalEntry.objects.filter(act="probe taken").count() == 1


@pytest.mark.postgres
def test_many_hands_on_postgres(on_postgres):
    lead = User.objects.create(username="lead")
    project = Project.objects.create(slug="crowd", name="Crowd")
    assert_one_person_gets_it(
        Artifact.objects.create(project=project, kind="model", name="Hare", path="x", size_bytes=1, created_by=lead),
        lead,
    )


@pytest.mark.django_db(transaction=True)
def test_many_hands_on_one_file(project, engineer, make_artifact):
    assert_one_person_gets_it(make_artifact("model", "Hare"), engineer)
