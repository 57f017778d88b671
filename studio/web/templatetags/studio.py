"""Filters and tags that every page may use: `{% load studio %}`."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django import template
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from studio.web.icons import ICONS
from studio.web.markdown import render_markdown
from studio.web.text_diff import changed_lines

register = template.Library()

# value of a status field -> (tone, icon); tones are classes of .badge
STATUSES = {
    "queued": ("", "clock"),
    "running": ("info live", "loader"),
    "starting": ("info live", "loader"),
    "training": ("info live", "loader"),
    "collecting": ("info", "pen"),
    "reviewing": ("info", "scale"),
    "in_progress": ("info", "pen"),
    "succeeded": ("ok", "check"),
    "promoted": ("ok", "star"),
    "healthy": ("ok", "check"),
    "submitted": ("ok", "check"),
    "done": ("ok", "check"),
    "fixed": ("ok", "check"),
    "failed": ("bad", "cross"),
    "crashed": ("bad", "cross"),
    "regressed": ("bad", "warning"),
    "open": ("warn", "dot"),
    "cancelled": ("", "stop"),
    "stopped": ("", "stop"),
    "closed": ("", "stop"),
    "expired": ("", "clock"),
    "out": ("info", "external"),
    "returned": ("warn", "info"),
    "accepted": ("ok", "check"),
    "rejected": ("bad", "cross"),
    "recalled": ("", "history"),
    "preview": ("warn", "info"),
    "waiting": ("", "clock"),
    "staging": ("info live", "loader"),
    "visible": ("ok", "check"),
    "undoing": ("info live", "loader"),
    "undone": ("", "history"),
    "withdrawn": ("warn", "stop"),
    "scripted": ("", "robot"),
    "annotator": ("", "pen"),
    "sme": ("", "book"),
    "engineer": ("", "sliders"),
    "owner": ("", "key"),
}


@register.filter
def markdown(text: str | None) -> SafeString:
    """Untrusted Markdown as safe HTML; put it in an element of class `prose`."""
    return mark_safe(render_markdown(text or ""))


@register.filter
def up_to(value: int, bound: int) -> str:
    """A count that ended at `bound` + 1: "more than 1,000" beyond the bound."""
    return f"more than {number(bound)}" if value > bound else number(value)


@register.filter
def number(value: Any) -> str:
    """12,345 below a million, then 1.2M and 3.4B; fractions get four significant digits; nothing is a dash."""
    if value is None or value == "":
        return "–"
    value = float(value)
    if value != value or value in (float("inf"), float("-inf")):
        return {True: "not a number"}.get(value != value, "∞" if value > 0 else "−∞")
    magnitude = abs(value)
    for limit, suffix in ((1e12, "T"), (1e9, "B"), (1e6, "M")):
        if magnitude >= limit * 0.99995:
            return _signed(f"{value / limit:.1f}{suffix}")
    if value == int(value):
        return _signed(f"{int(value):,}")
    if magnitude >= 1000:
        return _signed(f"{value:,.0f}")
    if magnitude < 1e-3:
        return _signed(f"{value:.3g}")
    return _signed(f"{value:.4g}")


def _signed(text: str) -> str:
    return text.replace("-", "−", 1) if text.startswith("-") else text


@register.filter
def filesize(size: int | None) -> str:
    """Bytes in powers of 1000, as disks count them."""
    if size is None or size == "":
        return "–"
    value = float(size)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 999.5 or unit == "TB":
            return f"{value:.0f} {unit}" if unit == "B" or value >= 99.5 else f"{value:.1f} {unit}"
        value /= 1000
    raise AssertionError("unreachable")


@register.filter
def duration(value: float | timedelta | None) -> str:
    """Seconds as people say them: 0.4 s, 42 s, 3 min 20 s, 2 h 5 min, 3 d 4 h."""
    if value is None or value == "":
        return "–"
    seconds = value.total_seconds() if isinstance(value, timedelta) else float(value)
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    for large, large_unit, small, small_unit in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= large:
            rest = whole % large // small
            return f"{whole // large} {large_unit}" + (f" {rest} {small_unit}" if rest else "")
    raise AssertionError("unreachable")


@register.filter
def percent(value: float | None, digits: int = 1) -> str:
    """A share between 0 and 1 as a percentage."""
    if value is None or value == "":
        return "–"
    return _signed(f"{float(value) * 100:.{int(digits)}f} %")


@register.simple_tag
def time_ago(moment: datetime | None) -> SafeString | str:
    """How long ago, with the exact time in the tooltip."""
    if moment is None:
        return "–"
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        moment.isoformat(),
        timezone.localtime(moment).strftime("%Y-%m-%d %H:%M:%S %Z"),
        _ago(moment),
    )


def _ago(moment: datetime) -> str:
    seconds = (timezone.now() - moment).total_seconds()
    if seconds < 0:
        return f"in {duration(-seconds)}"
    if seconds < 60:
        return "just now"
    size, unit = next(pair for pair in ((86400, "day"), (3600, "hour"), (60, "minute")) if seconds >= pair[0])
    count = int(seconds // size)
    if unit == "day" and count > 30:
        return timezone.localtime(moment).strftime("%-d %b %Y")
    return f"{count} {unit}{'s' if count != 1 else ''} ago"


@register.simple_tag
def icon(name: str, label: str = "") -> SafeString:
    """A line icon in the colour of its text; without a label it is hidden from screen readers."""
    described = format_html('role="img" aria-label="{}"', label) if label else mark_safe('aria-hidden="true"')
    return format_html(
        '<svg class="icon" viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="2" '
        'stroke-linecap="round" stroke-linejoin="round" {}>{}</svg>',
        described,
        mark_safe(ICONS[name]),
    )


@register.simple_tag
def badge(value: str, label: str = "", tone: str = "", icon_name: str = "") -> SafeString:
    """A status with icon and words. Known values (STATUSES) bring tone and icon; pass both for others."""
    known_tone, known_icon = STATUSES.get(str(value).lower(), ("", ""))
    shown = icon_name or known_icon
    return format_html(
        '<span class="badge {}">{}{}</span>',
        " ".join(filter(None, (tone or known_tone, "" if shown else "plain"))),
        icon(shown) if shown else "",
        label or str(value).replace("_", " ").capitalize(),
    )


@register.simple_tag
def breadcrumb(*parts: str) -> SafeString:
    """`{% breadcrumb "Runs" runs_url "Run 42" %}`: label, address, …, and the current page's label last."""
    links = zip(parts[:-1:2], parts[1::2], strict=False)
    items = format_html_join("", '<li><a href="{1}">{0}</a></li>', links)
    last = parts[-1] if len(parts) % 2 else ""
    return format_html(
        '<nav class="breadcrumb" aria-label="Breadcrumb"><ol>{}<li aria-current="page">{}</li></ol></nav>', items, last
    )


