"""JSON bodies, read as a database can keep them."""

from __future__ import annotations

import json
import math
from typing import Any

from django.http import HttpRequest
from ninja.parser import Parser

DEEPEST = 100  # levels: what is written as JSON again calls itself for each


class StrictJson(Parser):
    """JSON of RFC 8259, in UTF-8: no NaN, no infinite numbers, no half surrogate pairs, which Python's json takes."""

    def parse_body(self, request: HttpRequest) -> Any:
        text = request.body.decode("utf8")
        found = json.loads(text, parse_constant=_refuse, parse_float=_finite)
        if text.count("[") + text.count("{") > DEEPEST:
            _check_depth(found)
        if "\\u" in text:  # else none can have come in: UTF-8 encodes none
            _check_pairs(found)
        return found


def _check_depth(found: Any, left: int = DEEPEST) -> None:
    if isinstance(found, dict | list):
        if not left:
            raise ValueError(f"It is nested more than {DEEPEST} levels deep.")
        for each in found.values() if isinstance(found, dict) else found:
            _check_depth(each, left - 1)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number that JSON has.")


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError(f"{digits[:20]} is larger than any number that can be kept.")
    return number


def _check_pairs(found: Any) -> None:
    try:
        json.dumps(found, ensure_ascii=False).encode("utf8")
    except UnicodeEncodeError as error:
        raise ValueError("A text holds half of a surrogate pair, which is no text.") from error
