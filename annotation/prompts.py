"""Add prompts to a project: checked row by row, once each, every twin in one split for good."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction

from annotation.conversations import check_messages, has_nul, hash_fraction, message_key, root_key
from annotation.models import Prompt, Split
from studio.models import Project, User

TEST_FRACTION = 0.2
BATCH = 1000


@dataclass(frozen=True)
class PromptRow:
    """A checked row of an import. `split` None leaves the choice to the hash of the root."""

    messages: list[dict[str, str]]
    key: str
    root: str
    cluster: str = ""
    tags: list[str] = field(default_factory=list)
    reference: dict[str, Any] = field(default_factory=dict)
    split: str | None = None


@dataclass(frozen=True)
class Imported:
    """What an import did: `prompts` in the order of the rows, twins of content included once a row."""

    prompts: list[Prompt]
    created: int
    known: int


def split_of(root: str, test_fraction: float = TEST_FRACTION) -> str:
    return Split.TEST if hash_fraction(root, "split") < test_fraction else Split.TRAIN


def parse_prompt(row: dict[str, Any], where: str) -> PromptRow:
    """Check one row: `messages` (or `prompt`, text or messages); optional `cluster`, `tags`, `reference`, `split`.

    Raises ValueError that begins with `where` (file and line).
    """
    messages = parse_messages(row.get("messages", row.get("prompt")), where)
    if messages[-1]["role"] != "user":
        raise ValueError(f"{where}: the last message must be the user's turn to be answered.")
    cluster, tags, reference = row.get("cluster") or "", row.get("tags") or [], row.get("reference") or {}
    if not isinstance(cluster, str) or len(cluster) > 80:
        raise ValueError(f"{where}: 'cluster' must be a text of at most 80 characters.")
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise ValueError(f"{where}: 'tags' must be a list of texts.")
    if not isinstance(reference, dict):
        raise ValueError(f'{where}: \'reference\' must be an object, for example {{"terms": ["append"]}}.')
    if has_nul([cluster, tags, reference]):
        raise ValueError(f"{where}: contains a NUL character, which no text has: remove it.")
    split = row.get("split")
    if split not in (None, "", *Split.values):
        raise ValueError(f"{where}: 'split' must be 'train' or 'test', not '{split}'.")
    return PromptRow(messages, message_key(messages), root_key(messages), cluster, tags, reference, split or None)


def parse_messages(value: Any, where: str) -> list[dict[str, str]]:
    """A text or a list of messages as a list of {"role", "content"}. Raises ValueError that begins with `where`."""
    try:
        return check_messages(value)
    except ValueError as error:
        raise ValueError(f"{where}: {error}.") from error


def import_prompts(
    project: Project,
    rows: Iterable[dict[str, Any]],
    user: User,
    *,
    source: str = "",
    test_fraction: float = TEST_FRACTION,
) -> Imported:
    """Add the prompts that the project does not have yet; all rows or none.

    A root's split is fixed by the first prompt that has it: its row's `split`, else a hash puts `test_fraction` of the
    roots into the held-out split. Raises ValueError naming `source` and row at the first bad row, and when a row asks
    for another split than its twins have.
    """
    name = source or "import"
    parsed = [parse_prompt(row, f"{name}, row {number}") for number, row in enumerate(rows, 1)]
    if not parsed:
        raise ValueError(f"{name}: there are no prompts in it.")
    return add_prompts(project, parsed, user, source=source, test_fraction=test_fraction, name=name)


@transaction.atomic
def add_prompts(
    project: Project, rows: list[PromptRow], user: User, *, source: str, test_fraction: float, name: str
) -> Imported:
    lock_roots(project)
    splits = known_splits(project, {row.root for row in rows})
    for number, row in enumerate(rows, 1):
        fixed = splits.setdefault(row.root, row.split or split_of(row.root, test_fraction))
        if row.split and row.split != fixed:
            raise ValueError(
                f"{name}, row {number}: asks for split '{row.split}', but the same question is in '{fixed}' already. "
                "A prompt and its twins stay in one split: leave 'split' out or correct it."
            )
    first_of_key: dict[str, PromptRow] = {}
    for row in rows:
        first_of_key.setdefault(row.key, row)
    before = Prompt.objects.filter(project=project).count()
    Prompt.objects.bulk_create(
        [
            Prompt(
                project=project, messages=row.messages, key=row.key, root=row.root, split=splits[row.root],
                cluster=row.cluster, tags=row.tags, reference=row.reference, source=source[:200], created_by=user,
            )
            for row in first_of_key.values()
        ],
        ignore_conflicts=True,
        batch_size=BATCH,
    )  # fmt: skip
    created = Prompt.objects.filter(project=project).count() - before
    found = prompts_by_key(project, [row.key for row in rows])
    for number, row in enumerate(rows, 1):
        if row.key not in found:
            raise ValueError(
                f"{name}, row {number}: this prompt is part of an import that is being read or undone just now. "
                "Try again when it is done."
            )
    return Imported([found[row.key] for row in rows], created, len(found) - created)


def remember_prompts(
    project: Project, wanted: dict[str, dict[str, Any]], user: User, *, source: str = ""
) -> dict[str, Prompt]:
    """The project's prompts with these keys; those it lacks are added from `wanted` (key -> row)."""
    found = prompts_by_key(project, wanted)
    missing = [row for key, row in wanted.items() if key not in found]
    if missing:
        for prompt in import_prompts(project, missing, user, source=source).prompts:
            found[prompt.key] = prompt
    return found


def prompts_by_key(project: Project, keys: Iterable[str]) -> dict[str, Prompt]:
    found: dict[str, Prompt] = {}
    for batch in _batches(keys):
        found.update({p.key: p for p in Prompt.objects.filter(project=project, key__in=batch)})
    return found


def lock_roots(project: Project) -> None:
    """Within a transaction: nobody else decides about the project's roots until it ends."""
    Project.objects.select_for_update(no_key=True).get(pk=project.pk)  # rows that refer to it may still be added


def known_splits(project: Project, roots: Iterable[str]) -> dict[str, str]:
    """The split of each root that has a prompt, also where an import that is still being read brought it."""
    splits: dict[str, str] = {}
    for batch in _batches(roots):
        splits.update(Prompt.everything.filter(project=project, root__in=batch).values_list("root", "split"))
    return splits


def _batches(items: Iterable[str]) -> Iterable[list[str]]:
    every = list(items)
    for start in range(0, len(every), BATCH):
        yield every[start : start + BATCH]
