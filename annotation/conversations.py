"""Chat messages: what a well-formed conversation is, and the hashes by which equal and twin prompts are known. Pure."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

ROLES = ("system", "user", "assistant")
SHAPE = "give 'messages', a list of {\"role\", \"content\"}, or 'prompt', a text"
_encode_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def message_key(messages: list[dict[str, str]]) -> str:
    """sha256 of the conversation: equal content, equal key."""
    content = _encode_json([[m["role"], m["content"]] for m in messages])
    return hashlib.sha256(content.encode()).hexdigest()


def root_key(messages: list[dict[str, str]]) -> str:
    """sha256 of the first user turn without case, punctuation and spacing: what twins and continuations share."""
    first = next(m["content"] for m in messages if m["role"] == "user")
    words = re.findall(r"\w+", first.casefold()) or [first]
    return hashlib.sha256(" ".join(words).encode()).hexdigest()


def hash_fraction(key: str, purpose: str) -> float:
    """A number in [0, 1) that depends on nothing but `key` and `purpose`."""
    digest = hashlib.sha256(f"{purpose}:{key}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def has_nul(value: Any) -> bool:
    """Whether a text in this JSON value holds the character that PostgreSQL keeps in no text."""
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return any(has_nul(name) or has_nul(each) for name, each in value.items())
    return isinstance(value, list) and any(map(has_nul, value))


def check_messages(value: Any) -> list[dict[str, str]]:
    """A text or a list of messages as a list of {"role", "content"}.

    Raises ValueError with the reason alone, as a clause, for the caller to say where.
    """
    if isinstance(value, str):
        value = [{"role": "user", "content": value}]
    if not isinstance(value, list) or not value:
        raise ValueError(SHAPE)
    messages = []
    for message in value:
        if not isinstance(message, dict) or message.get("role") not in ROLES:
            raise ValueError(f"each message needs a 'role', one of {', '.join(ROLES)}")
        content = message.get("content")
        if not isinstance(content, str) or not content.strip() or "\0" in content:
            raise ValueError("each message needs 'content', a text that is not empty and has no NUL character")
        if not content.isascii() and any("\ud800" <= character <= "\udfff" for character in content):
            raise ValueError("a message holds half of a surrogate pair, which is no text")
        messages.append({"role": message["role"], "content": content})
    if not any(m["role"] == "user" for m in messages):
        raise ValueError("a prompt needs a user message")
    return messages
