"""Every page that links lead to answers, with few queries, in processes that never import a training library."""

import json
import subprocess
import sys

import pytest
from django.conf import settings


@pytest.fixture(scope="module")
def crawled() -> dict:
    process = subprocess.run(
        [sys.executable, "-m", "tests.crawl"], cwd=settings.BASE_DIR, capture_output=True, text=True, timeout=300
    )
    assert process.returncode == 0, process.stderr[-3000:]
    return json.loads(process.stdout.splitlines()[-1])


def test_no_link_is_dead(crawled):
    dead = {
        (who, path): page["status"]
        for who, pages in crawled["pages"].items()
        for path, page in pages.items()
        if page["status"] not in (200, 302)
    }
    assert dead == {}
    assert len(crawled["pages"]["owner"]) > 60


def test_no_page_asks_more_than_fifteen_queries(crawled):
    many = {
        p: page["queries"] for pages in crawled["pages"].values() for p, page in pages.items() if page["queries"] > 15
    }
    assert many == {}


def test_web_and_worker_never_import_training_libraries(crawled):
    assert crawled["run"] == "succeeded", crawled["error"]
    assert crawled["heavy"] == []
