"""A real Label Studio server of one's own, from the environment that `make label-studio` installs.

    with label_studio(directory) as server:
        client = LabelStudio(base_url=server.url, api_key=server.token)

Tests run it on SQLite, the benchmark on PostgreSQL with as many web workers as Studio has. It is served as in
production: Label Studio's WSGI application under gunicorn, debugging off. No telemetry; nothing leaves the machine.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import dj_database_url
import httpx

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = ROOT / ".venv-label-studio"
EMPTY = ENVIRONMENT / "empty.sqlite3"  # migrated: that takes half a minute, longer than all that a test does with it
PASSWORD = "correct horse battery"
START_SECONDS = 180

# Runs inside Label Studio. Each line of its input is "e-mail token"; the first person owns the organisation.
MAKE_PEOPLE = f"""
import sys
from django.db import transaction
from organizations.models import Organization
from rest_framework.authtoken.models import Token
from users.models import User
with transaction.atomic():
    for line in sys.stdin.read().splitlines():
        email, token = line.split()
        user = User.objects.create_user(email=email, password={PASSWORD!r}, username=email.split("@")[0])
        organization = Organization.objects.first()
        if organization is None:
            organization = Organization.create_organization(created_by=user, title="Label Studio")
        else:
            organization.add_user(user)
        user.active_organization = organization
        user.save()
        Token.objects.filter(user=user).delete()
        Token.objects.create(user=user, key=token)
"""

# Its migrations, on a PostgreSQL without the extension pg_trgm (the embedded one has none). What is left out are three
# indexes for searching annotations by their text; without them it writes annotations faster, not slower.
MIGRATE_WITHOUT_TRIGRAMS = """
from django.core.management import execute_from_command_line
from django.db.backends.utils import CursorWrapper
plain = CursorWrapper.execute
def execute(self, sql, params=None):
    if "gin_trgm_ops" in str(sql) or "CREATE EXTENSION" in str(sql):
        return None
    return plain(self, sql, params)
CursorWrapper.execute = execute
execute_from_command_line(["manage.py", "migrate", "--no-color", "--verbosity", "0"])
"""


@dataclass(frozen=True)
class Server:
    url: str
    tokens: dict[str, str]  # by e-mail address

    @property
    def token(self) -> str:
        """Of the first person, who owns the organisation."""
        return next(iter(self.tokens.values()))


def why_missing() -> str:
    """A sentence when there is no server to be had on this machine; empty when there is."""
    return "" if EMPTY.exists() else "Label Studio is not installed: run 'make label-studio'."


@contextlib.contextmanager
def label_studio(
    directory: Path,
    *,
    people: Sequence[str] = ("lead@example.org",),
    postgres: str = "",
    workers: int = 1,
    threads: int = 4,
) -> Iterator[Server]:
    """A server with its data in `directory`, and a member with an API token for each e-mail address.

    `postgres` is the URL of an empty database; without it the server has a SQLite file. Raises FileNotFoundError when
    Label Studio is not installed, TimeoutError when it does not come up.
    """
    if why_missing():
        raise FileNotFoundError(why_missing())
    directory.mkdir(parents=True, exist_ok=True)
    environment = _environment(directory, postgres)
    if postgres:
        _python(environment, "-c", MIGRATE_WITHOUT_TRIGRAMS)
    else:
        shutil.copyfile(EMPTY, directory / "label_studio.sqlite3")
    tokens = {email: secrets.token_hex(20) for email in people}
    lines = "\n".join(f"{email} {token}" for email, token in tokens.items())
    _manage(environment, "shell", "--no-imports", "--command", MAKE_PEOPLE, stdin=lines)
    port = _free_port()
    command = [
        ENVIRONMENT / "bin" / "gunicorn", "core.wsgi:application", "--bind", f"127.0.0.1:{port}",
        "--workers", str(workers), "--threads", str(threads), "--timeout", "120", "--pythonpath", _package(),
        "--no-control-socket",
    ]  # fmt: skip
    with open(directory / "server.log", "ab") as log:
        process = subprocess.Popen(
            command, env=environment, cwd=directory, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
            start_new_session=True, preexec_fn=_die_with_parent,
        )  # fmt: skip
    try:
        url = f"http://127.0.0.1:{port}"
        _wait_until_healthy(url, process, directory / "server.log")
        yield Server(url, tokens)
    finally:
        _stop(process)


def prepare() -> None:
    """Make the migrated, empty SQLite database that tests copy."""
    scratch = ENVIRONMENT / "preparing"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    _manage(_environment(scratch), "migrate", "--no-color", "--verbosity", "0")
    os.replace(scratch / "label_studio.sqlite3", EMPTY)
    shutil.rmtree(scratch)


def _package() -> Path:
    found = sorted((ENVIRONMENT / "lib").glob("python3*/site-packages/label_studio"))
    if not found:
        raise FileNotFoundError("Label Studio is not installed: run 'make label-studio'.")
    return found[0]


def _environment(directory: Path, postgres: str = "") -> dict[str, str]:
    """What configures Label Studio; nothing of Studio's own environment reaches it."""
    wanted = {
        "PATH": os.environ["PATH"],
        "HOME": str(directory),
        "DJANGO_SETTINGS_MODULE": "core.settings.label_studio",
        "LABEL_STUDIO_BASE_DATA_DIR": str(directory),
        "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
        "SECRET_KEY": secrets.token_hex(32),
        "DEBUG": "false",
        "LOG_LEVEL": "WARNING",
        "COLLECT_ANALYTICS": "false",
        "LATEST_VERSION_CHECK": "false",
        "SENTRY_DSN": "",
        "FRONTEND_SENTRY_DSN": "",
        "DJANGO_DB": "postgresql" if postgres else "sqlite",
    }
    if postgres:
        database = dj_database_url.parse(postgres)
        wanted |= {
            "POSTGRE_NAME": database["NAME"],
            "POSTGRE_USER": database["USER"],
            "POSTGRE_PASSWORD": database["PASSWORD"],
            "POSTGRE_HOST": database["HOST"] or database.get("OPTIONS", {}).get("host", ""),  # a socket's directory
            "POSTGRE_PORT": str(database["PORT"] or 5432),
        }
    return wanted


