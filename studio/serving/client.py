"""Talk to a model server through its OpenAI-compatible API."""

from __future__ import annotations

import enum
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass

import httpx

from studio.serving.models import Server

ANSWER_SECONDS = 180.0
SILENT_SECONDS = 60.0  # between two words of an answer that is streamed
CONTROL_SECONDS = 3.0
RUNNING_REQUESTS = re.compile(r"^vllm:num_requests_(?:running|waiting)(?:\{[^}]*\})? ([0-9.e+]+)$", re.MULTILINE)


class Health(enum.Enum):
    OK = "ok"
    DEAD = "dead"  # the API lives, its engine does not
    SILENT = "silent"


class ServerUnavailable(Exception):
    """The server cannot be reached, or broke while it answered."""


@dataclass(frozen=True)
class Sampling:
    temperature: float = 0.7
    top_p: float = 1.0
    max_tokens: int = 256
    seed: int | None = None


@dataclass(frozen=True)
class Answer:
    text: str
    finish_reason: str  # "stop" or "length"
    prompt_tokens: int
    tokens: int
    seconds: float
    sampling: Sampling

    @property
    def tokens_per_second(self) -> float:
        return self.tokens / self.seconds


@dataclass(frozen=True)
class Piece:
    """The next words of an answer that is being written."""

    text: str
    tokens: int | None  # of the answer up to here
    finish_reason: str  # "stop" or "length" with the last words, else empty


def check_health(server: Server) -> Health:
    try:
        response = httpx.get(f"{server.base_url}/health", timeout=CONTROL_SECONDS)
    except httpx.HTTPError:
        return Health.SILENT
    return Health.OK if response.status_code == 200 else Health.DEAD


def is_busy(server: Server) -> bool:
    """Whether it is writing an answer now, as its own metrics tell; one that does not answer is not busy."""
    try:
        metrics = httpx.get(f"{server.base_url}/metrics", timeout=CONTROL_SECONDS).text
    except httpx.HTTPError:
        return False
    return any(float(value) > 0 for value in RUNNING_REQUESTS.findall(metrics))


def chat(server: Server, messages: list[dict[str, str]], sampling: Sampling) -> Answer:
    """The model's answer to `messages`. A model without a chat template continues the bare text.

    Raises ValueError when the server refuses the request (a prompt that is too long), ServerUnavailable when it fails.
    """
    path, body = _request(server, messages, sampling)
    started = time.monotonic()
    document = _post(server, path, body)
    choice = document["choices"][0]
    return Answer(
        text=(choice["message"]["content"] if server.has_chat_template else choice["text"]) or "",
        finish_reason=choice["finish_reason"],
        prompt_tokens=document["usage"]["prompt_tokens"],
        tokens=document["usage"]["completion_tokens"],
        seconds=time.monotonic() - started,
        sampling=sampling,
    )


def stream_chat(server: Server, messages: list[dict[str, str]], sampling: Sampling) -> Iterator[Piece]:
    """The answer word by word. Closing the iterator ends the request, and the server stops writing.

    Raises ValueError when the server refuses the request, ServerUnavailable when it fails or breaks off.
    """
    path, body = _request(server, messages, sampling)
    body |= {"stream": True, "stream_options": {"include_usage": True, "continuous_usage_stats": True}}
    timeout = httpx.Timeout(SILENT_SECONDS, connect=CONTROL_SECONDS)
    try:
        with httpx.stream(
            "POST", server.base_url + path, json=body, headers=_authorization(server), timeout=timeout
        ) as response:
            if response.status_code >= 400:
                response.read()
            _check_status(response)
            finished = False
            for line in response.iter_lines():
                if piece := _piece(line):
                    finished = finished or bool(piece.finish_reason)
                    yield piece
    except httpx.TimeoutException as error:
        raise ServerUnavailable(f"The server was silent for {SILENT_SECONDS:.0f} seconds.") from error
    except httpx.HTTPError as error:
        raise ServerUnavailable("The server is gone: it has stopped or crashed.") from error
    if not finished:
        raise ServerUnavailable("The server broke off.")


def _piece(line: str) -> Piece | None:
    """One line of the stream of server-sent events; None when it carries no words and no end."""
    if not line.startswith("data:") or line.endswith("[DONE]"):
        return None
    event = json.loads(line.removeprefix("data:"))
    if "error" in event:
        raise ServerUnavailable("The server failed while it answered; its log says why.")
    if not event.get("choices"):
        return None
    choice = event["choices"][0]
    text = (choice["delta"].get("content") if "delta" in choice else choice.get("text")) or ""
    tokens = (event.get("usage") or {}).get("completion_tokens")
    return Piece(text, tokens, choice.get("finish_reason") or "")


def _request(server: Server, messages: list[dict[str, str]], sampling: Sampling) -> tuple[str, dict]:
    """(path, body). A model without a chat template continues the bare text."""
    body: dict = {
        "model": server.served_name,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
        "seed": sampling.seed,
        "stop_token_ids": server.stop_token_ids,
    }
    if server.has_chat_template:
        return "/v1/chat/completions", body | {"messages": messages}
    return "/v1/completions", body | {"prompt": "\n\n".join(message["content"] for message in messages)}


def _authorization(server: Server) -> dict[str, str]:
    return {"Authorization": f"Bearer {server.secret}"}


def _post(server: Server, path: str, body: dict) -> dict:
    try:
        response = httpx.post(
            server.base_url + path,
            json=body,
            headers=_authorization(server),
            timeout=httpx.Timeout(ANSWER_SECONDS, connect=CONTROL_SECONDS),
        )
    except httpx.TimeoutException as error:
        raise ServerUnavailable(
            f"There was no answer within {ANSWER_SECONDS:.0f} seconds. Ask for fewer tokens, or try again."
        ) from error
    except httpx.HTTPError as error:
        raise ServerUnavailable("The server is gone: it has stopped or crashed. Start it again.") from error
    _check_status(response)
    return response.json()


def _check_status(response: httpx.Response) -> None:
    if response.status_code >= 500:
        raise ServerUnavailable("The server failed to answer; its log says why.")
    if response.status_code >= 400:
        raise ValueError(_refusal(response))


def _refusal(response: httpx.Response) -> str:
    try:
        return response.json()["error"]["message"]
    except (ValueError, KeyError, TypeError):
        return f"The server refused the request (status {response.status_code})."
