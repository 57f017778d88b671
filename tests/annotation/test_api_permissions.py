"""Who may do what over the API: one matrix of every operation × role × membership × scope, against the real thing.

An operation that is missing here fails the first test. Each caller is sent to their own claim or label where an
operation is about those, so a refusal means the role.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from annotation import failures
from annotation.api import api
from annotation.datasets import freeze_prompts
from annotation.models import Comparison, ImportBatch, Kind, Task
from annotation.queue import claim_task
from annotation.submit import submit_demonstration, submit_ranking
from annotation.tasks import add_demonstration_tasks, add_tasks, find_queue
from studio.models import ApiToken, Role, Scope, User

ALL = set(Role.values)
EXPERTS = ALL - {Role.ANNOTATOR}
ENGINEERS = {Role.ENGINEER, Role.OWNER}
RANKING = {"tiers": [["a"], ["b"], ["c"]]}


@dataclass(frozen=True)
class Rule:
    """Who may call an operation, with which scope, and a body that it takes. `file`: sent as a form with a file."""

    roles: set[str]
    scopes: set[str]
    body: dict | None = None
    file: bool = False
    headers: dict[str, str] = field(default_factory=dict)
    listing: bool = False  # bound to no project: outsiders get their own, empty, list


READING, WORKING = {"read"}, {"annotate"}
EITHER = READING | WORKING
NEW = "a name of its own"
FAILURE = {"name": "Invents a function", "description": "", "severity": 2}
RULES = {
    "GET /projects": Rule(ALL, EITHER, listing=True),
    "GET /projects/{slug}/guideline": Rule(ALL, EITHER),
    "GET /projects/{slug}/prompts": Rule(ALL, READING),
    "POST /projects/{slug}/prompts": Rule(ENGINEERS, {"import"}, {"prompts": [{"prompt": "How?"}]}),
    "GET /queues": Rule(ALL, EITHER, listing=True),
    "POST /projects/{slug}/queues": Rule(ENGINEERS, {"manage"}, {"kind": "rank", "name": NEW}),
    "GET /queues/{queue_id}": Rule(ENGINEERS, READING),
    "PATCH /queues/{queue_id}": Rule(ENGINEERS, {"manage"}, {"note": "Read the traceback first."}),
    "POST /queues/{queue_id}/tasks": Rule(ENGINEERS, {"manage"}, {"work": []}),
    "GET /queues/{queue_id}/tasks": Rule(ENGINEERS, READING),
    "PATCH /tasks/{task_id}": Rule(ENGINEERS, {"manage"}, {"priority": 3}),
    "POST /tasks/{task_id}/release": Rule(ENGINEERS, {"manage"}, {"person": "sme"}),
    "POST /queues/{queue_id}/claim": Rule(ALL, WORKING),
    "GET /claims/{claim_id}": Rule(ALL, EITHER),
    "POST /claims/{claim_id}/submit": Rule(ALL, WORKING, RANKING, headers={"Idempotency-Key": "k"}),
    "POST /claims/{done_id}/undo": Rule(ALL, WORKING),
    "POST /claims/{claim_id}/release": Rule(ALL, WORKING, {"skip": "later"}),
    "PUT /claims/{claim_id}/draft": Rule(ALL, WORKING, {"content": {"fields": {}}}),
    "GET /projects/{slug}/comparisons": Rule(ALL, EITHER),
    "GET /projects/{slug}/demonstrations": Rule(ALL, EITHER),
    "GET /comparisons/{comparison_id}/history": Rule(ALL, EITHER),
    "GET /demonstrations/{demonstration_id}/history": Rule(ALL, EITHER),
    "POST /comparisons/{comparison_id}/withdraw": Rule(ALL, {"annotate", "manage"}, {"reason": "Mistaken"}),
    "POST /demonstrations/{demonstration_id}/withdraw": Rule(ALL, {"annotate", "manage"}, {"reason": "Mistaken"}),
    "GET /projects/{slug}/failure-classes": Rule(ALL, READING),
    "POST /projects/{slug}/failure-classes": Rule(EXPERTS, WORKING, FAILURE),
    "POST /failure-classes/{class_id}/examples": Rule(EXPERTS, WORKING, {"correction": "So.", "completion": 0}),
    "POST /projects/{slug}/imports": Rule(ENGINEERS, {"import"}, file=True),
    "GET /projects/{slug}/imports": Rule(ENGINEERS, {"read", "import"}),
    "GET /imports/{batch_id}": Rule(ENGINEERS, {"read", "import"}),
    "POST /imports/{batch_id}/undo": Rule(ENGINEERS, {"import"}),
    "GET /projects/{slug}/datasets": Rule(ENGINEERS, READING),
    "POST /projects/{slug}/datasets": Rule(ENGINEERS, {"export"}, {"kind": "prompts"}),
    "GET /datasets/{dataset_id}/export": Rule(ENGINEERS, {"export"}),
    "GET /projects/{slug}/labels": Rule(ENGINEERS, {"export"}),
    "GET /projects/{slug}/agreement": Rule(ENGINEERS, READING),
}


def operations() -> set[str]:
    paths = api.get_openapi_schema()["paths"]
    return {f"{method.upper()} {path.removeprefix('/api/v1')}" for path, found in paths.items() for method in found}


def test_every_operation_has_a_rule():
    """Ids are called by what they are of here, and not in the schema."""
    rules = {re.sub(r"{(comparison|demonstration)_id}", "{label_id}", rule) for rule in RULES}
    assert operations() == {rule.replace("{done_id}", "{claim_id}") for rule in rules}


@pytest.fixture
def cast(annotator, sme, engineer, owner, outsider) -> dict[str, User]:
    """By role; "outsider" is signed in and a member of nothing."""
    return {"annotator": annotator, "sme": sme, "engineer": engineer, "owner": owner, "outsider": outsider}


@pytest.fixture
def things(project, prompts, answers, engineer, sme, var) -> dict[str, Callable[[User], object]]:
    """How to make what an id of a path stands for, of this person where it is somebody's."""
    rank, write = find_queue(project, Kind.RANK), find_queue(project, Kind.DEMONSTRATE)
    failure_class = failures.add_class(project, "Wrong syntax", engineer)

    def new_task(**shared) -> Task:
        return add_tasks(rank, [(prompts[0], answers[0])], **shared)[0]

    def claimed(user: User) -> int:
        return claim_task(new_task(), user).pk

    def ranked(user: User, **shared) -> Comparison:
        return submit_ranking(claim_task(new_task(**shared), user), RANKING["tiers"])

    def held_task(user: User) -> int:
        task = new_task()
        claim_task(task, sme)
        return task.pk

    def written(user: User) -> int:
        (task,) = add_demonstration_tasks(write, prompts[:1])
        return submit_demonstration(claim_task(task, user), "So.").pk

    def batch(user: User) -> int:
        ImportBatch.objects.update(status="undone")  # one at a time may be on its way
        made = ImportBatch(project=project, format="columns", name="a.jsonl", status="visible", created_by=engineer)
        made.save()
        return made.pk

    return {
        "slug": lambda user: project.slug,
        "queue_id": lambda user: new_task().queue_id,
        "class_id": lambda user: failure_class.pk,
        "claim_id": claimed,
        "done_id": lambda user: ranked(user, overlap=2).claim_id,  # another place keeps its task open
        "task_id": held_task,
        "dataset_id": lambda user: freeze_prompts(project, engineer).pk,
        "comparison_id": lambda user: ranked(user).pk,
        "demonstration_id": written,
        "batch_id": batch,
    }


