"""Schemathesis sends what the OpenAPI schema allows, and what it does not; the API never fails with a 5xx."""

from __future__ import annotations

import pytest
import schemathesis
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from django.test import override_settings
from hypothesis import HealthCheck, Phase, given, settings

from annotation.models import Claim
from annotation.queue import claim_next
from annotation.tasks import add_demonstration_tasks, add_tasks
from studio.models import ApiToken
from studio.wsgi import application

SCHEMA = schemathesis.openapi.from_wsgi("/api/v1/openapi.json", application)
OPERATIONS = {operation.ok().label: operation.ok() for operation in SCHEMA.get_all_operations()}
EXAMPLES = 12


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
def test_never_a_server_error(label, var, project, guideline, owner, rank_queue, write_queue, prompts, answers):
    """Half of the ids and slugs that are sent are those of things that exist."""
    add_tasks(rank_queue, [(prompts[0], answers[0])] * 3)
    add_demonstration_tasks(write_queue, prompts[:1] * 3)
    for queue in (rank_queue, write_queue):
        claim_next(queue, owner)
    real = {"slug": project.slug, "queue_id": rank_queue.pk, "claim_id": Claim.objects.first().pk}
    headers = {"Authorization": f"Bearer {ApiToken.issue(owner, 'fuzz')[1]}"}
    turn = iter(range(10**9))

    @given(case=OPERATIONS[label].as_strategy())
    @settings(
        max_examples=EXAMPLES, deadline=None, database=None, derandomize=True, phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    def send(case) -> None:
        if next(turn) % 2 and case.path_parameters:
            case.path_parameters.update({k: v for k, v in real.items() if k in case.path_parameters})
        answer = case.call(headers=headers)
        assert answer.status_code < 500, answer.text

    with override_settings(API_REQUESTS_A_MINUTE=10**9):
        send()
