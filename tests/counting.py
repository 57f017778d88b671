"""A recipe for tests: counts to `steps`, one checkpoint a step, and misbehaves on demand."""

import json
import time
from dataclasses import dataclass

from studio.runs.contract import Input, Recipe, option
from studio.runs.directory import RunDirectory, Stopped, launch


@dataclass(frozen=True)
class CountConfig:
    steps: int = option(10, "Steps", "How far to count.", minimum=1, maximum=10_000)
    seconds_a_step: float = option(0.0, "Seconds a step", "How long each step sleeps.", unit="s", minimum=0)
    checkpoint_every: int = option(1, "Checkpoint every", unit="steps", minimum=1)
    fail_at: int = option(-1, "Fail at", "Raise ValueError at this step.")
    ignore_stop: bool = option(False, "Ignore stop", "Go on when asked to stop.")


RECIPE = Recipe(
    module="tests.counting",
    name="count",
    title="Count",
    summary="Count to a number.",
    stage="data",
    config=CountConfig,
    inputs={"start": Input("corpus", "Start", "Where to start.", required=False)},
    outputs={"total": "report"},
    queue="cpu",
)


def run(directory: RunDirectory) -> None:
    config = directory.config
    found = directory.latest_checkpoint()
    step = found[0] if found else 0
    directory.truncate_to(step)
    total = json.loads((found[1] / "total.json").read_text()) if found else 0
    while step < config.steps:
        step += 1
        total += step
        time.sleep(config.seconds_a_step)
        if step == config.fail_at:
            raise ValueError(f"Step {step} was told to fail; choose another 'Fail at'.")
        directory.log_metrics(step, loss=1 / step, total=total)
        directory.progress(step, config.steps, "steps")
        stop = directory.stop_requested and not config.ignore_stop
        if step % config.checkpoint_every == 0 or stop:
            with directory.checkpoint(step) as path:
                (path / "total.json").write_text(json.dumps(total))
        if stop:
            raise Stopped(f"at step {step}")
    (directory.output("total") / "report.json").write_text(json.dumps({"total": total}))
    directory.finish({"total": total}, {"total": {"name": f"Sum to {step}", "type": "count"}})


if __name__ == "__main__":
    launch(RECIPE, run)
