"""The run contract on disk: one directory that a recipe reads its config from and writes everything into.

    config.json     {"recipe", "config", "inputs": {role: [absolute path, …]}, "input_info": {role: [metadata, …]}}
    log.txt         stdout and stderr
    metrics.jsonl   append only, one object a logged step: {"step", "time", "<name>": …}
    samples.jsonl   text samples while training: {"step", "time", "prompt", "text", …}
    progress.json   {"done", "total", "unit", "note", "rate", "time"}, replaced atomically
    checkpoints/    step-<n> directories, each written aside and renamed when complete
    output/<role>/  what becomes artifacts
    error.json      {"type", "message", "user_error"} of the last attempt that raised
    result.json     {"metrics", "outputs": {role: metadata}}; written last: its existence means success
    lock            every process of the run holds a shared flock on it
    ranks/<rank>    the process ids to signal

Pure standard library; recipes call `launch(RECIPE, run)` at the bottom of their module.
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import dataclasses
import fcntl
import json
import os
import shutil
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from studio.runs.contract import Recipe, parse_config


def write_json(path: Path, value: Any) -> None:
    """Replace `path` atomically: a reader sees the old file or the new one, also after a power cut."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    with open(aside, "w", encoding="utf8") as file:
        json.dump(value, file, ensure_ascii=False, indent=1)
        file.flush()
        os.fsync(file.fileno())
    os.replace(aside, path)


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """The complete lines of an append-only file; a torn last line (a writer killed in mid-write) is left out."""
    if not path.exists():
        return []
    rows = []
    for line in path.read_bytes().split(b"\n")[:-1]:
        with contextlib.suppress(ValueError):  # a torn line that a resumed writer closed with a newline
            rows.append(json.loads(line))
    return rows


