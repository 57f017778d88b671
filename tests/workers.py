"""Real Redis, Celery workers and beat for tests, on the test's database and var/."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from django.conf import settings
from django.db import connection, connections

from studio.services import redis_server_binary


class Workers:
    """A worker process for both queues and a beat, which a test may kill and start again."""

    def __init__(self) -> None:
        self.processes: list[subprocess.Popen] = []
        self.environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.worker_settings",
            "STUDIO_VAR": str(settings.VAR),
            "TEST_DATABASE": str(connection.settings_dict["NAME"]),
            "RUN_HEARTBEAT_TIMEOUT_SECONDS": "6",
            "RUN_GRACE_SECONDS": "20",
        }

    def start(self) -> None:
        log = open(settings.VAR / "workers.log", "ab")  # noqa: SIM115  (lives as long as the processes)
        celery = [sys.executable, "-m", "celery", "-A", "studio"]
        for arguments in (
            ["worker", "-Q", "cpu,gpu", "--pool", "threads", "--concurrency", "2", "--without-mingle"],
            ["beat", "--pidfile=", "--schedule", str(settings.VAR / "beat")],
        ):
            self.processes.append(
                subprocess.Popen(
                    celery + arguments,
                    cwd=settings.BASE_DIR,
                    env=self.environment,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )  # fmt: skip
            )

    def kill(self) -> None:
        """SIGKILL, as a power cut: nothing is told to anybody."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        for process in self.processes:
            process.send_signal(number)
        for process in self.processes:
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.processes.clear()

    def log(self) -> str:
        return (settings.VAR / "workers.log").read_text()[-4000:]


@contextlib.contextmanager
def private_redis() -> Iterator[None]:
    directory = Path(settings.VAR) / "redis"
    directory.mkdir(exist_ok=True)
    command = [redis_server_binary(), "--port", "0", "--unixsocket", settings.REDIS_SOCKET, "--dir", directory]
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL)
    try:
        wait_for(lambda: Path(settings.REDIS_SOCKET).exists() and redis.Redis.from_url(settings.REDIS_URL).ping())
        redis.Redis.from_url(settings.REDIS_URL).flushall()
        yield
    finally:
        process.terminate()
        process.wait()


@pytest.fixture
def workers() -> Iterator[Workers]:
    """Started on a Redis of the test's own, and gone with it."""
    with private_redis():
        found = Workers()
        found.start()
        yield found
        found.kill()
        connections.close_all()


def wait_for(condition: Callable[[], object], seconds: float = 60, what: str = "") -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.1)
