"""Disagreements and how they are settled."""

from __future__ import annotations

import pytest
from django.db import IntegrityError, transaction

from annotation import lead
from annotation.gold_items import adjudicated_tasks, make_gold, unanimous_tasks
from annotation.models import Comparison, JournalEntry, Kind, Task
from annotation.progress import waiting_for
from annotation.queue import claim_next
from annotation.settling import (
    disagreement,
    disputes,
    earlier_judgements,
    judged_tasks,
    measure,
    send_to_adjudication,
    slices,
)
from annotation.standing import MayNotWork, set_standing
from annotation.submit import submit_ranking
from annotation.withdraw import withdraw
from studio.models import Membership, Role
from tests.annotation.judging import judge_all


@pytest.mark.parametrize(
    ("rankings", "expected"),
    [
        ([[[1], [2], [3]]] * 3, 0.0),
        ([[[1], [2], [3]], [[3], [2], [1]]], 1.0),
        ([[[1], [2], [3]], [[1], [3], [2]]], 1 / 3),  # of three pairs of answers, 2–3 differs
        ([[[1], [2]], [[1, 2]]], 0.5),  # a tie against an order
        ([[[1], [2]], [[1], [2]], [[2], [1]]], 2 / 3),  # two of three pairs of people differ
        ([[[1], [2], [3]], [[2], [3]]], 0.0),  # answer 1 was set aside by one: only 2–3 counts
        ([[[1], [2]], [[1]]], None),
        ([[[1], [2]]], None),
    ],
)
def test_disagreement(rankings, expected):
    assert disagreement(rankings) == pytest.approx(expected) if expected is not None else disagreement(rankings) is None


def test_the_most_disputed_come_first(rank_queue, annotator, sme, project):
    judge_all(rank_queue, annotator)
    claim = claim_next(rank_queue, sme)
    a, b, c = sorted(claim.letters, key=claim.letters.get)
    submit_ranking(claim, [[c], [b], [a]])
    judge_all(rank_queue, sme)
    found = measure(judged_tasks(project))
    assert [m.value for m in found] == [1, 0, 0, 0] and found[0].task == claim.task_id
    assert [(s.cluster, s.tasks, s.disputed, s.mean) for s in slices(found)] == [("lists", 4, 1, 0.25)]
    assert judged_tasks(project, before=found[0].task) == sorted(
        (m.task for m in found if m.task < found[0].task), reverse=True
    )


def test_withdrawn_judgements_do_not_disagree(disputed, project, annotator):
    for label in Comparison.objects.filter(annotator=annotator):
        withdraw(label, annotator, "Misread")
    assert judged_tasks(project) == []


def test_an_sme_who_did_not_judge_settles_it(disputed, project, engineer, sme, annotator):
    original = measure(judged_tasks(project))[0].task
    (task,) = send_to_adjudication(project, [original], engineer)
    assert (task.queue.kind, task.overlap, task.adjudicates_id) == (Kind.ADJUDICATE, 1, original)
    assert JournalEntry.objects.get(act="sent to adjudication").task_id == original
    assert claim_next(task.queue, sme) is None  # it is about the SME's own judgement
    with pytest.raises(MayNotWork, match="settled by subject-matter experts"):
        claim_next(task.queue, annotator)
    claim = claim_next(task.queue, engineer)
    seen = earlier_judgements(claim)
    a, b, c = (letter.upper() for letter in sorted(claim.letters, key=claim.letters.get))
    assert {j.words for j in seen} == {f"{a} › {b} › {c}", f"{c} › {b} › {a}"}
    assert {j.rationale for j in seen} == {"", "Shorter is *better*."}
    settled = submit_ranking(claim, [[a.lower()], [b.lower(), c.lower()]])
    dispute = disputes(measure([original]))[0]
    assert dispute.settled == settled and len(dispute.judgements) == 2
    assert Comparison.objects.filter(task=original, withdrawn_at=None).count() == 2  # the originals stay
    assert original in judged_tasks(project) and task.pk not in judged_tasks(project)


