"""Anthropic's HH-RLHF: two transcripts, `chosen` and `rejected`, that share all but the last answer. Pure.

Format: https://github.com/anthropics/hh-rlhf.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from annotation.imports.items import Answer, Item, make_comparison

TURN = re.compile(r"\n\n(Human|Assistant):")
ROLES = {"Human": "user", "Assistant": "assistant"}


def is_transcript(text: Any) -> bool:
    return isinstance(text, str) and text.startswith("\n\nHuman:")


def parse(value: Any, columns: Mapping[str, str]) -> Iterator[Item]:
    """Raises ValueError with the reason."""
    if (
        not isinstance(value, dict)
        or not is_transcript(value.get("chosen"))
        or not is_transcript(value.get("rejected"))
    ):
        raise ValueError("it needs 'chosen' and 'rejected', both transcripts that begin with “\\n\\nHuman:”")
    messages, texts = split_pair(value["chosen"], value["rejected"])
    yield make_comparison(messages, [Answer(text) for text in texts], [[0], [1]])


def turns(transcript: str) -> list[dict[str, str]]:
    """The messages of a transcript, without the spaces around each."""
    parts = TURN.split(transcript)
    pairs = zip(parts[1::2], parts[2::2], strict=True)
    return [{"role": ROLES[speaker], "content": text.strip()} for speaker, text in pairs]


def split_pair(chosen: str, rejected: str) -> tuple[list[dict[str, str]], list[str]]:
    """The prompt that both share, and the chosen and the rejected answer to it. Raises ValueError with the reason."""
    one, other = turns(chosen), turns(rejected)
    if one[:-1] != other[:-1]:
        raise ValueError("the transcripts part before the last answer: they do not answer one prompt")
    if len(one) < 2 or one[-1]["role"] != "assistant" or other[-1]["role"] != "assistant":
        raise ValueError("both transcripts must end with an answer of the assistant")
    for name, turn in (("chosen", one[-1]), ("rejected", other[-1])):
        if not turn["content"]:
            raise ValueError(f"the answer of '{name}' is empty")
    return one[:-1], [one[-1]["content"], other[-1]["content"]]
