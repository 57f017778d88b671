"""What a vLLM server's log says: how far its start is, and why it failed."""

from __future__ import annotations

import re

# Words of vLLM 0.32's log, in the order in which they appear, and what begins with them.
PHASES = (
    ("", "Loading the libraries"),
    ("non-default args", "Reading the model's configuration"),
    ("Initializing a V1 LLM engine", "Starting the engine"),
    ("Starting to load model", "Loading the weights"),
    ("Loading weights took", "Reserving the key-value cache"),
    ("KV cache size", "Warming up"),
    ("init engine", "Opening the API"),
    ("Starting vLLM server on", "Waiting for the first health check"),
)
LAST_WORDS = re.compile(r"(?:^|[\s.])((?:\w+\.)*\w*(?:Error|Exception|Interrupt)): (\S.*)$")
UNHELPFUL = ("Engine core initialization failed", "Engine core proc", "WorkerProc initialization failed")


def phase(log: str) -> tuple[int, str]:
    """(phases that are over, what it does now)."""
    step = max(number for number, (words, _) in enumerate(PHASES) if words in log)
    return step, PHASES[step][1]


def cause_of_death(log: str) -> str:
    """The exception that ended it, as one sentence; the last line when there is none."""
    causes = []
    for line in log.splitlines():
        found = LAST_WORDS.search(line)
        if found and not found.group(2).startswith(UNHELPFUL):
            causes.append(f"{found.group(1)}: {found.group(2)}")
    if causes:
        return causes[0] if "memory" in causes[0].lower() else causes[-1]
    lines = [line for line in log.splitlines() if line.strip()]
    return lines[-1].strip() if lines else "It ended without a word."
