"""Furnishing for browser tests; `page_for` and `assert_accessible` are in tests/conftest.py."""

from tests.annotation.conftest import (  # noqa: F401
    answers,
    disputed,
    make_artifact,
    prompts,
    rank_queue,
    var,
    write_queue,
)
