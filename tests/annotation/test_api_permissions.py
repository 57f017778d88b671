"""Who may do what over the API: one matrix of every operation × role × membership × scope, against the real thing.

An operation that is missing here fails the first test. Each caller is sent to their own claim or label where an
operation is about those, so a refusal means the role.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import HttpResponse
from django.test import Client

from annotation.api import api
from studio.models import ApiToken, Role, Scope, User
from tests.annotation.api_things import TIERS, things  # noqa: F401  (a fixture)

GUIDE = Path(__file__).parents[2] / "docs" / "api.md"
ALL = set(Role.values)
EXPERTS = ALL - {Role.ANNOTATOR}
ENGINEERS = {Role.ENGINEER, Role.OWNER}
RANKING = {"tiers": TIERS}


@dataclass(frozen=True)
class Rule:
    """Who may call an operation, with which scope, and a body that it takes; "{name}" is the thing of that name.

    `file`: sent as a form with a file of this content.
    """

    roles: set[str]
    scopes: set[str]
    body: dict | None = None
    file: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    listing: bool = False  # bound to no project: outsiders get their own, empty, list


READING, WORKING, MANAGING = {"read"}, {"annotate"}, {"manage"}
EITHER, CURATING = READING | WORKING, WORKING | MANAGING
NEW = "{name}"
FAILURE = {"name": NEW, "description": "", "severity": 2}
RULES = {
    "GET /projects": Rule(ALL, EITHER, listing=True),
    "GET /projects/{slug}/guideline": Rule(ALL, EITHER),
    "GET /projects/{slug}/prompts": Rule(ALL, READING),
    "POST /projects/{slug}/prompts": Rule(ENGINEERS, {"import"}, {"prompts": [{"prompt": "How?"}]}),
    "GET /queues": Rule(ALL, EITHER, listing=True),
    "POST /projects/{slug}/queues": Rule(ENGINEERS, {"manage"}, {"kind": "rank", "name": NEW}),
    "GET /queues/{queue_id}": Rule(ENGINEERS, READING),
    "PATCH /queues/{queue_id}": Rule(ENGINEERS, {"manage"}, {"note": "Read the traceback first."}),
    "POST /queues/{queue_id}/tasks": Rule(ENGINEERS, {"manage"}, {"work": "{work}"}),
    "GET /queues/{queue_id}/tasks": Rule(ENGINEERS, READING),
    "PATCH /tasks/{task_id}": Rule(ENGINEERS, {"manage"}, {"priority": 3}),
    "POST /tasks/{task_id}/release": Rule(ENGINEERS, {"manage"}, {"person": "sme"}),
    "POST /queues/{queue_id}/claim": Rule(ALL, WORKING),
    "GET /claims/{claim_id}": Rule(ALL, EITHER),
    "POST /claims/{claim_id}/submit": Rule(ALL, WORKING, RANKING, headers={"Idempotency-Key": "k"}),
    "PUT /claims/{done_id}/answer": Rule(ALL, WORKING, RANKING),
    "POST /claims/{done_id}/undo": Rule(ALL, WORKING),
    "POST /claims/{claim_id}/release": Rule(ALL, WORKING, {"skip": "later"}),
    "PUT /claims/{claim_id}/draft": Rule(ALL, WORKING, {"content": {"fields": {}}}),
    "GET /projects/{slug}/comparisons": Rule(ALL, EITHER),
    "GET /projects/{slug}/demonstrations": Rule(ALL, EITHER),
    "GET /comparisons/{comparison_id}/history": Rule(ALL, EITHER),
    "GET /demonstrations/{demonstration_id}/history": Rule(ALL, EITHER),
    "GET /comparisons/{comparison_id}/uses": Rule(ENGINEERS, READING),
    "GET /demonstrations/{demonstration_id}/uses": Rule(ENGINEERS, READING),
    "POST /comparisons/{comparison_id}/withdraw": Rule(ALL, {"annotate", "manage"}, {"reason": "Mistaken"}),
    "POST /demonstrations/{demonstration_id}/withdraw": Rule(ALL, {"annotate", "manage"}, {"reason": "Mistaken"}),
    "GET /projects/{slug}/failure-classes": Rule(ALL, READING),
    "POST /projects/{slug}/failure-classes": Rule(EXPERTS, WORKING, FAILURE),
    "POST /failure-classes/{class_id}/examples": Rule(
        EXPERTS, WORKING, {"correction": "So.", "completion": "{completion_id}"}
    ),
    "POST /projects/{slug}/imports": Rule(ENGINEERS, {"import"}, file="{prompt_file}"),
    "GET /projects/{slug}/imports": Rule(ENGINEERS, {"read", "import"}),
    "GET /imports/{batch_id}": Rule(ENGINEERS, {"read", "import"}),
    "POST /imports/{batch_id}/undo": Rule(ENGINEERS, {"import"}),
    "GET /projects/{slug}/datasets": Rule(ENGINEERS, READING),
    "POST /projects/{slug}/datasets": Rule(ENGINEERS, {"export"}, {"kind": "prompts"}),
    "GET /datasets/{dataset_id}/export": Rule(ENGINEERS, {"export"}),
    "GET /projects/{slug}/labels": Rule(ENGINEERS, {"export"}),
    "GET /projects/{slug}/agreement": Rule(ENGINEERS, READING),
    "GET /projects/{slug}/instrument": Rule(ALL, EITHER),
    "PATCH /projects/{slug}/instrument": Rule(ENGINEERS, MANAGING, {"ties": False}),
    "GET /failure-classes/{class_id}": Rule(EXPERTS, EITHER),
    "PATCH /failure-classes/{class_id}": Rule(EXPERTS, WORKING, {"severity": 3}),
    "POST /failure-classes/{class_id}/statuses": Rule(
        ENGINEERS, MANAGING, {"model": "{wrong_model_id}", "state": "fixed"}
    ),
    "POST /failure-classes/{fresh_class_id}/merge": Rule(ENGINEERS, CURATING, {"into": "{fresh_class_id}"}),
    "POST /failure-merges/{merge_id}/undo": Rule(ENGINEERS, CURATING),
    "GET /failure-classes/{class_id}/examples": Rule(EXPERTS, EITHER),
    "POST /failure-examples/{example_id}/withdraw": Rule(EXPERTS, CURATING, {"reason": "Mistaken"}),
    "POST /failure-examples/{example_id}/demonstration": Rule(EXPERTS, WORKING),
    "POST /failure-examples/{example_id}/comparison": Rule(EXPERTS, WORKING),
    "GET /projects/{slug}/probes": Rule(EXPERTS, EITHER),
    "POST /projects/{slug}/probes": Rule(
        ENGINEERS, MANAGING, {"failure_class": "{class_id}", "model": "{wrong_model_id}"}
    ),
    "GET /probes/{probe_id}": Rule(EXPERTS, EITHER),
    "POST /probes/{probe_id}/take": Rule(EXPERTS, WORKING),
    "POST /probes/{own_probe_id}/give-up": Rule(EXPERTS, WORKING),
    "POST /probes/{own_probe_id}/conclude": Rule(EXPERTS, WORKING, {"conclusion": "It holds.", "state": "fixed"}),
    "POST /probes/{probe_id}/withdraw": Rule(ENGINEERS, MANAGING),
    "GET /projects/{slug}/vendor-batches": Rule(ENGINEERS, READING),
    "POST /projects/{slug}/vendor-batches": Rule(
        ENGINEERS, MANAGING, {"queue": "{fresh_queue_id}", "vendor": "Acme", "name": NEW, "places": 1}
    ),
    "GET /vendor-batches/{vendor_batch_id}": Rule(ENGINEERS, READING),
    "GET /vendor-batches/{vendor_batch_id}/hand-off": Rule(ENGINEERS, {"export"}),
    "POST /vendor-batches/{vendor_batch_id}/return": Rule(ENGINEERS, {"import"}, file="{return_file}"),
    "POST /vendor-batches/{returned_batch_id}/accept": Rule(ENGINEERS, MANAGING, {}),
    "POST /vendor-batches/{returned_batch_id}/reject": Rule(ENGINEERS, MANAGING, {"note": "Careless"}),
    "POST /vendor-batches/{vendor_batch_id}/recall": Rule(ENGINEERS, MANAGING),
    "GET /projects/{slug}/label-studio": Rule(ENGINEERS, READING),
    "POST /queues/{fresh_queue_id}/label-studio": Rule(ENGINEERS, MANAGING),
    "GET /label-studio-links/{link_id}": Rule(ENGINEERS, READING),
    "POST /label-studio-links/{link_id}/push": Rule(ENGINEERS, MANAGING),
    "POST /label-studio-links/{link_id}/pull": Rule(ENGINEERS, MANAGING),
    "POST /label-studio-links/{link_id}/unlink": Rule(ENGINEERS, MANAGING),
    "GET /projects/{slug}/gold": Rule(ENGINEERS, READING),
    "GET /projects/{slug}/gold-candidates": Rule(ENGINEERS, READING),
    "POST /projects/{slug}/gold": Rule(
        ENGINEERS, MANAGING, {"task": "{task_id}", "tiers": "{right_order}", "queue": "{fresh_queue_id}"}
    ),
    "GET /gold/{gold_id}": Rule(ENGINEERS, READING),
    "POST /gold/{gold_id}/retire": Rule(ENGINEERS, MANAGING),
    "GET /projects/{slug}/journal": Rule(ENGINEERS, READING),
    "GET /projects/{slug}/people": Rule(ENGINEERS, READING),
    "GET /projects/{slug}/me": Rule(ALL, EITHER),
    "GET /projects/{slug}/people/{username}": Rule(ENGINEERS, READING),
    "POST /projects/{slug}/people/{username}/standing": Rule(
        ENGINEERS, MANAGING, {"status": "warned", "reason": "Look at the guideline again."}
    ),
    "POST /projects/{slug}/people/{tried_username}/trials/{queue_id}/repeat": Rule(ENGINEERS, MANAGING),
    "GET /projects/{slug}/people/{username}/consent": Rule(ALL, EITHER | MANAGING),
    "POST /projects/{slug}/people/{username}/consent/take-back": Rule(ALL, CURATING, {}),
    "POST /projects/{slug}/people/{withdrawn_username}/consent/give-again": Rule(ALL, CURATING, {}),
    "GET /projects/{slug}/disagreements": Rule(ENGINEERS, READING),
    "POST /projects/{slug}/adjudications": Rule(ENGINEERS, MANAGING, {"tasks": "{disputed_tasks}"}),
    "GET /projects/{slug}/second-looks": Rule(ENGINEERS, READING),
    "POST /comparisons/{doubted_comparison_id}/second-look": Rule(ENGINEERS, MANAGING, {"act": "settle"}),
    "POST /demonstrations/{doubted_demonstration_id}/second-look": Rule(ENGINEERS, MANAGING, {"act": "done"}),
    "GET /projects/{slug}/stale-labels": Rule(ENGINEERS, READING),
    "POST /projects/{slug}/stale-labels/ask-again": Rule(ENGINEERS, MANAGING, {"groups": "{stale_groups}"}),
    "GET /projects/{slug}/reward-models": Rule(ENGINEERS, READING),
    "GET /reward-models/{reward_model_id}/effects": Rule(ENGINEERS, READING),
    "POST /reward-models/{reward_model_id}/scores": Rule(ENGINEERS, MANAGING),
    "POST /reward-models/{reward_model_id}/ask-again": Rule(ENGINEERS, MANAGING, {"comparisons": "{comparison_ids}"}),
}


def operations() -> set[str]:
    paths = api.get_openapi_schema()["paths"]
    return {f"{method.upper()} {path.removeprefix('/api/v1')}" for path, found in paths.items() for method in found}


ALIASES = {  # ids are called by what they are of here, and not in the schema
    "comparison_id": "label_id", "demonstration_id": "label_id", "doubted_comparison_id": "label_id",
    "doubted_demonstration_id": "label_id", "done_id": "claim_id", "own_probe_id": "probe_id",
    "returned_batch_id": "vendor_batch_id", "fresh_queue_id": "queue_id", "fresh_class_id": "class_id",
    "reward_model_id": "model_id", "tried_username": "username",
    "withdrawn_username": "username",
}  # fmt: skip


def test_every_operation_has_a_rule():
    assert operations() == {re.sub(r"{(\w+)}", lambda m: f"{{{ALIASES.get(m[1], m[1])}}}", rule) for rule in RULES}


def test_the_guide_says_the_same():
    """docs/api.md has a row for each operation, with who may call it and the scopes; ids are just {id} there."""
    rows = re.findall(
        r"^\| `(\w+ [^`?]+)[^`]*` \| (\w+) \| ([\w ]+) \|", GUIDE.read_text(encoding="utf8"), re.MULTILINE
    )
    told = {operation: (who, set(scopes.split())) for operation, who, scopes in rows}
    names = {frozenset(ALL): "all", frozenset(EXPERTS): "SMEs", frozenset(ENGINEERS): "engineers"}

    def in_guide(rule: str) -> str:
        path = re.sub(r"{(\w+)_id}", "{id}", rule)
        return re.sub(r"{\w+_username}", "{username}", path)

    assert told == {in_guide(rule): (names[frozenset(found.roles)], found.scopes) for rule, found in RULES.items()}


@pytest.fixture
def cast(annotator, sme, engineer, owner, outsider) -> dict[str, User]:
    """By role; "outsider" is signed in and a member of nothing."""
    return {"annotator": annotator, "sme": sme, "engineer": engineer, "owner": owner, "outsider": outsider}


@pytest.fixture
def send(project, engineer, things) -> Callable[..., HttpResponse]:  # noqa: F811
    """Call an operation on things that exist, the caller's own where it is about those."""

    def call(operation: str, user: User, headers: dict[str, str]) -> HttpResponse:
        rule = RULES[operation]
        owner = user if project.members.filter(pk=user.pk).exists() else engineer

        def put_in(value: object) -> object:
            is_thing = isinstance(value, str) and re.fullmatch(r"{\w+}", value)
            return things.make(value[1:-1], owner) if is_thing else value

        method, path = operation.split(" ")
        path = "/api/v1" + re.sub(r"{\w+}", lambda found: str(put_in(found[0])), path)
        if rule.file:
            file = SimpleUploadedFile("p.jsonl", str(put_in(rule.file)).encode())
            return Client().post(path, {"file": file}, headers=headers)
        text = "" if rule.body is None else json.dumps({key: put_in(value) for key, value in rule.body.items()})
        answer = Client().generic(method, path, text, content_type="application/json", headers=headers | rule.headers)
        return answer

    return call


