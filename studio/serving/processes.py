"""Process groups on this host, told apart from others that reuse their numbers.

A vLLM server is an API server, an EngineCore and workers in one process group. Killing the first leaves the others
alive, so everything here speaks of the group.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

TERMINATE_SECONDS = 10.0  # from SIGTERM to SIGKILL
MARK = "STUDIO_SERVER"  # environment variable that names studio and server: <var directory>#<row id>

_children: dict[int, subprocess.Popen] = {}  # ours, to be reaped


def start_group(command: list[str], log: Path, environment: dict[str, str], directory: Path) -> tuple[int, str]:
    """Start `command` as leader of its own session; (group id, identity of the leader)."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "ab") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            cwd=directory,
            env={**os.environ, **environment},
            start_new_session=True,
        )
    _children[process.pid] = process
    return process.pid, identity(process.pid) or ""


def identity(pid: int) -> str | None:
    """Boot id and start tick of a living process; None when there is none (a zombie does not live)."""
    stat = _stat(pid)
    if stat is None or stat[0] in "ZX":
        return None
    return f"{_boot_id()}:{stat[19]}"


def leader_lives(group: int | None, start: str) -> bool:
    if not group:
        return False
    if group in _children and _children[group].poll() is not None:
        del _children[group]
    return identity(group) == start


def members(group: int) -> list[int]:
    """The living processes of a group."""
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            stat = _stat(int(entry.name))
            if stat is not None and int(stat[2]) == group and stat[0] not in "ZX":
                found.append(int(entry.name))
    return found


def end_group(group: int | None, start: str) -> None:
    """SIGTERM to the whole group, SIGKILL to what is left after a while; returns when nothing of it lives.

    A group whose leader is another process than the recorded one is somebody else's and is left alone. (The kernel
    gives a number to no new process while a group of that number has members.)
    """
    if not group or (identity(group) or start) != start:
        return
    if start and start.partition(":")[0] != _boot_id():
        return  # the machine was restarted since
    for number, patience in ((signal.SIGTERM, TERMINATE_SECONDS), (signal.SIGKILL, TERMINATE_SECONDS)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, number)
        deadline = time.monotonic() + patience
        while members(group) and time.monotonic() < deadline:
            leader_lives(group, start)  # reaps it
            time.sleep(0.05)
        if not members(group):
            break
    leader_lives(group, start)


def marked_groups(studio: Path) -> dict[int, int]:
    """Group id → server id of every server that a studio on this var/ directory started and that still lives."""
    wanted = f"{MARK}={studio}#".encode()
    found = {}
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError, ValueError):
            variables = Path(entry.path, "environ").read_bytes().split(b"\0")
            for variable in variables:
                if variable.startswith(wanted):
                    found[os.getpgid(int(entry.name))] = int(variable.removeprefix(wanted))
    return found


def free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return probe.getsockname()[1]


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/<pid>/stat after the name: state, parent, group, …; start tick is the 20th."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