class RunDirectory:
    """A recipe's view of its run: config and inputs to read; metrics, samples, checkpoints and outputs to write."""

    def __init__(self, path: Path, recipe: Recipe):
        self.path = path
        self.recipe = recipe
        self.rank = int(os.environ.get("RANK", "0"))
        document = json.loads((path / "config.json").read_text(encoding="utf8"))
        self.config = parse_config(recipe.config, document["config"])
        self._inputs = {role: [Path(p) for p in paths] for role, paths in document.get("inputs", {}).items()}
        self._input_info = document.get("input_info", {})
        for role, declared in recipe.inputs.items():
            if declared.required and not self._inputs.get(role):
                raise ValueError(
                    f"Input '{role}' ({declared.label}) is missing: give one artifact of kind {declared.kind}."
                )
        self.stop_requested = False
        self._progress_origin: tuple[float, float] | None = None

    # Inputs

    def input(self, role: str) -> Path:
        """The one path given for `role`."""
        return self._inputs[role][0]

    def optional_input(self, role: str) -> Path | None:
        paths = self._inputs.get(role, [])
        return paths[0] if paths else None

    def input_list(self, role: str) -> list[Path]:
        return self._inputs.get(role, [])

    def input_info(self, role: str) -> list[dict[str, Any]]:
        """What the studio knows of each input of `role`: {"id", "name", "kind", "metadata"}.

        Made up from the paths when the config was written by hand.
        """
        known = self._input_info.get(role)
        return known or [
            {"id": None, "name": path.name, "kind": self.recipe.inputs[role].kind, "metadata": {}}
            for path in self.input_list(role)
        ]

    # What is logged; only rank 0 writes

    def log_metrics(self, step: int, **values: float) -> None:
        """Append one line of metrics. Non-finite values are written as null: JSON has no NaN."""
        finite = {k: (v if v == v and abs(v) != float("inf") else None) for k, v in values.items()}
        self._append("metrics.jsonl", {"step": step, "time": time.time(), **finite})

    def log_sample(self, step: int, **values: Any) -> None:
        self._append("samples.jsonl", {"step": step, "time": time.time(), **values})

    def metrics(self) -> list[dict[str, Any]]:
        return read_jsonl(self.path / "metrics.jsonl")

    def progress(self, done: float, total: float, unit: str, note: str = "") -> None:
        """Say how far the run is. The rate is that of this process, so an ETA is right after a resume too."""
        if self.rank:
            return
        now = time.time()
        if self._progress_origin is None or done < self._progress_origin[0]:
            self._progress_origin = (done, now)
        start, since = self._progress_origin
        rate = (done - start) / (now - since) if now > since and done > start else None
        write_json(
            self.path / "progress.json",
            {"done": done, "total": total, "unit": unit, "note": note, "rate": rate, "time": now},
        )

    def _append(self, name: str, row: dict[str, Any]) -> None:
        if self.rank:
            return
        with open(self.path / name, "a", encoding="utf8") as file:
            file.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")

    # Checkpoints

    @contextlib.contextmanager
    def checkpoint(self, step: int, keep: int = 1) -> Iterator[Path]:
        """A directory to write the state after `step` into. It counts only once the block ends without an error;
        then all but the newest `keep` are removed. For single-process recipes; with several ranks use
        `begin_checkpoint` and `complete_checkpoint` around the collective save.
        """
        aside = self.begin_checkpoint(step)
        yield aside
        self.complete_checkpoint(step, keep)

    def begin_checkpoint(self, step: int) -> Path:
        aside = self.path / "checkpoints" / f".step-{step:08d}"
        if not self.rank:
            shutil.rmtree(aside, ignore_errors=True)
            aside.mkdir(parents=True)
        return aside

    def complete_checkpoint(self, step: int, keep: int = 1) -> None:
        if self.rank:
            return
        aside = self.path / "checkpoints" / f".step-{step:08d}"
        final = aside.with_name(aside.name[1:])
        for file in aside.rglob("*"):
            if file.is_file():
                with open(file, "rb") as handle:
                    os.fsync(handle.fileno())
        shutil.rmtree(final, ignore_errors=True)
        os.replace(aside, final)
        for old in self.checkpoints()[:-keep]:
            shutil.rmtree(old, ignore_errors=True)

    def checkpoints(self) -> list[Path]:
        """Complete checkpoints, oldest first."""
        return sorted((self.path / "checkpoints").glob("step-*"))

    def latest_checkpoint(self) -> tuple[int, Path] | None:
        """The newest complete checkpoint as (step, directory)."""
        found = self.checkpoints()
        return (int(found[-1].name.removeprefix("step-")), found[-1]) if found else None

    def truncate_to(self, step: int) -> None:
        """Forget metrics and samples logged after `step` (0: all), so that a resumed run logs each step once."""
        if self.rank:
            return
        for name in ("metrics.jsonl", "samples.jsonl"):
            path = self.path / name
            if not path.exists():
                continue
            kept = [row for row in read_jsonl(path) if step and row["step"] <= step]
            aside = path.with_name(f".{name}")
            aside.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in kept), encoding="utf8")
            os.replace(aside, path)

    # Results

    def output(self, role: str) -> Path:
        """An empty directory (kept when it has been made before) for the output artifact of `role`."""
        assert role in self.recipe.outputs, role
        path = self.path / "output" / role
        path.mkdir(parents=True, exist_ok=True)
        return path

    def finish(self, metrics: dict[str, Any], outputs: dict[str, dict[str, Any]] | None = None) -> None:
        """Declare success. `outputs` maps roles to metadata kept with the artifact (name, licence, dataset_type, …).

        An output role left out of `outputs` is not registered. A metadata key "name" names the artifact.
        """
        if self.rank:
            return
        outputs = outputs if outputs is not None else {role: {} for role in self.recipe.outputs}
        for role in outputs:
            assert role in self.recipe.outputs, role
            assert any((self.path / "output" / role).iterdir()), f"output {role} is empty"
        write_json(self.path / "result.json", {"metrics": metrics, "outputs": outputs})


class Stopped(Exception):
    """Raised by a recipe that was asked to stop (SIGTERM) and has saved what it can resume from."""


