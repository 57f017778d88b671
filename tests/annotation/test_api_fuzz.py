"""Schemathesis sends what the OpenAPI schema allows, and what it does not; the API never fails with a 5xx."""

from __future__ import annotations

import re

import pytest
import schemathesis
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from django.test import override_settings
from hypothesis import HealthCheck, Phase, given, settings

from annotation.queue import claim_next
from studio.models import ApiToken
from studio.wsgi import application
from tests.annotation.api_things import things  # noqa: F401  (a fixture)

SCHEMA = schemathesis.openapi.from_wsgi("/api/v1/openapi.json", application)
OPERATIONS = {operation.ok().label: operation.ok() for operation in SCHEMA.get_all_operations()}
EXAMPLES = 12
IN_ADDRESS = {  # what an id is called in the schema, where that says too little, by the address that it stands in
    ("comparisons", "label_id"): "doubted_comparison_id",
    ("demonstrations", "label_id"): "doubted_demonstration_id",
    ("reward-models", "model_id"): "reward_model_id",
}


@pytest.fixture
def one_connection():
    """A request through WSGI closes the connections that it finds, and the test's transaction with them."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@pytest.mark.slow
@pytest.mark.usefixtures("one_connection")
@pytest.mark.parametrize("label", OPERATIONS)
def test_never_a_server_error(label, owner, rank_queue, write_queue, things):  # noqa: F811
    """Half of the ids and slugs that are sent are those of things that exist."""
    for queue in (rank_queue, write_queue):
        claim_next(queue, owner)
    path = OPERATIONS[label].path
    names = {name: IN_ADDRESS.get((path.split("/")[3], name), name) for name in re.findall(r"{(\w+)}", path)}
    real = {name: things.make(thing, owner) for name, thing in names.items()}
    headers = {"Authorization": f"Bearer {ApiToken.issue(owner, 'fuzz')[1]}"}
    turn = iter(range(10**9))

    @given(case=OPERATIONS[label].as_strategy())
    @settings(
        max_examples=EXAMPLES, deadline=None, database=None, derandomize=True, phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    def send(case) -> None:
        if next(turn) % 2 and case.path_parameters:
            case.path_parameters.update(real)
        answer = case.call(headers=headers)
        assert answer.status_code < 500, answer.text

    with override_settings(API_REQUESTS_A_MINUTE=10**9):
        send()
