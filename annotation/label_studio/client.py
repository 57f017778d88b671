"""Talking to the Label Studio server that the environment names; what goes wrong there becomes a sentence."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

import httpx
from django.conf import settings

if TYPE_CHECKING:
    from label_studio_sdk import LabelStudio

TIMEOUT = 120.0  # seconds a request may take: its imports of hundreds of tasks are one
PAGE = 200


class LabelStudioError(ValueError):
    """What the server refuses, or that it is not there, in a sentence for whoever reads the page."""


class Gone(LabelStudioError):
    """What was asked for does not exist there (any more)."""


def server() -> str:
    """The server's address, without a slash at its end; empty when none is configured."""
    return settings.LABEL_STUDIO_URL.rstrip("/")


def why_not_configured() -> str:
    """A sentence on what is missing; empty when there is a server to talk to."""
    if server() and settings.LABEL_STUDIO_API_KEY:
        return ""
    return "Set LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY in the studio's environment, then start it again."


@contextmanager
def talking() -> Iterator[LabelStudio]:
    """A client of the configured server. Raises LabelStudioError for all that goes wrong between us and it."""
    if why := why_not_configured():
        raise LabelStudioError(why)
    from label_studio_sdk import LabelStudio  # takes a second: only for those who talk
    from label_studio_sdk.core.api_error import ApiError

    try:
        yield LabelStudio(base_url=server(), api_key=settings.LABEL_STUDIO_API_KEY, timeout=TIMEOUT)
    except ApiError as error:
        raise _explained(error.status_code, error.body) from error
    except httpx.HTTPError as error:
        raise LabelStudioError(
            f"Label Studio at {server()} does not answer ({str(error) or type(error).__name__}). "
            "Nothing is lost: try again when it is up."
        ) from error
    except (json.JSONDecodeError, httpx.InvalidURL) as error:
        raise LabelStudioError(
            f"What answers at {server()} is not Label Studio ({error}). Look at LABEL_STUDIO_URL."
        ) from error


def _explained(status: int | None, body: Any) -> LabelStudioError:
    if status in (401, 403):
        return LabelStudioError(
            "Label Studio refuses the key in LABEL_STUDIO_API_KEY. It may have run out, or be a legacy token, which an "
            "organisation's settings there turn off by default: take a personal access token instead."
        )
    detail = body
    if isinstance(body, dict):
        problems = [
            f"{name}: {text}" for name, texts in (body.get("validation_errors") or {}).items()
            for text in (texts if isinstance(texts, list) else [texts])
        ]  # fmt: skip
        detail = "; ".join(problems) or body.get("detail") or body
    kind = Gone if status == 404 else LabelStudioError
    return kind(f"Label Studio answers {status}: {str(detail)[:400]}")


def remote_tasks(
    client: LabelStudio, project: int, *, since: datetime | None = None, annotations: bool = True
) -> Iterator[list[Any]]:
    """Pages of the project's tasks, those updated after `since`, by id: a task that changes meanwhile is not missed."""
    query: dict[str, Any] = {"ordering": ["tasks:id"]}
    if since is not None:
        query["filters"] = {
            "conjunction": "and",
            "items": [
                {
                    "filter": "filter:tasks:updated_at", "operator": "greater", "type": "Datetime",
                    "value": since.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
                }
            ],
        }  # fmt: skip
    # The SDK's own pager asks for pages until one is not there, which the server calls an error.
    seen, number = 0, 1
    while True:
        page = client.tasks.list(
            project=project, page=number, page_size=PAGE, fields="all" if annotations else "task_only",
            query=json.dumps(query),
        )  # fmt: skip
        items = list(page.items or [])
        yield items
        seen, number = seen + len(items), number + 1
        if not items or seen >= page.response.total:
            return


def newest_update(client: LabelStudio, project: int) -> datetime | None:
    """When a task of the project, or an annotation of one, last changed, by the server's own clock."""
    query = json.dumps({"ordering": ["-tasks:updated_at"]})
    first = next(iter(client.tasks.list(project=project, page_size=1, fields="task_only", query=query)), None)
    return first.updated_at if first else None
