"""Imports in a real browser: a bad row is seen before it counts, progress is shown until the rows are, and undone."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.db import connections
from playwright.sync_api import Page, expect

from annotation.imports import rows, stage, undo
from annotation.models import Comparison, ImportBatch, Prompt
from tests.annotation.import_files import bring_in, keep, left, pair, small_batches, unsent  # noqa: F401  (fixture)

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

LIST = "/projects/helpdesk/exchange/"
GOOD = [pair(n, split="train") for n in range(5)]
BAD = [*GOOD[:2], pair(2, chosen="The same", rejected="The same")]


def jsonl(path: Path, lines: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def upload(page: Page, file: Path) -> None:
    page.goto(LIST)
    page.get_by_role("link", name="Import a file").click()
    page.get_by_label("A file from your computer").set_input_files(file)
    page.get_by_role("button", name="Look at it").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(file.name)


@contextmanager
def a_slow_worker(monkeypatch, batch: ImportBatch) -> Iterator[Callable[[], None]]:
    """A worker that has read two rows; it reads on when what is yielded is called."""
    small_batches(monkeypatch)
    write, go_on, waits = rows.RowWriter.write, threading.Event(), threading.Event()

    def slow(self, records):
        if waits.is_set():
            assert go_on.wait(60)
        waits.set()
        return write(self, records)

    def work() -> None:
        try:
            stage.stage(batch.pk)
        finally:
            connections.close_all()

    monkeypatch.setattr(rows.RowWriter, "write", slow)
    worker = threading.Thread(target=work)
    worker.start()
    yield go_on.set
    go_on.set()
    worker.join(60)


def test_a_bad_row_is_shown_before_anything_is_added(page_for, engineer, tmp_path, assert_accessible):
    page = page_for(engineer)
    upload(page, jsonl(tmp_path / "bad.jsonl", BAD))
    expect(page.get_by_role("heading", name="Comparison line 1")).to_be_visible()
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("The first of these rows would stop the import")
    expect(alert).to_contain_text("Line 3: two of the answers are the same text")
    assert_accessible(page)
    page.get_by_label("Pass over bad rows").check()
    page.get_by_label("Licence").fill("MIT")
    page.keyboard.press("Control+Enter")  # shows it again with these settings
    expect(alert).to_contain_text("These rows would be passed over")
    expect(page.get_by_label("Licence")).to_have_value("MIT")
    page.get_by_role("button", name="Discard the file").click()
    expect(page.get_by_text("“bad.jsonl” is not imported: nothing of it remains.")).to_be_visible()
    assert left() == (0, 0, 0, 0)
    assert ImportBatch.objects.get().status == "cancelled"


def test_a_bad_row_stops_the_import_and_says_which(page_for, engineer, tmp_path, assert_accessible):
    page = page_for(engineer)
    upload(page, jsonl(tmp_path / "bad.jsonl", BAD))
    page.get_by_role("button", name="Import", exact=True).click()
    expect(page.get_by_text("Waiting", exact=True)).to_be_visible()
    stage.stage(ImportBatch.objects.get().pk)
    expect(
        page.get_by_text("bad.jsonl, line 3: two of the answers are the same text")
    ).to_be_visible()  # without a reload
    expect(page.get_by_text("Nothing of the file was kept.")).to_be_visible()
    assert_accessible(page)
    assert left() == (0, 0, 0, 0)


def test_progress_is_shown_until_the_rows_are_and_an_undo_takes_them_out(
    page_for, engineer, tmp_path, monkeypatch, assert_accessible
):
    page = page_for(engineer)
    upload(page, jsonl(tmp_path / "good.jsonl", GOOD))
    page.get_by_role("button", name="Import", exact=True).click()
    expect(page.get_by_text("It begins when a worker is free")).to_be_visible()
    batch = ImportBatch.objects.get()
    with a_slow_worker(monkeypatch, batch) as go_on:
        expect(page.get_by_text("2 of 5 rows read")).to_be_visible()
        expect(page.get_by_role("progressbar", name="Progress of the import")).to_have_attribute("value", "2")
        expect(page.get_by_text("not to be seen yet").first).to_be_visible()
        assert_accessible(page)
        assert Prompt.objects.count() == 0
        go_on()
        expect(page.get_by_text("Imported", exact=True)).to_be_visible()
    assert Comparison.objects.count() == 5
    assert_accessible(page)

    opener = page.get_by_role("button", name="Undo this import")
    opener.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Undo this import?")
    expect(dialog).to_contain_text("refused when something was built on it")
    assert_accessible(page)
    page.keyboard.press("Escape")
    expect(opener).to_be_focused()
    assert Comparison.objects.count() == 5
    page.keyboard.press("Enter")
    dialog.get_by_role("button", name="Undo the import").press("Enter")
    expect(page.get_by_text("What “good.jsonl” brought is gone from all pages")).to_be_visible()
    expect(page.get_by_text("Being undone", exact=True)).to_be_visible()
    assert Comparison.objects.count() == 0
    undo.take_up(batch.pk)
    expect(page.get_by_text("What this import brought has been taken out.")).to_be_visible()
    assert left() == (0, 0, 0, 0)


def test_the_same_file_leads_to_its_import(page_for, engineer, project, tmp_path):
    batch = bring_in(project, engineer, *GOOD)
    page = page_for(engineer)
    upload(page, jsonl(tmp_path / "pairs.jsonl", GOOD))
    expect(page.get_by_text("The same content was imported already: pairs.jsonl")).to_be_visible()
    assert page.url.endswith(f"/imports/{batch.pk}/")
    assert ImportBatch.objects.count() == 1


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (390, "dark")])
def test_the_pages_are_accessible(page_for, engineer, project, assert_accessible, width, scheme):
    page = page_for(engineer, width, scheme)
    page.goto(LIST)
    assert_accessible(page)  # empty
    shown = bring_in(project, engineer, *GOOD, *BAD[2:], skip_bad=True)
    failed = bring_in(project, engineer, pair(9), *BAD[2:], name="failed.jsonl")
    preview = keep(project, engineer, pair(8), *BAD[2:], name="preview.jsonl")
    assert (shown.status, failed.status, preview.status) == ("visible", "failed", "preview")
    for path in ("", "imports/new/", *(f"imports/{batch.pk}/" for batch in (shown, failed, preview))):
        page.goto(LIST + path)
        assert_accessible(page)
    page.goto("/projects/helpdesk/quality/")  # which lists the accounts of files apart
    expect(page.get_by_role("heading", name="Imported labels")).to_be_visible()
    assert_accessible(page)
