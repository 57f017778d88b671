"""`{% estimate measured %}`: an estimate in words beside its picture."""

from __future__ import annotations

from typing import Any

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

from studio.web.templatetags.studio import interval, number, percent

register = template.Library()


@register.simple_tag
def estimate(
    measured: Any, as_percent: bool = False, bound: float | None = None, reference: float | None = None
) -> SafeString:
    """`measured` has `value`, `low` and `high`. Shares are drawn from 0 to 1, others from -bound to bound."""
    show = percent if as_percent else number
    minimum, maximum = (-bound, bound) if bound is not None else (0.0, 1.0)
    low, high = measured.low, measured.high
    between = format_html("{} – {}", show(low), show(high)) if low is not None else "interval not known"
    return format_html(
        '<span class="round-estimate"><span class="strong num">{}</span> {} '
        '<span class="small muted num">{}</span></span>',
        show(measured.value),
        interval(measured.value, low, high, minimum=minimum, maximum=maximum, reference=reference),
        between,
    )