def launch(recipe: Recipe, run: Callable[[RunDirectory], None]) -> None:
    """Entry point of a recipe module: `python -m <module> <run directory>`.

    The first process makes sure that nobody else works in the directory and, for a multi-process recipe, becomes
    DeepSpeed's per-node launcher, which starts this module once a rank. Exit codes: 0 finished or stopped with a
    checkpoint, 1 failed (see error.json), 75 somebody else holds the run.
    """
    arguments = [a for a in sys.argv[1:] if not a.startswith("--local_rank")]
    if len(arguments) != 1 or not Path(arguments[0], "config.json").is_file():
        sys.exit(f"usage: python -m {recipe.module} <run directory with a config.json>")
    path = Path(arguments[0]).resolve()
    _die_with_parent()
    starter = "RANK" not in os.environ
    lock = _take_lock(path, starter)
    if lock is None:
        print(f"Another process still works in {path}; wait for it to end or stop it first.", file=sys.stderr)
        sys.exit(75)
    if (path / "result.json").exists():
        print("This run has finished already: result.json is there.", file=sys.stderr)
        return
    if starter:
        (path / "error.json").unlink(missing_ok=True)
        shutil.rmtree(path / "ranks", ignore_errors=True)
        (path / "ranks").mkdir()
        if recipe.launcher == "deepspeed":
            _become_deepspeed_launcher(recipe, path, lock)
    directory = None
    try:
        directory = RunDirectory(path, recipe)
        signal.signal(signal.SIGTERM, lambda *_: setattr(directory, "stop_requested", True))
        ranks = getattr(directory.config, "ranks", 1)
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // ranks)))
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that spin make a shared machine ten times slower
        (path / "ranks" / str(directory.rank)).write_text(str(os.getpid()))
        run(directory)
    except Stopped as stopped:
        print(f"Stopped: {stopped}", flush=True)
    except BaseException as error:
        if not isinstance(error, SystemExit):
            traceback.print_exc()
        if not (path / "error.json").exists():  # the first rank to fail knows why; the others only lost their peer
            write_json(path / "error.json", describe_error(error))
        sys.exit(1)


def describe_error(error: BaseException) -> dict[str, Any]:
    """What the user is told. ValueError carries a sentence meant for people; others keep their type's name."""
    message = str(error) or type(error).__name__
    if (
        isinstance(error, MemoryError)
        or "out of memory" in message.lower()
        or "can't allocate memory" in message.lower()
    ):
        first = message.splitlines()[0][:300]
        message = f"Out of memory: lower the micro batch size or the sequence length, or use a smaller model. ({first})"
        return {"type": "OutOfMemory", "message": message, "user_error": True}
    user_error = isinstance(error, ValueError | FileNotFoundError)
    lines = message.strip().splitlines()
    text = "\n".join(lines[-6:])
    return {
        "type": type(error).__name__,
        "message": text if user_error else f"{type(error).__name__}: {text}",
        "user_error": user_error,
    }


def _take_lock(path: Path, starter: bool) -> int | None:
    """A shared lock for this process's life; the starter first proves, by an exclusive one, that it is alone."""
    handle = os.open(path / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if starter:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle


def _die_with_parent() -> None:
    """A supervised recipe does not outlive the worker that started it (nor a rank its launcher)."""
    parent = os.environ.get("STUDIO_SUPERVISED_BY")  # its process id
    if parent and sys.platform == "linux":
        PR_SET_PDEATHSIG = 1
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != int(parent):  # it died before the call
            os.kill(os.getpid(), signal.SIGKILL)
        os.environ["STUDIO_SUPERVISED_BY"] = str(os.getpid())  # for the ranks, when this becomes their launcher


def _become_deepspeed_launcher(recipe: Recipe, path: Path, lock: int) -> None:
    config = parse_config(recipe.config, json.loads((path / "config.json").read_text(encoding="utf8"))["config"])
    ranks = getattr(config, "ranks", 1)
    os.set_inheritable(lock, True)  # the launcher holds the run too
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    world = base64.urlsafe_b64encode(json.dumps({"localhost": list(range(ranks))}).encode()).decode()
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // ranks)))
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that spin make a shared machine ten times slower
    command = [
        sys.executable,
        "-m",
        "deepspeed.launcher.launch",
        f"--world_info={world}",
        "--node_rank=0",
        "--master_addr=127.0.0.1",
        f"--master_port={port}",
        "--no_local_rank",
        "--module",
        recipe.module,
        str(path),
    ]
    sys.stdout.flush()
    os.execv(sys.executable, command)


def make_run_directory(
    path: Path,
    recipe: Recipe,
    config: dict[str, Any] | Any,
    inputs: dict[str, list[Path | str]] | None = None,
    input_info: dict[str, list[dict[str, Any]]] | None = None,
) -> Path:
    """Write the config.json that `launch` reads; the config is checked and completed with defaults first."""
    values = config if isinstance(config, dict) else dataclasses.asdict(config)
    checked = parse_config(recipe.config, values)
    path.mkdir(parents=True, exist_ok=True)
    write_json(
        path / "config.json",
        {
            "recipe": recipe.module,
            "config": dataclasses.asdict(checked),
            "inputs": {role: [str(Path(p).resolve()) for p in paths] for role, paths in (inputs or {}).items()},
            "input_info": input_info or {},
        },
    )
    return path
