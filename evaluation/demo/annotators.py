"""The scripted annotators: programs that work through the studio's HTTP API, as any client would."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

from evaluation.demo.content import DemoContent
from evaluation.demo.scripted_preferences import ScriptedAnnotator, rank, rationale

Answer = Callable[[dict[str, Any]], dict[str, Any] | None]


class Client:
    """One account's view of the API. Errors of the server raise httpx.HTTPStatusError with its words."""

    def __init__(self, address: str, secret: str):
        self.http = httpx.Client(
            base_url=f"{address}/api/v1", headers={"Authorization": f"Bearer {secret}"}, timeout=60, trust_env=False
        )

    def queue(self, project: str, kind: str, name: str = "") -> int:
        """The id of the project's open queue of this kind (and name)."""
        queues = self._get("/queues", project=project)
        return next(q["id"] for q in queues if q["kind"] == kind and name in ("", q["name"]))

    def work(self, queue: int, answer: Answer, done: Callable[[], None]) -> int:
        """Claim, answer and submit until nothing is left; a task without an answer is given back for good."""
        finished = 0
        while True:
            response = self.http.post(f"/queues/{queue}/claim")
            response.raise_for_status()
            if response.status_code == 204:
                return finished
            claim = response.json()
            body = answer(claim)
            if body is None:
                self._post(f"/claims/{claim['id']}/release", {"reason": "Nothing to say", "skip": "others"})
            else:
                key = hashlib.sha256(f"{claim['id']}".encode()).hexdigest()[:32]
                self._post(f"/claims/{claim['id']}/submit", body, {"Idempotency-Key": key})
                finished += 1
            done()

    def file_failure(self, project: str, name: str, completion: int, correction: str, reasoning: str) -> None:
        class_id = next(
            each["id"] for each in self._pages(f"/projects/{project}/failure-classes") if each["name"] == name
        )
        body = {"completion": completion, "correction": correction, "reasoning": reasoning}
        self._post(f"/failure-classes/{class_id}/examples", body)

    def _pages(self, path: str) -> Iterator[dict[str, Any]]:
        after: int | None = 0
        while after is not None:
            page = self._get(path, after=str(after))
            yield from page["items"]
            after = page["next"]

    def _get(self, path: str, **params: str) -> Any:
        response = self.http.get(path, params=params)
        response.raise_for_status()
        return response.json()

    def _post(self, path: str, body: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        response = self.http.post(path, json=body, headers=headers)
        if response.is_error:
            raise RuntimeError(f"{path}: {response.status_code} {response.text[:300]}")


def demonstrating(content: DemoContent) -> Answer:
    """Write the demonstrations of the demo's content; a prompt without one is passed over."""
    texts = {p.key: p.text for p in content.prompts}
    known = {texts[d.prompt_key]: d for d in content.demonstrations}

    def answer(claim: dict[str, Any]) -> dict[str, Any] | None:
        found = known.get(claim["prompt"][-1]["content"])
        return {"text": found.answer, "reasoning": found.reasoning} if found else None

    return answer


def ranking(content: DemoContent, annotator: ScriptedAnnotator) -> Answer:
    """Rank as `scripted_preferences` says. An answer that was cut at its token limit is marked so in the claim."""
    terms = {p.text: p.reference_terms for p in content.prompts}

    def answer(claim: dict[str, Any]) -> dict[str, Any]:
        prompt = claim["prompt"][-1]["content"]
        answers = claim["answers"]
        texts, finished = [a["text"] for a in answers], [not a["cut"] for a in answers]
        tiers = rank(prompt, terms[prompt], texts, finished, annotator)
        worst = tiers[-1][-1]
        fault = rationale(prompt, terms[prompt], texts[worst], finished[worst])
        return {
            "tiers": [[answers[i]["id"] for i in tier] for tier in tiers],
            "rationale": f"The last one {fault}." if len(tiers) > 1 else "All are equally good.",
        }

    return answer


def work_together(jobs: list[Callable[[], int]]) -> int:
    """Run the jobs of several annotators at the same time; how many judgements they made."""
    with ThreadPoolExecutor(len(jobs)) as pool:
        return sum(pool.map(lambda job: job(), jobs))
