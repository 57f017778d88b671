"""Downloads that are made while they are sent, so that memory does not grow with them."""

from __future__ import annotations

from collections.abc import Iterable

from django.http import StreamingHttpResponse


def download(chunks: Iterable[bytes | str], filename: str, content_type: str) -> StreamingHttpResponse:
    """`filename` is what the browser calls it: letters, digits, dots and dashes."""
    headers = {"Content-Disposition": f'attachment; filename="{filename}"'}
    return StreamingHttpResponse(chunks, content_type=content_type, headers=headers)