def _manage(environment: dict[str, str], *arguments: str, stdin: str = "") -> None:
    _python(environment, str(_package() / "manage.py"), *arguments, stdin=stdin)


def _python(environment: dict[str, str], *arguments: str, stdin: str = "") -> None:
    """Label Studio's Python, with its modules at the top level, as its own manage.py has them."""
    command = [ENVIRONMENT / "bin" / "python", *arguments]
    environment = environment | {"PYTHONPATH": str(_package())}
    done = subprocess.run(command, env=environment, input=stdin, capture_output=True, text=True, timeout=600)
    if done.returncode:
        raise RuntimeError(f"Label Studio could not be set up:\n{done.stderr[-2000:]}")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def _die_with_parent() -> None:
    """In the new process: nobody keeps serving for a test run that was killed. Its workers leave with the master."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def _wait_until_healthy(url: str, process: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    with httpx.Client(base_url=url, timeout=START_SECONDS, trust_env=False) as client:
        while process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(httpx.TransportError):
                if client.get("/health").status_code == 200:
                    return
            time.sleep(0.2)
    raise TimeoutError(f"Label Studio did not come up:\n{log.read_text(errors='replace')[-2000:]}")


def _stop(process: subprocess.Popen) -> None:
    """End the whole process group, by force where asking does not help."""
    for number, seconds in ((signal.SIGTERM, 10), (signal.SIGKILL, 10)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=seconds)
            if number == signal.SIGTERM:  # its workers, should the master have left them
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            return


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--prepare", action="store_true", help="make the empty database that tests copy")
    arguments.add_argument("directory", nargs="?", type=Path, help="serve from here until interrupted")
    options = arguments.parse_args()
    if options.prepare:
        prepare()
    elif options.directory:
        with label_studio(options.directory) as running, contextlib.suppress(KeyboardInterrupt):
            print(f"{running.url}  {next(iter(running.tokens))}  password: {PASSWORD}  token: {running.token}")
            signal.pause()
    else:
        arguments.error("say where, or --prepare")
