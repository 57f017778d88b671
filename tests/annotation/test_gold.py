"""Gold items: who meets them and when, what they score, and what follows from it."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from django.db.models import Count

from annotation import gold, lead
from annotation.gold_items import make_gold, retire
from annotation.models import Claim, Comparison, Gold, GoldResult, JournalEntry, Kind, Queue, Slot, Standing, Task
from annotation.progress import progress, progress_of, waiting_for
from annotation.queue import claim_next, release
from annotation.standing import MayNotWork, check_may_work, set_standing, standing_of, worsen
from annotation.submit import submit_ranking
from annotation.tasks import add_tasks, find_queue
from studio.models import Membership
from tests.annotation.test_concurrency import in_threads, make_work


@pytest.fixture
def gold_queue(rank_queue, answers, engineer):
    """The ranking queue with four gold items on prompts 0 to 3, whose right order is the order of the models."""
    for task in list(rank_queue.tasks.all()):
        Slot.objects.filter(task=task).update(status=Slot.Status.WITHDRAWN)
        Task.objects.filter(pk=task.pk).update(status=Task.Status.CLOSED)
        make_gold(task, [[c.pk] for c in task.completions.order_by("pk")], engineer, explanation="It **runs**.")
    return rank_queue


def judge(claim: Claim, best_first: bool = True):
    """Submit the order of the models, or its reverse, and score it."""
    letters = sorted(claim.letters, key=claim.letters.get, reverse=not best_first)
    label = submit_ranking(claim, [[letter] for letter in letters])
    return gold.after_submit(claim, label)


def set_rules(queue, **rules) -> None:
    for name, value in rules.items():
        setattr(queue, name, value)
    queue.save()


@pytest.mark.parametrize(
    ("right", "given", "expected"),
    [
        ([[1], [2, 3]], [[2], [1], [3]], 0.5),  # pairs 1>2 wrong, 1>3 right
        ([[1], [2]], [[1, 2]], 0.5),  # a tie is half right
        ([[1], [2], [3]], [[3], [2], [1]], 0.0),
        ([[1], [2], [3]], [[1], [3], [2]], 2 / 3),  # 1>2 and 1>3 right, 2>3 wrong
        ([[1], [2]], [[1]], 0.0),  # 2 was set aside as not rankable
    ],
)
def test_accuracy(right, given, expected):
    assert gold.accuracy_of(right, given) == pytest.approx(expected)


def test_each_meets_each_item_once_and_the_overlap_grows(gold_queue, annotator, sme):
    set_rules(gold_queue, gold_rate=1)
    for user in (annotator, sme):
        met = []
        while claim := gold.next_gold(gold_queue, user):
            met.append(claim.task_id)
            judge(claim)
        assert len(met) == len(set(met)) == 4
    for task in Task.objects.filter(gold__isnull=False).annotate(claims_n=Count("claims")):
        assert task.overlap == task.slots.count() == task.claims_n == 2
    assert set(GoldResult.objects.values_list("accuracy", flat=True)) == {1.0}


def test_a_gold_item_that_was_set_aside_is_put_back_as_gold(gold_queue, annotator, sme, engineer):
    set_rules(gold_queue, gold_rate=1)
    claim = gold.next_gold(gold_queue, annotator)
    release(claim, skip="unusable", reason="Both are empty")
    lead.put_back(claim.task, engineer)
    set_rules(gold_queue, gold_rate=0)
    assert claim_next(gold_queue, sme) is None  # not as if it were real work
    assert gold.next_gold(gold_queue, sme) is None
    set_rules(gold_queue, gold_rate=1)
    assert gold.next_gold(gold_queue, sme) is not None


def test_nobody_meets_the_prompt_they_judged_in_earnest(project, prompts, answers, engineer, annotator, rank_queue):
    task = rank_queue.tasks.first()
    set_rules(rank_queue, gold_rate=1)
    make_gold(task, [[answers[0][0].pk], [answers[0][1].pk]], engineer)
    claim = gold.next_gold(rank_queue, annotator)
    release(claim)
    slot = task.slots.first()
    Claim.objects.create(
        task=task, annotator=annotator, project=project, status="submitted", expires_at=claim.expires_at
    )
    assert slot.status == "free" and gold.next_gold(rank_queue, annotator) is None


def test_a_place_given_back_is_used_again(gold_queue, annotator, sme):
    set_rules(gold_queue, gold_rate=1)
    Gold.objects.exclude(pk=Gold.objects.first().pk).update(retired_at="2026-01-01T00:00Z")
    first = gold.next_gold(gold_queue, annotator)
    release(first)
    second = gold.next_gold(gold_queue, sme)
    assert second.task_id == first.task_id and Task.objects.get(pk=first.task_id).overlap == 1
    assert Slot.objects.get(task=first.task_id).claim == second


def test_the_rate_is_kept(gold_queue, annotator, monkeypatch):
    set_rules(gold_queue, gold_rate=0.25)
    asked = []
    monkeypatch.setattr(gold, "_unmet", lambda *_: asked.append(1) or Gold.objects.none())
    monkeypatch.setattr(gold, "random", random.Random(1))
    for _ in range(2000):
        gold.next_gold(gold_queue, annotator)
    assert 440 < len(asked) < 560  # 2000 draws at ¼: 500, standard deviation √(2000·¼·¾) = 19


def test_no_query_without_gold(rank_queue, annotator, django_assert_num_queries):
    with django_assert_num_queries(0):
        assert gold.next_gold(rank_queue, annotator) is None
    with django_assert_num_queries(1):
        check_may_work(rank_queue, annotator)


def test_a_gold_claim_looks_like_any_other(gold_queue, project, prompts, answers, annotator):
    set_rules(gold_queue, gold_rate=1)
    hidden = gold.next_gold(gold_queue, annotator)
    other = find_queue(project, Kind.RANK, "Others")
    add_tasks(other, [(prompts[4], answers[4])])
    real = claim_next(other, annotator)
    assert {f: type(v) for f, v in vars(hidden).items() if not f.startswith("_")} == {
        f: type(v) for f, v in vars(real).items() if not f.startswith("_")
    }
    assert sorted(hidden.shown_order) == sorted(hidden.task.completions.values_list("pk", flat=True))
    assert hidden.task.status == real.task.status == "open" and hidden.task.priority == real.task.priority


def test_feedback_only_where_the_queue_gives_it(gold_queue, annotator):
    set_rules(gold_queue, gold_rate=1)
    assert judge(gold.next_gold(gold_queue, annotator), best_first=False) is None
    set_rules(gold_queue, gold_feedback=True)
    claim = gold.next_gold(gold_queue, annotator)
    said = judge(claim, best_first=False)
    order = " › ".join(letter.upper() for letter in sorted(claim.letters, key=claim.letters.get))
    assert said.right == order and said.accuracy == 0 and said.explanation == "It **runs**."
    assert said.text == f"The agreed order is {order}; you had 0% of its pairs right."


def test_trial_round_first_and_in_the_same_order_for_all(gold_queue, annotator, sme):
    set_rules(gold_queue, calibration_items=3, calibration_pass=0.7)
    orders = []
    for user in (annotator, sme):
        seen = []
        for n in range(3):
            claim = gold.next_gold(gold_queue, user)
            seen.append(claim.task_id)
            said = judge(claim, best_first=n > 0 or user == sme)
        orders.append(seen)
        assert gold.next_gold(gold_queue, user) is None
    assert orders[0] == orders[1]
    assert said.passed and said.text.endswith("Trial round done: 100% of the pairs right. Real work comes next.")
    check_may_work(gold_queue, sme)
    with pytest.raises(MayNotWork, match="67% of the pairs in the right order; 70% are asked"):  # (0 + 1 + 1) / 3
        check_may_work(gold_queue, annotator)


def test_too_few_items_do_not_let_the_worst_through(gold_queue, annotator):
    set_rules(gold_queue, calibration_items=9)
    for _ in range(4):
        judge(gold.next_gold(gold_queue, annotator), best_first=False)
    with pytest.raises(MayNotWork, match="0% of the pairs"):
        gold.next_gold(gold_queue, annotator)


def results(queue, user, accuracies) -> None:
    """Results on a gold item, as if they had come from claims; then the thresholds."""
    item = Gold.objects.filter(task__queue=queue).first()
    for accuracy in accuracies:
        claim = Claim.objects.create(
            task=item.task, annotator=user, project=queue.project, status="released", expires_at="2027-01-01T00:00Z"
        )
        GoldResult.objects.create(gold=item, claim=claim, annotator=user, accuracy=accuracy)
        gold._apply_thresholds(queue, user)


def test_thresholds_warn_pause_and_exclude_in_turn(gold_queue, project, annotator):
    set_rules(gold_queue, warn_below=0.8, pause_below=0.6, exclude_below=0.3, gold_window=4)
    status = lambda: standing_of(project, annotator).status  # noqa: E731
    results(gold_queue, annotator, [0, 0, 0])
    assert status() == "active"  # three results say too little
    GoldResult.objects.all().update(accuracy=1)
    results(gold_queue, annotator, [0])
    assert status() == "warned"  # (1 + 1 + 1 + 0) / 4 = 0.75
    results(gold_queue, annotator, [0])
    assert status() == "paused"  # 0.5
    results(gold_queue, annotator, [1, 1, 1, 1])
    assert status() == "paused"  # only a lead lifts it
    results(gold_queue, annotator, [0, 0, 0])
    assert status() == "excluded"  # 0.25
    acts = JournalEntry.objects.filter(person=annotator).order_by("id").values_list("act", "actor")
    assert list(acts) == [("warned", None), ("paused", None), ("excluded", None)]
    with pytest.raises(MayNotWork, match="excluded from annotation"):
        check_may_work(gold_queue, annotator)


def test_after_a_lead_lifted_it_only_what_follows_counts(gold_queue, project, annotator, engineer):
    set_rules(gold_queue, pause_below=0.6, gold_window=4)
    results(gold_queue, annotator, [0, 0, 0, 0])
    with pytest.raises(MayNotWork, match="0% of the pairs of the last 4 check items"):
        check_may_work(gold_queue, annotator)
    set_standing(project, annotator, "active", "Talked about it", engineer)
    check_may_work(gold_queue, annotator)
    results(gold_queue, annotator, [0, 0, 0])
    assert standing_of(project, annotator).status == "active"
    results(gold_queue, annotator, [0])
    assert standing_of(project, annotator).status == "paused"


def test_silent_gold_can_be_undone_and_shown_gold_cannot(gold_queue, annotator):
    for feedback, expected in ((False, 1.0), (True, 0.0)):
        set_rules(gold_queue, gold_rate=1, gold_feedback=feedback)
        claim = gold.next_gold(gold_queue, annotator)
        judge(claim, best_first=False)
        label = Comparison.objects.get(claim=claim)
        label.tiers = label.tiers[::-1]  # what an undo and a second answer leave behind
        gold.after_submit(claim, label)
        assert GoldResult.objects.get(claim=claim).accuracy == expected


def test_who_may_not_work(rank_queue, project, annotator, engineer, sme):
    rank_queue.skill = "python"
    with pytest.raises(MayNotWork, match="asks for the skill 'python'"):
        check_may_work(rank_queue, annotator)
    Membership.objects.filter(user=annotator).update(skills=["python"])
    check_may_work(rank_queue, annotator)
    rank_queue.people.add(sme)
    with pytest.raises(MayNotWork, match="kept for other people"):
        check_may_work(rank_queue, annotator)
    rank_queue.people.add(annotator)
    set_standing(project, annotator, "paused", "Holiday.", engineer)
    with pytest.raises(MayNotWork, match=r"paused until a lead lets you go on. Reason: Holiday.$"):
        check_may_work(rank_queue, annotator)
    Standing.objects.update(status="active", consent_withdrawn_at="2026-01-01T00:00Z")
    with pytest.raises(MayNotWork, match="withdrawn your consent"):
        check_may_work(rank_queue, annotator)


def test_only_an_owner_decides_about_an_owner(project, owner, engineer):
    with pytest.raises(ValueError, match="only an owner decides about an owner"):
        set_standing(project, owner, "excluded", "Too slow", engineer)
    assert not Standing.objects.exists() and not JournalEntry.objects.exists()
    assert set_standing(project, owner, "paused", "On leave", owner).status == "paused"
    assert set_standing(project, engineer, "warned", "Too fast", owner).status == "warned"


def test_setting_a_standing(project, annotator, engineer, outsider):
    for status, reason, who, problem in (
        ("dead", "x", annotator, "Choose what to do"),
        ("paused", " ", annotator, "Give a reason"),
        ("paused", "x", outsider, "not a member"),
        ("active", "", annotator, "active already"),
    ):
        with pytest.raises(ValueError, match=problem):
            set_standing(project, who, status, reason, engineer)
    set_standing(project, annotator, "warned", "Too fast", engineer)
    entry = JournalEntry.objects.get()
    assert (entry.act, entry.actor, entry.person, entry.detail) == (
        "warned", engineer, annotator, {"reason": "Too fast", "before": "active"}
    )  # fmt: skip
    assert not worsen(project, annotator, "warned", "again") and JournalEntry.objects.count() == 1


def test_making_gold(rank_queue, write_queue, engineer, answers):
    task = rank_queue.tasks.first()
    a, b, c = (answer.pk for answer in answers[0])
    for tiers, target, problem in (
        ([[a, b, c]], None, "at least one answer above another"),
        ([[a], [10**6]], None, "not shown"),
        ([[a], [a]], None, "ranked twice"),
        ([[a], [b], [c]], write_queue, "no right order"),
    ):
        with pytest.raises(ValueError, match=problem):
            make_gold(task, tiers, engineer, queue=target)
    item = make_gold(task, [[a], [b]], engineer)  # c may stand anywhere
    assert (item.task.overlap, item.task.slots.count(), item.task.completions.count()) == (0, 0, 3)
    with pytest.raises(ValueError, match="has a gold item with these answers already"):
        make_gold(task, [[b], [a]], engineer)
    retire(item, engineer)
    with pytest.raises(ValueError, match="retired already"):
        retire(item, engineer)
    make_gold(task, [[b], [a]], engineer)


def test_progress_is_of_real_work_alone(rank_queue, annotator, engineer, client_for):
    task = rank_queue.tasks.first()
    make_gold(task, [[c.pk] for c in task.completions.order_by("pk")], engineer)
    real = progress(rank_queue)
    assert (real["free"], real["done"]) == (8, 0)  # four tasks for two people each
    set_rules(rank_queue, gold_rate=1)
    claim = claim_next(rank_queue, annotator)
    assert claim.task.gold
    assert progress(rank_queue) == real == vars(progress_of([rank_queue])[rank_queue.pk])
    judge(claim)
    assert progress(rank_queue) == real == vars(progress_of([rank_queue])[rank_queue.pk])
    assert "0 of 8" in client_for(annotator).get("/projects/helpdesk/annotate/").text
    submit_ranking(claim_next(rank_queue, annotator), [["a", "b", "c"]])  # all gold is met: real work
    assert progress(rank_queue) == real | {"free": 7, "done": 1} == vars(progress_of([rank_queue])[rank_queue.pk])


def test_what_waits_does_not_tell_a_gold_item_that_was_begun(rank_queue, annotator, engineer):
    task = rank_queue.tasks.first()
    make_gold(task, [[c.pk] for c in task.completions.order_by("pk")], engineer)
    assert waiting_for([rank_queue], annotator) == {rank_queue.pk: 4}
    set_rules(rank_queue, gold_rate=1)
    claim = claim_next(rank_queue, annotator)
    assert claim.task.gold and waiting_for([rank_queue], annotator) == {rank_queue.pk: 4}
    Slot.objects.exclude(task=claim.task).update(status=Slot.Status.DONE)
    assert waiting_for([rank_queue], annotator) == {rank_queue.pk: 1}  # alone, it must be found again


def assert_many_meet_one_item() -> None:
    """Twelve people reach for the one gold item at the same moment: each gets a place, none two, overlap is twelve."""
    queue, users = make_work(tasks=1, overlap=1, people=12)
    Queue.objects.update(gold_rate=1)
    task = Task.objects.get()
    make_gold(task, [[pk] for pk in task.completions.values_list("pk", flat=True)], users[0])
    queue = Queue.objects.get()
    claims = [c for c in in_threads(lambda user: gold.next_gold(queue, user), [*users, users[0]]) if c]
    assert Counter(c.annotator_id for c in claims) == dict.fromkeys([u.pk for u in users], 1)
    copy = Task.objects.get(gold__isnull=False)
    held, live = copy.slots.filter(status="claimed"), copy.claims.filter(status="live")
    assert copy.overlap == 12 == held.count() == live.count() == copy.slots.count()


@pytest.mark.postgres
def test_many_meet_one_item_on_postgres(on_postgres):
    assert_many_meet_one_item()


@pytest.mark.django_db(transaction=True)
def test_many_meet_one_item_on_one_file():
    assert_many_meet_one_item()


def test_a_late_answer_to_gold_has_its_place_like_any_other(gold_queue, annotator):
    set_rules(gold_queue, gold_rate=1)
    claim = gold.next_gold(gold_queue, annotator)
    release(claim)
    label = submit_ranking(Claim.objects.get(pk=claim.pk), [[letter] for letter in claim.letters])
    assert not label.surplus and Slot.objects.get(claim=claim).status == "done"
    task = Task.objects.get(pk=claim.task_id)
    assert task.overlap == task.slots.count() == 1
