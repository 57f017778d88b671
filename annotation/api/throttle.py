"""At most so many requests a minute by one person, counted in the Redis that all web processes share."""

from __future__ import annotations

import logging
import time
from functools import cache

from django.conf import settings
from django.http import HttpRequest
from ninja.throttling import BaseThrottle
from redis import Redis
from redis.exceptions import RedisError

WINDOW = 60  # seconds
log = logging.getLogger(__name__)


class PerPerson(BaseThrottle):
    """Fixed windows and one atomic increment: ninja's own throttles keep a list of times and lose some in a race."""

    def allow_request(self, request: HttpRequest) -> bool:
        key = f"throttle:{request.user.pk}:{int(time.time() // WINDOW)}"
        # Held by its name: of two clients made at the same moment one is dropped, and closes its connections with it.
        client = _redis(settings.REDIS_URL)
        try:
            count, _ = client.pipeline(transaction=False).incr(key).expire(key, 2 * WINDOW).execute()
        except RedisError:  # work goes on without the bound
            log.warning("Redis cannot be reached: requests are not being counted.")
            return True
        return count <= settings.API_REQUESTS_A_MINUTE

    def wait(self) -> float:
        return WINDOW - time.time() % WINDOW


@cache
def _redis(url: str) -> Redis:
    return Redis.from_url(url)
