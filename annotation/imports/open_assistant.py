"""Open-Assistant's message trees: each turn's ranked replies are a comparison. Pure.

Format: https://github.com/LAION-AI/Open-Assistant/blob/main/oasst-data. Ranks count from 0, the best; equal ranks tie.
Deleted replies, and those that reviewers turned down, are left out, with what follows them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from annotation.imports.items import Answer, Item, make_comparison, make_demonstration, make_prompt

ROLES = {"prompter": "user", "assistant": "assistant"}
DEEPEST = 100  # turns; the published trees have fewer than 20


def is_tree(value: Any) -> bool:
    return isinstance(value, dict) and "message_tree_id" in value and isinstance(value.get("prompt"), dict)


def parse(value: Any, columns: Mapping[str, str]) -> Iterator[Item]:
    """A comparison where a turn has two ranked replies or more, a demonstration of a turn's only reply when a person
    wrote it, and the first turn as a prompt where it has neither. Raises ValueError with the reason."""
    if isinstance(value, dict) and "message_id" in value and "parent_id" in value and "prompt" not in value:
        raise ValueError("it is one message of a tree: take the export of whole trees (a tree a line)")
    if not is_tree(value):
        raise ValueError("it is no message tree: it needs 'message_tree_id' and 'prompt' with 'replies'")
    root = value["prompt"]
    if root.get("role") != "prompter":
        raise ValueError("the tree must begin with a message of the role 'prompter'")
    if not _stands(root):
        raise ValueError("the tree's first message was deleted or refused in review")
    made = list(_below(root, [], 1))
    yield from made or [make_prompt(_with(root, []))]


def _stands(node: Mapping[str, Any]) -> bool:
    return not node.get("deleted") and node.get("review_result") is not False


def _with(node: Mapping[str, Any], before: list[dict[str, str]]) -> list[dict[str, str]]:
    role = ROLES.get(node.get("role", ""))
    if role is None or not isinstance(node.get("text"), str):
        raise ValueError("each message of the tree needs a 'text' and the 'role' prompter or assistant")
    return [*before, {"role": role, "content": node["text"]}]


def _below(node: Mapping[str, Any], before: list[dict[str, str]], depth: int) -> Iterator[Item]:
    if depth > DEEPEST:
        raise ValueError(f"the tree is more than {DEEPEST} messages deep")
    messages = _with(node, before)
    replies = node.get("replies") or []
    if not isinstance(replies, list) or not all(isinstance(reply, dict) for reply in replies):
        raise ValueError("'replies' must be a list of messages")
    kept = [reply for reply in replies if _stands(reply)]
    if node["role"] == "prompter":
        if any(reply.get("role") != "assistant" for reply in kept):
            raise ValueError("a prompter's message is answered by the assistant only")
        yield from _judged(messages, kept, about={"tags": [node["lang"]]} if node.get("lang") else {})
    for reply in kept:
        yield from _below(reply, messages, depth + 1)


def _judged(messages: list[dict[str, str]], replies: list[Mapping[str, Any]], about: dict[str, Any]) -> Iterator[Item]:
    ranked = [reply for reply in replies if reply.get("rank") is not None]
    if len(ranked) >= 2:
        if not all(type(reply["rank"]) is int for reply in ranked):
            raise ValueError("'rank' must be a whole number, 0 for the best reply")
        answers = [Answer(reply.get("text", ""), _model(reply)) for reply in ranked]
        by_rank: dict[int, list[int]] = {}
        for place, reply in enumerate(ranked):
            by_rank.setdefault(reply["rank"], []).append(place)
        yield make_comparison(messages, answers, [by_rank[rank] for rank in sorted(by_rank)], **about)
    elif len(replies) == 1 and not replies[0].get("synthetic"):
        yield make_demonstration(messages, replies[0].get("text", ""), **about)


def _model(reply: Mapping[str, Any]) -> str:
    return str(reply.get("model_name") or "")[:80] if reply.get("synthetic") else ""
