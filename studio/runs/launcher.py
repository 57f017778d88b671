"""The worker's side of a run: claim the row, lease the device, start the recipe, follow it, register what it made.

Every step may be cut off by SIGKILL. What is true afterwards follows from three things only: the row (who claimed
it, and its heartbeat), the run directory's lock (whether any of its processes lives) and result.json.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from django.conf import settings
from django.db import OperationalError, connection, transaction
from django.utils import timezone

from studio.runs.models import Artifact, DeviceLease, Run, hash_directory
from studio.runs.registry import call_before_lease, call_on_success

log = logging.getLogger(__name__)


SECRETS = ("DJANGO_SECRET_KEY", "DATABASE_URL", "REDIS_URL", "LABEL_STUDIO_API_KEY")
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
_worker_stops = threading.Event()


def stop_for_worker_shutdown() -> None:
    """Runs of this process save a checkpoint, stop and go back into the queue."""
    _worker_stops.set()


class ClaimLost(Exception):
    """Another worker holds the run now, or it was cancelled before it started."""


class Execution:
    """One attempt at one run by this process."""

    def __init__(self, run_id: int):
        self.worker = f"{socket.gethostname()}:{os.getpid()}:{time.monotonic_ns()}"
        self.run_id = run_id
        self.last_heartbeat = 0.0

    def execute(self) -> None:
        if not self._claim():
            return
        run = Run.objects.select_related("project", "created_by").get(pk=self.run_id)
        try:
            with self._device(run):
                exit_status = self._run_recipe(run)
            self._conclude(run, exit_status)
        except ClaimLost:
            log.warning("run %s is held by another worker now", self.run_id)

    def _claim(self) -> bool:
        """Exactly one worker gets a queued run, and none that is about to stop."""
        if _worker_stops.is_set():
            return False
        now = timezone.now()
        queued = Run.objects.filter(pk=self.run_id, status=Run.Status.QUEUED)
        return queued.update(status=Run.Status.RUNNING, worker=self.worker, heartbeat_at=now) == 1

    def _mine(self):
        return Run.objects.filter(pk=self.run_id, status=Run.Status.RUNNING, worker=self.worker)

    def _heartbeat(self) -> bool:
        """Whether a cancel was requested. Raises ClaimLost when the row is not ours any more.

        A database that is away (restarted, or locked for long) does not end the training: should another worker
        claim the run meanwhile, it waits for the directory's lock, and we learn of it at the next heartbeat.
        """
        try:
            self._keep_alive()
            return self._mine().filter(cancel_requested=True).exists()
        except OperationalError:
            log.warning("run %s: no heartbeat, the database is away", self.run_id, exc_info=True)
            connection.close()  # the next query opens a new one
            return False

    def _keep_alive(self) -> None:
        if time.monotonic() - self.last_heartbeat > settings.RUN_HEARTBEAT_SECONDS:
            if not self._mine().update(heartbeat_at=timezone.now()):
                raise ClaimLost
            self.last_heartbeat = time.monotonic()

    @contextlib.contextmanager
    def _device(self, run: Run) -> Iterator[None]:
        """Hold the host's device for a gpu run. A lease whose run is not running any more is free."""
        if run.queue != "gpu":
            yield
            return
        lease, _ = DeviceLease.objects.get_or_create(device=settings.DEVICE_NAME)
        call_before_lease(settings.DEVICE_NAME)
        while True:
            running = Run.objects.filter(status=Run.Status.RUNNING).exclude(pk=run.pk)
            free = DeviceLease.objects.filter(pk=lease.pk).exclude(run__in=running)
            if free.update(run=run):
                break
            if self._heartbeat():
                break  # cancelled while waiting: the recipe is not started
            time.sleep(0.5)
        try:
            yield
        finally:
            DeviceLease.objects.filter(pk=lease.pk, run=run).update(run=None)

    def _run_recipe(self, run: Run) -> int | None:
        """Start the recipe's process group and follow it to its end; its exit status, None when it was not started."""
        self._wait_for_lock(run.directory)
        if (run.directory / "result.json").exists():
            return 0  # an earlier attempt finished, its worker died before saying so
        if self._heartbeat():
            return None
        self._count_attempt(run)
        (run.directory / "error.json").unlink(missing_ok=True)
        with open(run.directory / "log.txt", "ab") as output:
            output.write(f"--- attempt {run.attempt}, {timezone.now():%Y-%m-%d %H:%M:%S} UTC\n".encode())
            output.flush()
            process = subprocess.Popen(
                [sys.executable, "-m", run.recipe.module, str(run.directory)],
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                cwd=settings.BASE_DIR,
                env=recipe_environment(),
                start_new_session=True,
            )
        try:
            return self._follow(run, process)
        finally:
            kill_group(process.pid)  # whatever is left of it
            process.wait()

    def _count_attempt(self, run: Run) -> None:
        found = sorted((run.directory / "checkpoints").glob("step-*"))
        step = int(found[-1].name.removeprefix("step-")) if found else -1
        run.attempt += 1
        run.fruitless_attempts = run.fruitless_attempts + 1 if step == run.checkpoint_step else 1
        run.checkpoint_step = step
        changed = self._mine().update(
            attempt=run.attempt,
            fruitless_attempts=run.fruitless_attempts,
            checkpoint_step=step,
            started_at=run.started_at or timezone.now(),
        )
        if not changed:
            raise ClaimLost

    def _follow(self, run: Run, process: subprocess.Popen) -> int:
        asked_at = None
        while process.poll() is None:
            if (self._heartbeat() or _worker_stops.is_set()) and asked_at is None:
                asked_at = time.monotonic()
                signal_ranks(run.directory, signal.SIGTERM, process)
            if asked_at is not None and time.monotonic() - asked_at > settings.RUN_GRACE_SECONDS:
                kill_group(process.pid)
            time.sleep(0.2)
        deadline = time.monotonic() + settings.RUN_GRACE_SECONDS
        while is_locked(run.directory) and time.monotonic() < deadline:  # ranks that still save
            self._heartbeat()
            time.sleep(0.2)
        return process.returncode

    def _wait_for_lock(self, directory: Path) -> None:
        """Processes of an earlier attempt may still live (their worker was killed): wait, then kill them."""
        deadline = time.monotonic() + settings.RUN_GRACE_SECONDS
        while is_locked(directory):
            if time.monotonic() > deadline:
                signal_ranks(directory, signal.SIGKILL)
            self._heartbeat()
            time.sleep(0.2)

    def _conclude(self, run: Run, exit_status: int | None) -> None:
        """Decide what became of the run from result.json, the cancel flag and error.json, in this order."""
        if (run.directory / "result.json").exists():
            self._succeed(run)
            return
        cancelled = self._mine().filter(cancel_requested=True).exists()
        error = read_error(run.directory)
        if cancelled:
            self._finish(status=Run.Status.CANCELLED)
        elif error is not None:
            self._finish(status=Run.Status.FAILED, error=error)
        elif run.fruitless_attempts >= settings.RUN_MAX_ATTEMPTS and not _worker_stops.is_set():
            self._finish(status=Run.Status.FAILED, error=describe_exit(exit_status, run.fruitless_attempts))
        else:  # stopped from outside with nothing wrong of its own: the next sweep hands it to a worker again
            log.warning("run %s ended with status %s; back into the queue", run.pk, exit_status)
            self._mine().update(status=Run.Status.QUEUED, worker="", enqueued_at=LONG_AGO)

    def _finish(self, **values) -> None:
        self._mine().update(finished_at=timezone.now(), **values)

    def _succeed(self, run: Run) -> None:
        result = json.loads((run.directory / "result.json").read_text(encoding="utf8"))
        try:
            # Before the transaction: on SQLite it keeps every other writer waiting.
            hashes = {
                role: hash_directory(run.directory / "output" / role, self._keep_alive) for role in result["outputs"]
            }
            with transaction.atomic():
                changed = self._mine().update(
                    status=Run.Status.SUCCEEDED, finished_at=timezone.now(), result=result["metrics"], error=""
                )
                if not changed:
                    raise ClaimLost
                run.refresh_from_db()
                register_outputs(run, result["outputs"], hashes)
                call_on_success(run)
        except (ClaimLost, OperationalError):
            raise  # the sweep hands the run to a worker again, which finds result.json
        except Exception as error:  # an app's act, or a file: trying again would fail again, for ever
            log.exception("run %s finished, but its outputs could not be registered", run.pk)
            self._finish(status=Run.Status.FAILED, error=f"The outputs could not be registered: {error}")


