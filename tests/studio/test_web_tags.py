"""Numbers, times and marks as pages show them."""

from datetime import timedelta

import pytest
from django.template import Context, Template
from django.utils import timezone

from studio.web.icons import ICONS
from studio.web.templatetags import studio as tags
from studio.web.text_diff import changed_lines


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0"), (12_345, "12,345"), (999_949, "999,949"), (1_000_000, "1.0M"), (134_515_008, "134.5M"),
        (3.4e9, "3.4B"), (1.2e12, "1.2T"), (-12_345, "−12,345"), (0.123456, "0.1235"), (2.5, "2.5"), (1234.56, "1,235"),
        (0.000012345, "1.23e-05"), (None, "–"), ("", "–"), (float("nan"), "not a number"), (float("inf"), "∞"),
        (float("-inf"), "−∞"), ("42", "42"),
    ],
)  # fmt: skip
def test_number(value, shown):
    assert tags.number(value) == shown


def test_a_count_to_a_bound():
    assert [tags.up_to(n, 1000) for n in (0, 1000, 1001)] == ["0", "1,000", "more than 1,000"]


@pytest.mark.parametrize(
    ("size", "shown"),
    [(0, "0 B"), (999, "999 B"), (1_000, "1.0 kB"), (99_400, "99.4 kB"), (270_000_000, "270 MB"), (4.3e9, "4.3 GB"),
     (999_999, "1.0 MB"), (5e15, "5000 TB"), (None, "–")],
)  # fmt: skip
def test_filesize_counts_in_thousands(size, shown):
    assert tags.filesize(size) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0.0 s"), (0.44, "0.4 s"), (42, "42 s"), (59.6, "1 min"), (200, "3 min 20 s"), (3600, "1 h"),
     (7500, "2 h 5 min"), (3 * 86400 + 4 * 3600, "3 d 4 h"), (timedelta(minutes=15), "15 min"), (None, "–")],
)  # fmt: skip
def test_duration(seconds, shown):
    assert tags.duration(seconds) == shown


def test_percent():
    assert [tags.percent(0.6154), tags.percent(0.6154, 0), tags.percent(-0.02), tags.percent(None)] == [
        "61.5 %", "62 %", "−2.0 %", "–",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(5, "just now"), (80, "1 minute ago"), (50 * 60, "50 minutes ago"), (3 * 3600, "3 hours ago"),
     (20 * 3600, "20 hours ago"), (26 * 3600, "1 day ago"), (9 * 86400, "9 days ago"), (-90, "in 1 min 30 s")],
)  # fmt: skip
def test_time_ago(seconds, shown, monkeypatch):
    now = timezone.now()
    monkeypatch.setattr(tags.timezone, "now", lambda: now)
    html = tags.time_ago(now - timedelta(seconds=seconds))
    assert f">{shown}</time>" in html
    assert 'datetime="' in html


def test_badges_say_in_words_what_their_colour_says():
    html = tags.badge("failed")
    assert 'class="badge bad"' in html
    assert "<svg" in html
    assert html.endswith("Failed</span>")
    assert "&lt;b&gt;" in tags.badge("<b>", label="<b>")
    assert all(icon in ICONS for _, icon in tags.STATUSES.values())


def test_interval_is_drawn_to_scale():
    # 112 of 120 units span minimum to maximum, from 4: 0.25 → 32, 0.5 → 60, 0.75 → 88
    html = tags.interval(0.5, 0.25, 0.75, reference=0.5)
    assert 'x1="32.0" x2="88.0"' in html
    assert 'cx="60.0"' in html
    assert 'aria-label="0.5, 95 % interval 0.25 to 0.75"' in html
    assert 'cx="116.0"' in tags.interval(7)  # outside of the axis: at its end


def test_breadcrumb_escapes():
    html = tags.breadcrumb("Runs", "/runs/", "<b>")
    assert '<li><a href="/runs/">Runs</a></li><li aria-current="page">&lt;b&gt;</li>' in html


def test_fields_are_labelled_described_and_carry_no_inline_code(db):
    from studio.forms import ProjectForm

    html = str(ProjectForm({"name": "", "slug": "a b"}))
    assert '<label for="id_name">' in html
    assert 'aria-describedby="id_name_helptext id_name_error"' in html
    assert 'aria-invalid="true"' in html
    assert 'id="id_name_error"' in html
    assert "style=" not in html


def test_changed_lines_rebuild_both_texts():
    before = "".join(f"line {n}\n" for n in range(40))
    after = before.replace("line 7\n", "line seven\n").replace("line 30\n", "")
    lines = changed_lines(before, after)
    # changes at 7 and 30 with three lines around each; 0–3, 11–26 and 34–39 are left out
    assert [line.skipped for line in lines if line.kind == "gap"] == [4, 16, 6]
    deleted = ["".join(text for _, text in line.parts) for line in lines if line.kind == "delete"]
    inserted = ["".join(text for _, text in line.parts) for line in lines if line.kind == "insert"]
    assert (deleted, inserted) == (["line 7", "line 30"], ["line seven"])
    changed = [text for line in lines if line.kind == "insert" for is_new, text in line.parts if is_new]
    assert changed == ["seven"]
    assert changed_lines(before, before) == []


def test_diff_escapes():
    html = Template("{% load studio %}{% diff a b %}").render(Context({"a": "<i>x</i>", "b": "<b>x</b>"}))
    assert "<b>" not in html
    assert "&lt;" in html
