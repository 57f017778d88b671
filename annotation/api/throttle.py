"""At most so many requests a minute by one person, counted in the cache that all web processes share."""

from __future__ import annotations

import logging
import time

from django.conf import settings
from django.core.cache import cache
from django.http import HttpRequest
from ninja.throttling import BaseThrottle
from redis.exceptions import ConnectionError as RedisUnreachable

WINDOW = 60  # seconds
log = logging.getLogger(__name__)


class PerPerson(BaseThrottle):
    """Fixed windows and one atomic increment: ninja's own throttles keep a list of times and lose some in a race."""

    def allow_request(self, request: HttpRequest) -> bool:
        key = f"throttle:{request.user.pk}:{int(time.time() // WINDOW)}"
        try:
            try:
                count = cache.incr(key)
            except ValueError:  # the first of this window
                cache.add(key, 0, timeout=2 * WINDOW)
                count = cache.incr(key)
        except RedisUnreachable:  # work goes on without the bound
            log.warning("The cache cannot be reached: requests are not being counted.")
            return True
        return count <= settings.API_REQUESTS_A_MINUTE

    def wait(self) -> float:
        return WINDOW - time.time() % WINDOW
