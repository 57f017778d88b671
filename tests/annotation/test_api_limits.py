"""What a token may do, how long, and how often."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.cache import cache
from django.test import Client
from django.utils import timezone
from redis.exceptions import ConnectionError as RedisUnreachable

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


def test_work_goes_on_without_the_cache(on_redis, annotator, project):
    with pytest.raises(RedisUnreachable):
        cache.get("nothing listens here")
    assert get_projects(ApiToken.issue(annotator, "x")[1]).status_code == 200
