"""Many people at once: each task gets exactly its overlap, nobody judges a task twice, on both databases."""

from __future__ import annotations

import random
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection, connections

from annotation.models import Claim, Comparison, Completion, Kind, Queue, Slot, Task
from annotation.prompts import import_prompts
from annotation.queue import claim_next, expire, release
from annotation.submit import submit_ranking
from annotation.tasks import add_tasks, find_queue
from studio.models import Membership, Project, Role, User


def make_work(tasks: int, overlap: int, people: int) -> tuple[Queue, list[User]]:
    project = Project.objects.create(slug="crowd", name="Crowd")
    users = [User.objects.create(username=f"person{i}") for i in range(people)]
    for user in users:
        Membership.objects.create(project=project, user=user, role=Role.ANNOTATOR)
    prompts = import_prompts(project, ({"prompt": f"Question {n}?"} for n in range(tasks)), users[0]).prompts
    work = [(p, [Completion.objects.create(prompt=p, text=f"{i}", author=users[0]) for i in range(2)]) for p in prompts]
    queue = find_queue(project, Kind.RANK)
    add_tasks(queue, work, overlap=overlap)
    return queue, users


def in_threads(function, arguments) -> list:
    """Call `function` with each argument at the same moment, each in a thread with a connection of its own."""
    start = threading.Barrier(len(arguments))

    def call(argument):
        try:
            start.wait(timeout=30)
            return function(argument)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(arguments)) as pool:
        return list(pool.map(call, arguments))


def drain(queue: Queue, user: User) -> int:
    """Work until nothing is left; now and then give a task back or submit twice."""
    generator, done = random.Random(user.username), 0
    while claim := claim_next(queue, user):
        if generator.random() < 0.1:
            release(claim)
            continue
        submit_ranking(claim, [["a"], ["b"]], key=f"{user.pk}-{claim.pk}")
        if generator.random() < 0.2:
            submit_ranking(claim, [["a"], ["b"]], key=f"{user.pk}-{claim.pk}")
        done += 1
    return done


def assert_drained(queue: Queue, tasks: int, overlap: int, done: list[int]) -> None:
    assert sum(done) == Comparison.objects.count() == tasks * overlap
    by_task = Counter(Comparison.objects.values_list("task", flat=True))
    assert len(by_task) == tasks and set(by_task.values()) == {overlap}
    by_person = Counter(Comparison.objects.values_list("task", "annotator"))
    assert set(by_person.values()) == {1}
    assert not Comparison.objects.filter(surplus=True).exists()
    assert set(Slot.objects.values_list("status", flat=True)) == {"done"}
    assert set(Task.objects.values_list("status", flat=True)) == {"closed"}
    assert not Claim.objects.filter(status="live").exists()


@pytest.mark.postgres
def test_sixteen_people_on_postgres(on_postgres):
    assert connection.vendor == "postgresql"
    queue, users = make_work(tasks=60, overlap=2, people=16)
    done = in_threads(lambda user: drain(queue, user), users)
    assert_drained(queue, 60, 2, done)


@pytest.mark.django_db(transaction=True)
def test_six_people_on_one_file():
    queue, users = make_work(tasks=40, overlap=2, people=6)
    done = in_threads(lambda user: drain(queue, user), users)
    assert_drained(queue, 40, 2, done)


def assert_one_of_many_hands_gets_the_slot() -> None:
    """Ten people reach for the one place of a task: one gets it."""
    queue, users = make_work(tasks=1, overlap=1, people=10)
    claims = [c for c in in_threads(lambda user: claim_next(queue, user), users) if c]
    assert len(claims) == 1 == Claim.objects.count()


def assert_one_answer_sent_many_times_counts_once() -> None:
    """Eight copies of one submission at the same moment make one label, and each is answered with it."""
    queue, users = make_work(tasks=1, overlap=1, people=1)
    claim = claim_next(queue, users[0])
    answers = in_threads(
        lambda _: submit_ranking(Claim.objects.get(pk=claim.pk), [["a"], ["b"]], key="once").pk, range(8)
    )
    assert len(set(answers)) == 1 == Comparison.objects.count()


def assert_late_answers_and_new_claims_fit() -> None:
    """Six people hold expired claims on tasks with room for two; all submit while six others claim. No work is lost."""
    queue, users = make_work(tasks=6, overlap=2, people=12)
    late = [claim for user in users[:6] if (claim := claim_next(queue, user))]
    Claim.objects.update(expires_at="2020-01-01T00:00Z")
    expire(queue)

    def act(index: int) -> int:
        if index < 6:
            submit_ranking(late[index], [["a"], ["b"]], key=f"late-{index}")
            return 0
        return drain(queue, users[index])

    in_threads(act, range(12))
    counted = Counter(Comparison.objects.filter(surplus=False).values_list("task", flat=True))
    assert set(counted.values()) == {2} and len(counted) == 6  # drained to the brim, never over
    assert Comparison.objects.filter(claim__in=[c.pk for c in late]).count() == 6
    surplus = Comparison.objects.filter(surplus=True).count()
    assert Comparison.objects.count() == 12 + surplus


RACES = [
    assert_one_of_many_hands_gets_the_slot,
    assert_one_answer_sent_many_times_counts_once,
    assert_late_answers_and_new_claims_fit,
]


@pytest.mark.postgres
@pytest.mark.parametrize("assert_race", RACES)
def test_races_on_postgres(on_postgres, assert_race):
    assert_race()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("assert_race", RACES)
def test_races_on_one_file(assert_race):
    assert_race()
