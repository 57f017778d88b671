"""lm-eval tasks from local YAML files whose data are local too.

A task's `dataset_kwargs.data_files` may name files relative to the YAML or to a data directory; both are made
absolute here, because the datasets library would look for them below the working directory and then on the hub.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lm_eval.tasks import TaskManager

SHIPPED_TASKS = Path(__file__).parent / "benchmarks"
DEMO_TASKS = Path(__file__).parent.parent / "demo" / "lm_eval_tasks"


def task_manager(directories: list[Path]) -> TaskManager:
    """lm-eval's index of `directories` alone; its default index would take 13 s and reach for the network."""
    from lm_eval.tasks import TaskManager

    for directory in directories:
        if not directory.is_dir():
            raise ValueError(f"Task directory {directory} does not exist: give a directory of lm-eval YAML files.")
    return TaskManager(include_path=[str(d) for d in directories], include_defaults=False)


def local_task(manager: TaskManager, name: str, data_directory: Path | None) -> dict[str, Any]:
    """The full config of one task, `!function`s resolved and data files absolute, as `simple_evaluate` takes it.

    Raises ValueError for an unknown task, a task that is not a single one, or data that are not on this machine.
    """
    from lm_eval.tasks._yaml_loader import load_yaml

    entry = manager.task_index.get(name)
    if entry is None or entry.yaml_path is None or name not in manager.all_subtasks:
        near = difflib.get_close_matches(name, manager.all_subtasks, 1)
        hint = f"did you mean '{near[0]}'?" if near else f"known tasks: {', '.join(manager.all_subtasks) or 'none'}."
        raise ValueError(f"Unknown task '{name}': {hint}")
    config = load_yaml(entry.yaml_path)
    files = config.get("dataset_kwargs", {}).get("data_files")
    if config.get("dataset_path") not in ("json", "csv", "parquet", "text") or not files:
        raise ValueError(
            f"Task '{name}' does not read local files: give it dataset_path json or csv and dataset_kwargs.data_files."
        )
    roots = [entry.yaml_path.parent, *([data_directory] if data_directory else [])]
    config["dataset_kwargs"] = {**config["dataset_kwargs"], "data_files": _absolute(files, roots, name)}
    return config


def _absolute(files: Any, roots: list[Path], task: str) -> Any:
    """`data_files` (a name, a list or {split: …}) with each name resolved against the first root that has it."""
    if isinstance(files, dict):
        return {split: _absolute(value, roots, task) for split, value in files.items()}
    if isinstance(files, list):
        return [_absolute(value, roots, task) for value in files]
    for root in roots:
        if (root / files).is_file():  # an absolute name stays as it is
            return str((root / files).resolve())
    looked = " or ".join(str(root) for root in roots)
    raise ValueError(f"Task '{task}' needs {files}, which is not below {looked}: set the data directory that holds it.")
