"""Agreement over rows: what counts, in which parts, and for whom."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from django.utils import timezone

from annotation import journal
from annotation.agreement import agreement_of, agreement_with_others
from annotation.comparisons import pairs
from annotation.models import Comparison, Gold, Standing, Task
from annotation.tasks import add_tasks, find_queue
from studio.models import Guideline, User

TIERS = {"abc": [[0], [1], [2]], "cba": [[2], [1], [0]], "acb": [[0], [2], [1]], "tie": [[0, 1, 2]]}


@pytest.fixture
def people(db) -> list[User]:
    return [User.objects.create_user(username=name) for name in ("Ada", "Ben", "Cleo")]


@pytest.fixture
def judge(rank_queue, prompts, answers):
    """`judge(number of the prompt, person, "abc")` files a ranking of its three answers."""
    tasks = {task.prompt_id: task for task in Task.objects.filter(queue=rank_queue)}

    def make(number: int, person: User, order: str, **fields) -> Comparison:
        ids = [c.pk for c in answers[number]]
        tiers = [[ids[place] for place in tier] for tier in TIERS[order]]
        row = Comparison.objects.create(
            prompt=prompts[number], annotator=person, shown_order=ids, tiers=tiers,
            **{"task": tasks[prompts[number].pk], **fields},
        )  # fmt: skip
        row.completions.set(answers[number])
        return row

    return make


def test_in_all_by_part_and_by_person(project, people, judge, prompts, rank_queue):
    """Prompt 0: abc, abc, cba; prompt 1: abc, acb. Verdicts between two people: 3 pairs · 3 + 1 · 3 = 12.

    Agreeing: prompt 0: Ada and Ben 3, the others 0; prompt 1: two of three. 5 of 12.
    """
    ada, ben, cleo = people
    for person, order in ((ada, "abc"), (ben, "abc"), (cleo, "cba")):
        judge(0, person, order)
    judge(1, ada, "abc")
    judge(1, ben, "acb")
    judge(2, ada, "abc")  # alone
    found = agreement_of(project)
    assert found.overall.percent.value == pytest.approx(5 / 12) and found.overall.percent.n == 12
    assert (found.overall.judgements, found.overall.items, found.overall.people) == (5, 2, 3)
    assert found.overall.tau.value == pytest.approx((1 - 1 - 1 + 1 / 3) / 4)
    assert [(s.label, s.agreement.percent.n) for s in found.clusters] == [("lists", 12)]
    assert [(s.label, s.key) for s in found.queues] == [(rank_queue.name, rank_queue.pk)]
    assert [s.label for s in found.guidelines] == ["No guideline"]
    by_person = {s.label: s.agreement for s in found.annotators}
    # Ben: with Ada 3 + 2 of 6, with Cleo 0 of 3
    assert by_person["Ben"].percent.value == pytest.approx(5 / 9)
    assert by_person["Cleo"].percent.value == 0 and by_person["Cleo"].kappa.value == pytest.approx(-1)
    by_pair = {s.label: s.agreement for s in found.pairs}
    assert by_pair["Ada and Ben"].percent.value == pytest.approx(5 / 6) and by_pair["Ada and Ben"].items == 2
    assert found.of_annotator(ben) == by_person["Ben"] and found.of_annotator(User(pk=0)) is None
    assert [(i.prompt, i.judgements, i.percent) for i in found.items] == [
        (prompts[0].pk, 3, pytest.approx(3 / 9)),
        (prompts[1].pk, 2, pytest.approx(2 / 3)),
    ]
    assert json.loads(json.dumps(found.as_dict()))["overall"]["percent_agreement"]["n"] == 12


def test_what_does_not_count(project, people, judge, engineer, rank_queue, prompts, answers):
    ada, ben, cleo = people
    judge(0, ada, "abc")
    judge(0, ben, "abc")
    judge(0, cleo, "cba", surplus=True)
    judge(1, ada, "abc")
    judge(1, ben, "cba", withdrawn_at=timezone.now())
    gold_task = judge(2, ada, "abc").task
    judge(2, ben, "cba")
    Gold.objects.create(task=gold_task, tiers=[[1], [2]], created_by=engineer)
    disputed = judge(3, ada, "abc").task
    settling = find_queue(project, "adjudicate")
    (task,) = add_tasks(settling, [(prompts[3], answers[3])])
    Task.objects.filter(pk=task.pk).update(adjudicates=disputed)
    judge(3, ben, "cba", task=task)
    assert agreement_of(project).overall.percent.value == 1
    assert agreement_of(project).overall.items == 1


@pytest.mark.parametrize("fields", [{"status": "excluded"}, {"consent_withdrawn_at": timezone.now()}])
def test_people_whose_labels_do_not_count(project, people, judge, fields):
    ada, ben, cleo = people
    for person, order in ((ada, "abc"), (ben, "abc"), (cleo, "cba")):
        judge(0, person, order)
    assert agreement_of(project).overall.percent.value == pytest.approx(1 / 3)
    Standing.objects.create(project=project, user=cleo, **fields)
    assert agreement_of(project).overall.percent.value == 1


def test_by_guideline_version_over_time_and_filters(project, owner, people, judge, rank_queue):
    ada, ben, _ = people
    versions = [Guideline.publish(project, f"# Version {n}", owner, "Change") for n in (1, 2)]
    now = timezone.now()
    judge(0, ada, "abc", guideline=versions[0], created_at=now - timedelta(days=100))
    judge(0, ben, "cba", guideline=versions[0], created_at=now - timedelta(days=100))
    judge(1, ada, "abc", guideline=versions[1])
    judge(1, ben, "abc", guideline=versions[1])
    judge(2, ada, "abc", guideline=versions[1])
    judge(2, ben, "abc", guideline=versions[0])  # under another version: in no version's figure
    found = agreement_of(project)
    assert {s.label: (s.agreement.percent.value, s.agreement.items) for s in found.guidelines} == {
        "Version 1": (0, 1),
        "Version 2": (1, 1),
    }
    assert found.step == "week"
    assert [(p.agreement.percent.value, p.agreement.items) for p in found.periods] == [(0, 1), (1, 2)]
    assert all(p.start <= p.end and p.start.weekday() == 0 for p in found.periods)
    assert agreement_of(project, days=30).overall.percent.value == 1
    assert agreement_of(project, queue=rank_queue.pk).overall.items == 3
    assert agreement_of(project, queue=find_queue(project, "rank", "other").pk).overall.items == 0
    with pytest.raises(ValueError, match="no such queue"):
        agreement_of(project, queue=0)
    with pytest.raises(ValueError, match="Days"):
        agreement_of(project, days=0)


def test_only_the_newest_and_saying_so(project, people, judge):
    for number in range(3):
        for person in people:
            judge(number, person, "abc")
    found = agreement_of(project, limit=6)
    assert found.read == 6 and found.is_cut and found.overall.items == 2
    assert found.as_dict()["newest_only"] == 6
    assert not agreement_of(project).is_cut


def test_is_counted_once_until_something_happens(project, people, judge, django_assert_max_num_queries):
    ada, ben, _ = people
    judge(0, ada, "abc")
    label = judge(0, ben, "abc")
    assert agreement_of(project).overall.percent.value == 1
    with django_assert_max_num_queries(3):
        assert agreement_of(project).overall.percent.value == 1
    Comparison.objects.filter(pk=label.pk).update(tiers=label.tiers[::-1], revision=2)
    journal.record(project, ben, "edited", label)
    assert agreement_of(project).overall.percent.value == 0


def test_figures_of_many_comparisons_are_kept_for_a_while(project, people, judge, monkeypatch):
    ada, ben, cleo = people
    judge(0, ada, "abc")
    judge(0, ben, "abc")
    monkeypatch.setattr("annotation.agreement.MANY", 1)
    before = agreement_of(project)
    judge(0, cleo, "cba")
    assert agreement_of(project) == before
    monkeypatch.setattr("annotation.agreement.KEPT_WITH_MANY", 0)
    assert agreement_of(project).overall.people == 3


def test_my_own(project, people, judge, django_assert_max_num_queries):
    ada, ben, cleo = people
    for person, order in ((ada, "abc"), (ben, "abc"), (cleo, "cba")):
        judge(0, person, order)
    with django_assert_max_num_queries(2):
        mine = agreement_with_others(project, ada)
    assert mine.percent.value == 0.5 and mine.percent.n == 6 and mine.people == 3
    assert agreement_with_others(project, cleo).percent.value == 0
    nobody = agreement_with_others(project, User.objects.create_user(username="New"))
    assert nobody.percent is None and nobody.judgements == 0


def test_imported_rankings_of_the_same_answers_are_compared(project, people, judge):
    ada, ben, cleo = people
    judge(0, ada, "abc", task=None, source="file")
    judge(0, ben, "tie", task=None, source="file")
    found = agreement_of(project)
    assert found.overall.percent.value == 0 and found.overall.tau is None  # one of the two ties everything
    assert [s.label for s in found.queues] == ["Imported, in no queue"]
    assert pairs(Comparison.objects.get(annotator=ben).tiers) == []