def token(user: User, scopes=tuple(Scope.values)) -> dict[str, str]:
    return {"Authorization": f"Bearer {ApiToken.issue(user, 'test', scopes=scopes)[1]}"}


@pytest.mark.parametrize("operation", RULES)
def test_roles(operation, cast, send):
    rule = RULES[operation]
    assert send(operation, cast["outsider"], {}).status_code == 401
    stranger = send(operation, cast["outsider"], token(cast["outsider"]))
    assert stranger.status_code == (200 if rule.listing else 404)
    for role in Role.values:
        answer = send(operation, cast[role], token(cast[role]))
        if role in rule.roles:
            assert 200 <= answer.status_code < 300, (role, answer.text)
        else:
            assert answer.status_code == 403, (role, answer.text)


@pytest.mark.parametrize("operation", RULES)
def test_scopes(operation, cast, send):
    caller = cast["owner"]
    for scope in Scope.values:
        status = send(operation, caller, token(caller, [scope])).status_code
        assert (status != 403) == (scope in RULES[operation].scopes), (scope, status)


@pytest.mark.parametrize("operation", [operation for operation, rule in RULES.items() if rule.roles == ALL])
def test_annotators_stay_blind(operation, cast, send, project):
    answer = send(operation, cast["annotator"], token(cast["annotator"]))
    models = list(project.artifacts.filter(kind__in=("model", "reward_model")).values_list("name", flat=True))
    assert models and answer.status_code < 300
    assert not [name for name in models if name in answer.text], answer.text
