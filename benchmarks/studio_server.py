"""The studio's web server as production has it, for benchmarks: gunicorn, a private Redis, any database.

    with studio(directory, database_url) as url:
        httpx.get(f"{url}/api/v1/openapi.json")

The database is migrated and filled before by whoever measures.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 60


@contextlib.contextmanager
def studio(directory: Path, database_url: str, *, requests_a_minute: int = 1_000_000) -> Iterator[str]:
    """The address of a server with two workers, its var/ in `directory`.

    Requests are counted as always; the bound is set so high that scripted people do not meet it.
    """
    from studio.services import redis_server_binary, web_command

    directory.mkdir(parents=True, exist_ok=True)
    redis_socket, port = directory / "redis.sock", _free_port()
    environment = os.environ | {
        "STUDIO_VAR": str(directory),
        "DATABASE_URL": database_url,
        "REDIS_URL": f"unix://{redis_socket}",
        "DJANGO_SETTINGS_MODULE": "studio.settings",
        "STUDIO_API_REQUESTS_A_MINUTE": str(requests_a_minute),
        "OMP_NUM_THREADS": "1",
    }
    redis = f"{redis_server_binary()} --port 0 --unixsocket {redis_socket} --save '' --dir {directory}"
    with (
        open(directory / "server.log", "ab") as log,
        _process(["sh", "-c", f"exec {redis}"], environment, log),
        _process(web_command("127.0.0.1", port).split(), environment, log) as web,
    ):
        url = f"http://127.0.0.1:{port}"
        _wait_until_up(url, web, directory / "server.log")
        yield url
    said = (directory / "server.log").read_text(errors="replace")
    if "Traceback" in said:
        print(said[said.index("Traceback") :][:6000], file=sys.stderr, flush=True)


@contextlib.contextmanager
def _process(command: list[str], environment: dict[str, str], log) -> Iterator[subprocess.Popen]:
    process = subprocess.Popen(
        command, env=environment, cwd=ROOT, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def _wait_until_up(url: str, process: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(urllib.error.URLError, OSError), urllib.request.urlopen(f"{url}/sign-in/", timeout=10):
            return
        time.sleep(0.2)
    raise TimeoutError(f"The studio did not come up:\n{log.read_text(errors='replace')[-2000:]}")