@pytest.fixture
def send(project, guideline, prompts, answers, engineer, things) -> Callable[..., int]:
    """Call an operation on things that exist, the caller's own where it is about those; returns the status."""
    fresh = {
        "name": lambda: str(uuid.uuid4()),
        "completion": lambda: answers[0][0].pk,
        "work": lambda: [{"prompt": prompts[0].pk, "completions": [c.pk for c in answers[0]]}],
    }

    def call(operation: str, user: User, headers: dict[str, str]) -> int:
        rule = RULES[operation]
        owner = user if project.members.filter(pk=user.pk).exists() else engineer
        method, path = operation.split(" ")
        path = "/api/v1" + re.sub(r"{(\w+)}", lambda found: str(things[found[1]](owner)), path)
        if rule.file:
            file = SimpleUploadedFile("p.jsonl", json.dumps({"prompt": f"How? {uuid.uuid4()}"}).encode())
            return Client().post(path, {"file": file}, headers=headers).status_code
        body = rule.body and rule.body | {key: fresh[key]() for key in rule.body if key in fresh}
        text = "" if body is None else json.dumps(body)
        answer = Client().generic(method, path, text, content_type="application/json", headers=headers | rule.headers)
        return answer.status_code

    return call


def token(user: User, scopes=tuple(Scope.values)) -> dict[str, str]:
    return {"Authorization": f"Bearer {ApiToken.issue(user, 'test', scopes=scopes)[1]}"}


@pytest.mark.parametrize("operation", RULES)
def test_roles(operation, cast, send):
    rule = RULES[operation]
    assert send(operation, cast["outsider"], {}) == 401
    assert send(operation, cast["outsider"], token(cast["outsider"])) == (200 if rule.listing else 404)
    for role in Role.values:
        status = send(operation, cast[role], token(cast[role]))
        if role in rule.roles:
            assert 200 <= status < 300, (role, status)
        else:
            assert status == 403, (role, status)


@pytest.mark.parametrize("operation", RULES)
def test_scopes(operation, cast, send):
    caller = cast["owner"]
    for scope in Scope.values:
        status = send(operation, caller, token(caller, [scope]))
        assert (status != 403) == (scope in RULES[operation].scopes), (scope, status)
