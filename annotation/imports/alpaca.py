"""Self-instruct and Alpaca: instructions, perhaps with an input, and their answers, as demonstrations. Pure.

Formats: https://github.com/yizhongw/self-instruct (`instances`, several an instruction) and
https://github.com/tatsu-lab/stanford_alpaca (`instruction`, `input`, `output`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from annotation.imports.items import Item, check_text, make_demonstration


def is_instruction(value: Any) -> bool:
    return isinstance(value, dict) and "instruction" in value and ("output" in value or "instances" in value)


def parse(value: Any, columns: Mapping[str, str]) -> Iterator[Item]:
    """One demonstration an instance. Raises ValueError with the reason."""
    if not is_instruction(value):
        raise ValueError("it needs 'instruction' with 'output' (and perhaps 'input'), or with 'instances' of these")
    instruction = check_text("'instruction'", value["instruction"]).strip()
    instances = value.get("instances", [value])
    if not isinstance(instances, list) or not instances or not all(isinstance(i, dict) for i in instances):
        raise ValueError("'instances' must be a list of objects with 'input' and 'output'")
    for instance in instances:
        given = instance.get("input") or ""
        if not isinstance(given, str):
            raise ValueError("'input' must be a text")
        prompt = f"{instruction}\n\n{given.strip()}" if given.strip() else instruction
        yield make_demonstration(prompt, check_text("'output'", instance.get("output")).strip())
