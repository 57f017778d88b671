"""Start recipes as people do, in a process of their own on a run directory, and interrupt them."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from studio.runs.directory import make_run_directory, read_jsonl

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 240  # seconds


def recipe(name: str) -> Any:
    return importlib.import_module(f"training.recipes.{name}").RECIPE


def make_run(path: Path, name: str, config: dict[str, Any], **inputs: Path | list[Path]) -> Path:
    paths = {role: given if isinstance(given, list) else [given] for role, given in inputs.items()}
    return make_run_directory(path, recipe(name), config, paths)


def start(run: Path, name: str) -> subprocess.Popen:
    """The recipe's first process, in a process group of its own, its output in log.txt."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    with open(run / "log.txt", "ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", recipe(name).module, str(run)],
            cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip


def finish(run: Path, name: str) -> dict[str, Any]:
    """Run to the end and give result.json."""
    process = start(run, name)
    assert process.wait(LIMIT) == 0, (run / "log.txt").read_text()[-4000:]
    return json.loads((run / "result.json").read_text())


def fail(run: Path, name: str) -> dict[str, Any]:
    """Run to the error that is expected and give error.json."""
    assert start(run, name).wait(LIMIT) != 0, (run / "log.txt").read_text()[-4000:]
    assert not (run / "result.json").exists()
    return json.loads((run / "error.json").read_text())


def wait_for_step(run: Path, step: int, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + LIMIT
    while last_step(run) < step:
        assert process.poll() is None and time.monotonic() < deadline, (run / "log.txt").read_text()[-4000:]
        time.sleep(0.002)


def last_step(run: Path) -> int:
    return max((row["step"] for row in read_jsonl(run / "metrics.jsonl")), default=-1)


def kill(process: subprocess.Popen) -> None:
    """SIGKILL to the launcher and all its ranks, and wait until none is left."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    while True:
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.01)


def ask_ranks_to_stop(run: Path) -> None:
    """SIGTERM to the ranks themselves, as the launching host does."""
    for file in (run / "ranks").iterdir():
        os.kill(int(file.read_text()), signal.SIGTERM)


def series(run: Path, name: str) -> list[tuple[int, float]]:
    """(step, value) of each logged row that has `name`."""
    return [(row["step"], row[name]) for row in read_jsonl(run / "metrics.jsonl") if name in row]
