"""Numbers that come as text from an address or a form."""

from __future__ import annotations

LONGEST = 17  # digits; all databases hold such a number


def whole_number(text: str | None) -> int | None:
    """The id or number that the text is; None for anything else."""
    return int(text) if text and text.isascii() and text.isdecimal() and len(text) <= LONGEST else None