def recipe_environment() -> dict[str, str]:
    """The worker's, without what only the studio itself may know: evaluation tasks may bring code of their own."""
    inherited = {name: value for name, value in os.environ.items() if name not in SECRETS}
    return {
        **inherited,
        "STUDIO_SUPERVISED_BY": str(os.getpid()),
        "PYTHONUNBUFFERED": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "VLLM_NO_USAGE_STATS": "1",
    }


def register_outputs(run: Run, outputs: dict[str, dict], hashes: dict[str, tuple[str, int]] | None = None) -> None:
    """One artifact an output role; a role that was registered before is left alone. `hashes` are made if not given."""
    for role, values in outputs.items():
        if run.outputs.filter(role=role).exists():
            continue
        metadata = dict(values)
        name = metadata.pop("name", "") or f"{run.title} #{run.pk}"
        Artifact.register(
            run.project, run.recipe.outputs[role], name[:160], run.directory / "output" / role, run.created_by,
            metadata, produced_by=run, role=role, hashed=(hashes or {}).get(role),
        )  # fmt: skip


def read_error(directory: Path) -> str | None:
    try:
        return json.loads((directory / "error.json").read_text(encoding="utf8"))["message"]
    except FileNotFoundError:
        return None


def describe_exit(status: int | None, attempts: int) -> str:
    """A process that ended without a word: what that usually means."""
    if status is not None and status in (-signal.SIGKILL, 128 + signal.SIGKILL):
        return (
            f"The process was killed {attempts} times without reaching a new checkpoint; the machine probably ran "
            "out of memory. Lower the micro batch size or the sequence length, or use a smaller model."
        )
    return (
        f"The process ended {attempts} times (last exit status {status}) without a result; the log has its last words."
    )


def is_locked(directory: Path) -> bool:
    """Whether any process of the run lives."""
    try:
        handle = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def signal_ranks(directory: Path, number: signal.Signals, process: subprocess.Popen | None = None) -> None:
    """Signal the ranks themselves, not DeepSpeed's launcher, which would die at once and kill them after 30 s.

    A rank that has not reported yet has nothing to save: then the whole group is signalled.
    """
    ranks = list((directory / "ranks").glob("*"))
    for path in ranks:
        with contextlib.suppress(ProcessLookupError, FileNotFoundError, ValueError):  # some have ended
            pid = int(path.read_text())
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if str(directory).encode() in arguments:  # ids are reused, also by run 42 for one of run 4
                os.kill(pid, number)
    if not ranks and process is not None:
        kill_group(process.pid, number)


def kill_group(group: int, number: signal.Signals = signal.SIGKILL) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