def test_nothing_is_kept_for_somebody_whose_own_judgement_it_is_about(disputed, project, engineer, sme):
    original = measure(judged_tasks(project))[0].task
    (task,) = send_to_adjudication(project, [original], engineer)
    with pytest.raises(ValueError, match="about a judgement of sme"):
        lead.assign(task, sme, engineer)
    lead.assign(task, engineer, engineer)
    assert claim_next(task.queue, engineer).task == task


def test_a_task_is_settled_once(disputed, project, engineer):
    first, second = [m.task for m in measure(judged_tasks(project))][:2]
    send_to_adjudication(project, [first], engineer)
    assert {m.task: m.is_sent for m in measure([first, second])} == {first: True, second: False}
    for tasks, problem in (
        ([first], "sent to adjudication already"),
        ([], "at least one"),
        ([10**6], "no two judgements"),
    ):
        with pytest.raises(ValueError, match=problem):
            send_to_adjudication(project, tasks, engineer)
    adjudication = Task.objects.get(adjudicates=first)
    with pytest.raises(IntegrityError), transaction.atomic():  # two leads at the same moment
        Task.objects.create(queue=adjudication.queue, prompt=adjudication.prompt, adjudicates_id=first)
    Task.objects.filter(pk=adjudication.pk).update(status="withdrawn")
    send_to_adjudication(project, [first], engineer)


def test_other_work_has_no_earlier_judgements(rank_queue, annotator, django_assert_num_queries):
    claim = claim_next(rank_queue, annotator)
    with django_assert_num_queries(0):
        assert earlier_judgements(claim) == []


def test_what_all_agree_on_and_what_was_settled_suggest_gold(
    rank_queue, project, annotator, sme, engineer, owner, make_artifact
):
    Task.objects.update(overlap=3)
    for task in rank_queue.tasks.all():
        task.slots.create(number=2, queue=rank_queue)
    for user in (annotator, sme, engineer):
        judge_all(rank_queue, user)
    found = unanimous_tasks(project)
    assert len(found) == 4 and found[0].judges == 3
    assert [c.pk for c in found[0].task.completions.order_by("pk")] == [pk for (pk,) in found[0].tiers]
    make_gold(found[0].task, found[0].tiers, engineer)
    assert len(unanimous_tasks(project)) == 3
    settled = send_to_adjudication(project, [found[1].task.pk], engineer)[0]
    claim = claim_next(settled.queue, owner)
    submit_ranking(claim, [["b"], ["a", "c"]])
    (candidate,) = adjudicated_tasks(project)
    assert candidate.task == settled and len(candidate.tiers) == 2


def test_whoever_is_no_expert_any_more_does_not_read_what_others_said(
    disputed, project, engineer, owner, client_for, call
):
    (task,) = send_to_adjudication(project, [measure(judged_tasks(project))[0].task], engineer)
    claim = claim_next(task.queue, engineer)
    page = f"/projects/helpdesk/annotate/work/{claim.pk}/"
    assert client_for(engineer).get(page).status_code == 200
    Membership.objects.filter(user=engineer).update(role=Role.ANNOTATOR)
    assert client_for(engineer).get(page).status_code == 403
    assert call(engineer, "GET", f"/claims/{claim.pk}").status_code == 403
    body = {"tiers": [[letter] for letter in claim.letters]}
    assert call(engineer, "POST", f"/claims/{claim.pk}/submit", body, **{"Idempotency-Key": "k"}).status_code == 403
    assert waiting_for([task.queue], engineer) == {task.queue_id: 1}  # what was begun; nothing new
    assert claim_next(task.queue, owner) is None  # it is held until the lease ends


def test_those_who_are_shut_out_do_not_disagree(disputed, project, annotator, engineer):
    assert judged_tasks(project)
    set_standing(project, annotator, "excluded", "Random answers.", engineer)
    assert judged_tasks(project) == [] and measure([disputed.tasks.first().pk]) == []
