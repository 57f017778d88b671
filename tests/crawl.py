"""Open every page of the showcase that links lead to, in a fresh process: `python -m tests.crawl`.

Prints one JSON object: for each path its status and number of queries, and which training libraries were imported.
"""

from __future__ import annotations

import json
import os
import sys
from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

HEAVY = ("torch", "transformers", "trl", "deepspeed", "vllm", "peft", "datasets", "lm_eval", "detoxify", "tokenizers")
VARIANTS = 8  # pages of one path with other filters, sorting and so on


class Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        names = {"a": ("href",), "link": ("href",), "script": ("src",), "img": ("src",)}.get(tag, ())
        self.found += [value for name, value in attributes if value and name in (*names, "hx-get")]


def crawl(username: str) -> dict[str, dict[str, int]]:
    from django.db import connection
    from django.test import Client
    from django.test.utils import CaptureQueriesContext

    from studio.models import User

    client = Client(raise_request_exception=False)
    client.force_login(User.objects.get(username=username))
    seen: dict[str, dict[str, int]] = {}
    waiting = ["/"]
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        with CaptureQueriesContext(
            connection,
        ) as queries:
            response = client.get(path)
        seen[path] = {"status": response.status_code, "queries": len(queries)}
        if response.headers.get("Content-Type", "").startswith("text/html") and response.status_code == 200:
            links = Links()
            links.feed(response.content.decode())
            waiting += [target for link in links.found if (target := _inside(path, link))]
    return seen


def _inside(page: str, link: str) -> str:
    parts = urlsplit(urljoin(f"http://testserver{page}", link))
    return parts.path + (f"?{parts.query}" if parts.query else "") if parts.netloc == "testserver" else ""


def main() -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    import django

    django.setup()
    from django.conf import settings
    from django.core.management import call_command
    from django.test.utils import setup_test_environment

    from studio.runs import tasks
    from studio.runs.models import Run
    from studio.serving import servers
    from tests.showcase import build_showcase
    from tests.workers import private_redis

    setup_test_environment()
    call_command("migrate", verbosity=0)
    with private_redis():
        build_showcase()
        pages = {username: crawl(username) for username in ("owner", "sme", "annotator")}
        corpus = Run.objects.get(recipe_name="corpus")
        tasks.recover_runs()
        servers.watch(settings.DEVICE_NAME)
        tasks.execute_run(corpus.pk)  # the worker's side of a real run
        corpus.refresh_from_db()
    heavy = [name for name in HEAVY if name in sys.modules]
    json.dump({"pages": pages, "heavy": heavy, "run": corpus.status, "error": corpus.error}, sys.stdout)


if __name__ == "__main__":
    main()
