"""What a token may do, how long, and how often."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.cache import cache
from django.test import Client
from django.utils import timezone
from redis.exceptions import ConnectionError as RedisUnreachable

from annotation.queue import claim_next
from studio.models import ApiToken
from tests.workers import private_redis


def get_projects(secret: str):
    return Client().get("/api/v1/projects", headers={"Authorization": f"Bearer {secret}"})


def test_a_scope_is_asked_for(annotator, write_queue):
    secret = ApiToken.issue(annotator, "reader", scopes=["read"])[1]
    headers = {"Authorization": f"Bearer {secret}"}
    assert Client().get("/api/v1/queues", headers=headers).status_code == 200
    refused = Client().post(f"/api/v1/queues/{write_queue.pk}/claim", headers=headers)
    assert refused.status_code == 403
    assert "needs the scope annotate" in refused.json()["detail"]


def test_a_token_ends(annotator, project):
    token, secret = ApiToken.issue(annotator, "short", expires_at=timezone.now() + timedelta(minutes=1))
    assert get_projects(secret).status_code == 200
    ApiToken.objects.filter(pk=token.pk).update(expires_at=timezone.now())
    assert get_projects(secret).status_code == 401


@pytest.fixture
def on_redis(settings):
    settings.CACHES = {
        "default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": settings.REDIS_URL}
    }
    settings.API_REQUESTS_A_MINUTE = 3


def test_so_many_requests_a_minute(on_redis, monkeypatch, annotator, sme, project):
    monkeypatch.setattr("annotation.api.throttle.time.time", lambda: 1_800_000_015.0)  # 15 s into a minute
    one, two, other = (ApiToken.issue(user, "x")[1] for user in (annotator, annotator, sme))
    with private_redis():
        assert [get_projects(secret).status_code for secret in (one, two, one)] == [200, 200, 200]
        refused = get_projects(two)  # another token of the same person
        assert (refused.status_code, refused["Retry-After"]) == (429, "45")
        assert refused.json()["detail"] == "Too many requests. Go on in 45 seconds."
        assert get_projects(other).status_code == 200
        monkeypatch.setattr("annotation.api.throttle.time.time", lambda: 1_800_000_060.0)
        assert get_projects(one).status_code == 200


def test_work_goes_on_without_the_cache(on_redis, call, annotator, engineer, project):
    with pytest.raises(RedisUnreachable):
        cache.get("nothing listens here")
    assert get_projects(ApiToken.issue(annotator, "x")[1]).status_code == 200
    assert call(engineer, "GET", "/projects/helpdesk/agreement").status_code == 200


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ('{"content": {"a": NaN}}', "NaN is no number"),
        ('{"content": {"a": -Infinity}}', "-Infinity is no number"),
        ('{"content": {"a": 1e999}}', "1e999 is larger"),
        ('{"content": {"a": "half \\ud800"}}', "half of a surrogate pair"),
        ('{"content": {"a": "half \\ud800"', "delimiter"),
    ],
)
def test_a_body_that_no_database_keeps_is_refused(body, why, annotator, write_queue):
    headers = {"Authorization": f"Bearer {ApiToken.issue(annotator, 'test')[1]}"}
    path = f"/api/v1/claims/{claim_next(write_queue, annotator).pk}/draft"
    answer = Client().put(path, body, content_type="application/json", headers=headers)
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("The body is not JSON: ") and why in answer.json()["detail"]
    whole = '{"content": {"a": "\\ud83d\\ude00", "b": 1.5}}'
    assert Client().put(path, whole, content_type="application/json", headers=headers).status_code == 200


@pytest.mark.parametrize("number", [-(2**70), -1, 0, 2**63, 2**70])
def test_ids_of_nothing_are_not_found_and_said_to_be(number, call, annotator, engineer):
    claim = call(annotator, "GET", f"/claims/{number}")
    assert (claim.status_code, claim.json()) == (404, {"detail": "There is no such claim of yours."})
    queue = call(engineer, "GET", f"/queues/{number}")
    assert queue.status_code == 404 and queue.json()["detail"].startswith("There is no such queue")


def test_a_body_that_is_too_large_says_so(settings, annotator, write_queue):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000
    headers = {"Authorization": f"Bearer {ApiToken.issue(annotator, 'test')[1]}"}
    path = f"/api/v1/claims/{claim_next(write_queue, annotator).pk}/draft"
    body = '{"content": {"a": "' + 1000 * "x" + '"}}'
    answer = Client().put(path, body, content_type="application/json", headers=headers)
    assert answer.status_code == 422 and "larger than 1,000 bytes" in answer.json()["detail"]