@register.simple_tag
def interval(
    value: float, low: float | None = None, high: float | None = None, minimum: float = 0.0, maximum: float = 1.0,
    reference: float | None = None, label: str = "",
) -> SafeString:  # fmt: skip
    """An estimate (dot) on its 95 % interval (bar) between `minimum` and `maximum`, with a dashed reference line."""
    span = (maximum - minimum) or 1.0

    def x(at: float) -> str:
        return f"{4 + 112 * min(max((at - minimum) / span, 0.0), 1.0):.1f}"

    text = label or number(value) + (f", 95 % interval {number(low)} to {number(high)}" if low is not None else "")
    bar = dashed = ""
    if low is not None and high is not None:
        bar = format_html(
            '<line class="span" x1="{}" x2="{}" y1="8" y2="8" stroke-width="6" stroke-linecap="round"/>',
            x(low),
            x(high),
        )
    if reference is not None:
        dashed = format_html('<line class="reference" x1="{0}" x2="{0}" y1="0" y2="16"/>', x(reference))
    return format_html(
        '<svg class="interval" viewBox="0 0 120 16" role="img" aria-label="{}">'
        '<line class="axis" x1="4" x2="116" y1="8" y2="8"/>{}{}<circle class="estimate" cx="{}" cy="8" r="4"/></svg>',
        text,
        dashed,
        bar,
        x(value),
    )


@register.filter
def initials(name: str) -> str:
    words = str(name).replace(".", " ").replace("_", " ").replace("-", " ").split()
    return "".join(word[0] for word in words[:2]).upper()


@register.inclusion_tag("components/diff.html")
def diff(before: str, after: str) -> dict[str, Any]:
    """Two texts line by line, with changed words marked."""
    return {"lines": changed_lines(before, after)}
