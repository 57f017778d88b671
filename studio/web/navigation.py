"""What every page shows around its content."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest


def navigation(request: HttpRequest) -> dict[str, Any]:
    """`membership` (with project and role) of the project that the page belongs to, if any."""
    return {"membership": getattr(request, "membership", None)}
