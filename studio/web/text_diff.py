"""The difference between two texts, line by line, with the changed words of a changed line marked."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

CONTEXT = 3  # unchanged lines shown around a change
_WORD = re.compile(r"\w+|\s+|[^\w\s]")


@dataclass(frozen=True)
class Line:
    """`kind` is equal, delete, insert or gap (then `skipped` lines are left out); numbers count from 1."""

    kind: str
    before: int | None = None
    after: int | None = None
    parts: list[tuple[bool, str]] = field(default_factory=list)  # (changed?, text)
    skipped: int = 0


def changed_lines(before: str, after: str) -> list[Line]:
    """Changed lines of two texts with their surroundings. Equal texts give an empty list."""
    old, new = before.splitlines(), after.splitlines()
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    lines: list[Line] = []
    position = 0
    for group in matcher.get_grouped_opcodes(CONTEXT):
        if all(tag == "equal" for tag, *_ in group):
            continue
        start = group[0][1]
        if start > position:
            lines.append(Line("gap", skipped=start - position))
        for tag, i1, i2, j1, j2 in group:
            lines.extend(_block(tag, old, new, range(i1, i2), range(j1, j2)))
        position = group[-1][2]
    if lines and position < len(old):
        lines.append(Line("gap", skipped=len(old) - position))
    return lines


def _block(tag: str, old: list[str], new: list[str], olds: range, news: range) -> Iterator[Line]:
    if tag == "equal":
        for i, j in zip(olds, news, strict=True):
            yield Line("equal", i + 1, j + 1, [(False, old[i])])
        return
    paired = {}
    if len(olds) == len(news):  # the same number of lines: each is probably the other rewritten
        paired = {(i, j): _changed_words(old[i], new[j]) for i, j in zip(olds, news, strict=True)}
    by_old = {i: words[0] for (i, _), words in paired.items()}
    by_new = {j: words[1] for (_, j), words in paired.items()}
    for i in olds:
        yield Line("delete", before=i + 1, parts=by_old.get(i) or [(False, old[i])])
    for j in news:
        yield Line("insert", after=j + 1, parts=by_new.get(j) or [(False, new[j])])


def _changed_words(before: str, after: str) -> tuple[list[tuple[bool, str]], list[tuple[bool, str]]]:
    """The words of both lines, changed ones marked; nothing marked when the lines have little in common."""
    old, new = _WORD.findall(before), _WORD.findall(after)
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    if matcher.ratio() < 0.4:
        return [(False, before)], [(False, after)]
    left, right = [], []
    for tag, i1, i2, j1, j2 in matcher.get_opcodes():
        if i2 > i1:
            left.append((tag != "equal", "".join(old[i1:i2])))
        if j2 > j1:
            right.append((tag != "equal", "".join(new[j1:j2])))
    return left, right
