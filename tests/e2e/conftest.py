"""Furnishing for browser tests; `page_for` and `assert_accessible` are in tests/conftest.py."""

from tests.annotation.conftest import answers, make_artifact, prompts, rank_queue, var, write_queue  # noqa: F401
