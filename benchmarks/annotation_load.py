"""Scripted annotators over the studio's HTTP API: claim and submit, in two requests or with the next claim in one."""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass
class Load:
    """What all annotators did together. Times are in seconds."""

    judgements: int = 0
    seconds: float = 0
    errors_5xx: int = 0
    refused: list[str] = field(default_factory=list)
    claim_seconds: list[float] = field(default_factory=list)
    submit_seconds: list[float] = field(default_factory=list)

    def add(self, other: Load) -> None:
        self.judgements += other.judgements
        self.errors_5xx += other.errors_5xx
        self.refused += other.refused
        self.claim_seconds += other.claim_seconds
        self.submit_seconds += other.submit_seconds


class Annotator:
    """One person's program with a connection of its own, kept open. The standard library's client costs least."""

    def __init__(self, url: str, token: str, queue: int, together: bool):
        self.address = urlsplit(url).netloc
        self.headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self.queue = queue
        self.together = together
        self.random = random.Random(token)
        self.load = Load()
        self.connection = http.client.HTTPConnection(self.address, timeout=120)

    def work(self, until: Callable[[], bool]) -> Load:
        """Claim and submit until the queue has nothing more for this person, or `until` says so."""
        claim = self.claim()
        while claim is not None and not until():
            claim = self.submit(claim)
        self.connection.close()
        return self.load

    def claim(self) -> dict | None:
        status, answer, seconds = self.post(f"/api/v1/queues/{self.queue}/claim", {})
        self.load.claim_seconds.append(seconds)
        return answer if status == 200 else None

    def submit(self, claim: dict) -> dict | None:
        """Hand in a ranking; the next claim of the same answer, or of a request of its own where that had none."""
        letters = [answer["id"] for answer in claim["answers"]]
        self.random.shuffle(letters)
        body = {"tiers": [[letter] for letter in letters], "next": self.together}
        status, answer, seconds = self.post(
            f"/api/v1/claims/{claim['id']}/submit", body, {"Idempotency-Key": f"benchmark-{claim['id']}"}
        )
        self.load.submit_seconds.append(seconds)
        if status != 201 or answer is None:
            return self.claim()
        self.load.judgements += 1
        return answer["next"] or self.claim()

    def post(self, path: str, body: dict, headers: dict[str, str] | None = None) -> tuple[int, dict | None, float]:
        """Status, answer and seconds. A connection that the server has closed meanwhile is opened again, once."""
        content, headers = json.dumps(body), self.headers | (headers or {})
        started = time.perf_counter()
        try:
            self.connection.request("POST", path, content, headers)
            response = self.connection.getresponse()
        except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
            self.connection.close()
            self.connection.request("POST", path, content, headers)
            response = self.connection.getresponse()
        text = response.read()
        seconds = time.perf_counter() - started
        if response.status >= 500:
            self.load.errors_5xx += 1
        if response.status >= 400:
            self.load.refused.append(f"{response.status} {path}: {text[:200]!r}")
        return response.status, json.loads(text) if text and response.status < 300 else None, seconds


def run(url: str, tokens: list[str], queue: int, *, seconds: float | None = None, together: bool = True) -> Load:
    """All annotators at once, each in a thread; to the end of the queue, or for so many seconds.

    `together`: an answer is sent and the next task asked for in one request.
    """
    start, total = threading.Barrier(len(tokens) + 1), Load()
    deadline = [float("inf")]

    def work(token: str) -> Load:
        annotator = Annotator(url, token, queue, together)
        start.wait()
        return annotator.work(lambda: time.perf_counter() > deadline[0])

    with ThreadPoolExecutor(len(tokens)) as pool:
        futures = [pool.submit(work, token) for token in tokens]
        start.wait()
        started = time.perf_counter()
        if seconds is not None:
            deadline[0] = started + seconds
        for future in futures:
            total.add(future.result())
        total.seconds = time.perf_counter() - started
    return total
