"""Settings of worker processes that a test starts: the test's database, and the counting recipe."""

import os

from studio.settings import *  # noqa: F403
from studio.settings import DATABASES, RECIPES

DATABASES["default"]["NAME"] = os.environ["TEST_DATABASE"]
RECIPES = [*RECIPES, "tests.counting"]
