"""Settings of worker processes that a test starts: the test's database, and the counting recipe."""

import os

from studio.settings import *  # noqa: F403
from studio.settings import CELERY_BEAT_SCHEDULE, DATABASES, RECIPES

DATABASES["default"]["NAME"] = os.environ["TEST_DATABASE"]
RECIPES = [*RECIPES, "tests.counting"]
CELERY_BEAT_SCHEDULE["recover-imports"]["schedule"] = 2.0  # a test waits for it
