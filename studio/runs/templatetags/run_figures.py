"""Metrics as run pages write them: `{% load run_figures %}`."""

from __future__ import annotations

from django import template

from studio.web.templatetags.studio import number

register = template.Library()


@register.filter
def figure(value: float | str | None) -> str:
    """A metric's value: a number shortened, a text as it is, a dash for none."""
    return value if isinstance(value, str) else number(value)
