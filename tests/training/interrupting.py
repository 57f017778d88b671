"""Interrupt a single-process recipe from inside, at an exact step: as fast as no process of its own, as sharp as
SIGKILL.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from studio.runs.directory import RunDirectory, Stopped


class Killed(BaseException):
    """Nothing catches it, nothing is saved on its way."""


class Interrupted(RunDirectory):
    """Asks for a stop, or dies, when the metrics of a step are logged."""

    stop_at = kill_at = 0

    def log_metrics(self, step: int, **values: float) -> None:
        super().log_metrics(step, **values)
        if step == self.kill_at:
            raise Killed
        self.stop_requested |= step == self.stop_at


def run_interrupted(module: Any, run: Path, stop_at: int = 0, kill_at: int = 0) -> None:
    directory = Interrupted(run, module.RECIPE)
    directory.stop_at, directory.kill_at = stop_at, kill_at
    try:
        module.run(directory)
    except (Stopped, Killed):
        return
    raise AssertionError("the run ended without being interrupted")


def run_whole(module: Any, run: Path) -> None:
    module.run(RunDirectory(run, module.RECIPE))
