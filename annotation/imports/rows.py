"""Turn the items of a few thousand records into rows, adding only what the project does not have yet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from annotation.imports.formats import Parsed
from annotation.imports.insert import add_rows, among, new_ids
from annotation.imports.items import COMPARISON, DEMONSTRATION, Item
from annotation.models import Comparison, Completion, Demonstration, ImportBatch, Prompt, Split
from annotation.prompts import lock_roots, split_of
from annotation.pseudonyms import pseudonym

COMPARED = Comparison.completions.through

PROMPT_FIELDS = ("id", "messages", "key", "root", "split", "cluster", "tags", "reference")
COMPLETION_FIELDS = ("id", "prompt_id", "text", "author_id", "sampling")
DEMONSTRATION_FIELDS = ("prompt_id", "annotator_id", "completion_id", "reasoning", "seconds", "row_key")
COMPARISON_FIELDS = (
    "id", "prompt_id", "annotator_id", "tiers", "unrankable", "shown_order", "strength", "ratings", "flags",
    "rationale", "seconds", "row_key",
)  # fmt: skip


class BadRow(ValueError):
    def __init__(self, number: int, reason: str):
        super().__init__(reason)
        self.number, self.reason = number, reason


class RowWriter:
    """Writes records of one batch. `write` runs within the caller's transaction."""

    def __init__(self, batch: ImportBatch):
        self.batch = batch
        self.options = batch.options
        self.source = (batch.options["source"] or batch.name)[:200]
        self.annotators: dict[str, int] = {}

    def write(self, records: list[Parsed]) -> tuple[dict[str, int], list[Parsed]]:
        """What was added and what was known, by kind, and the records that were refused.

        Raises BadRow at the first bad one unless the options say to pass over them.
        """
        lock_roots(self.batch.project)
        splits: dict[str, str] = {}
        known: dict[str, int] = {}  # prompts by key, of all that share a root with these
        here = Prompt.everything.filter(project=self.batch.project_id).order_by()
        for found in among(here, "root", {item.root for record in records for item in record.items}):
            for pk, key, root, split in found.values_list("id", "key", "root", "split"):
                known[key], splits[root] = pk, split
        refused = list(self._refuse(records, splits))
        items = [item for record in records if not record.problem for item in record.items]
        counts: Counter[str] = Counter()
        prompts, old = self._prompts(items, known, splits, counts)
        answers = _Answers(old, items)
        self._demonstrations([i for i in items if i.kind == DEMONSTRATION], prompts, old, answers, counts)
        self._comparisons([i for i in items if i.kind == COMPARISON], prompts, old, answers, counts)
        answers.add(batch=self.batch)
        answers.add_labels(batch=self.batch, source=self.source)
        return dict(counts), refused

    def _refuse(self, records: list[Parsed], splits: dict[str, str]) -> Iterator[Parsed]:
        """Settle the split of each root, in the order of the file; the records that contradict it are bad."""
        for record in records:
            for item in record.items:
                wanted = item.split or self._split_for(item, record)
                fixed = splits.setdefault(item.root, wanted)
                if item.split and item.split != fixed:
                    record.problem = (
                        f"it asks for split '{item.split}', but the same question is in '{fixed}' already; a prompt "
                        "and its twins stay in one split: leave 'split' out or correct it"
                    )
            if record.problem:
                if not self.options["skip_bad"]:
                    raise BadRow(record.number, record.problem)
                yield record

    def _split_for(self, item: Item, record: Parsed) -> str:
        choice = self.options["split"]
        if choice in Split.values:
            return choice
        if choice == "file" and record.split in Split.values:
            return record.split
        return split_of(item.root, self.options["test_fraction"])

    def _prompts(
        self, items: list[Item], known: dict[str, int], splits: dict[str, str], counts: Counter[str]
    ) -> tuple[dict[str, int], set[int]]:
        """Prompt ids by key, and which of them were there before."""
        first: dict[str, Item] = {}
        for item in items:
            first.setdefault(item.key, item)
        ids = {key: known[key] for key in first if key in known}
        old = set(ids.values())
        missing = [item for key, item in first.items() if key not in ids]
        made = list(zip(new_ids(Prompt, len(missing)), missing, strict=True))
        add_rows(
            Prompt, PROMPT_FIELDS,
            [
                (
                    pk, i.messages, i.key, i.root, splits[i.root], i.cluster or self.options["cluster"],
                    [*i.tags, *(tag for tag in self.options["tags"] if tag not in i.tags)], i.reference,
                )
                for pk, i in made
            ],
            project_id=self.batch.project_id, source=self.source, batch_id=self.batch.pk,
            created_by_id=self.batch.created_by_id,
        )  # fmt: skip
        ids.update((item.key, pk) for pk, item in made)
        counts["prompts"] += len(missing)
        counts["prompts_known"] += len(first) - len(missing)
        return ids, old

    def _demonstrations(
        self, items: list[Item], prompts: dict[str, int], old: set[int], answers: _Answers, counts: Counter[str]
    ) -> None:
        fresh = _unknown(Demonstration, items, prompts, old)
        counts["demonstrations"] += len(fresh)
        counts["demonstrations_known"] += len(items) - len(fresh)
        for item in fresh:
            annotator = self._annotator(item)
            completion = answers.own(prompts[item.key], item.answers[0].text, annotator)
            answers.demonstrations.append(
                (prompts[item.key], annotator, completion, item.reasoning, item.seconds, item.row_key)
            )

    def _comparisons(
        self, items: list[Item], prompts: dict[str, int], old: set[int], answers: _Answers, counts: Counter[str]
    ) -> None:
        fresh = _unknown(Comparison, items, prompts, old)
        counts["comparisons"] += len(fresh)
        counts["comparisons_known"] += len(items) - len(fresh)
        for pk, item in zip(new_ids(Comparison, len(fresh)), fresh, strict=True):
            prompt = prompts[item.key]
            ids = [answers.shared(prompt, answer.text, answer.model) for answer in item.answers]
            answers.comparisons.append(
                (
                    pk, prompt, self._annotator(item), [[ids[i] for i in tier] for tier in item.tiers],
                    [ids[i] for i in item.unrankable], ids, item.strength,
                    {str(ids[i]): rating for i, rating in item.ratings.items()},
                    {str(ids[i]): flags for i, flags in item.flags.items()},
                    item.rationale, item.seconds, item.row_key,
                )
            )  # fmt: skip

    def _annotator(self, item: Item) -> int:
        """The account for whoever judged or wrote it, by the file's name for them."""
        if item.annotator not in self.annotators:
            self.annotators[item.annotator] = pseudonym(self.batch.project, self.source, item.annotator).pk
        return self.annotators[item.annotator]


class _Answers:
    """Completions to be added, and the labels that refer to them. An answer that several comparisons of a prompt
    share is one completion; a demonstration's is its own."""

    def __init__(self, old: set[int], items: list[Item]):
        self.ids = iter(new_ids(Completion, sum(len(item.answers) for item in items)))
        self.known: dict[tuple[int, str], int] = {}
        if old and any(item.kind == COMPARISON for item in items):
            imported = Completion.everything.filter(batch__isnull=False, author=None, model=None).order_by()
            for found in among(imported, "prompt", old):
                for pk, prompt, text in found.values_list("id", "prompt", "text"):
                    self.known[prompt, text] = pk
        self.rows: list[tuple[Any, ...]] = []
        self.demonstrations: list[tuple[Any, ...]] = []
        self.comparisons: list[tuple[Any, ...]] = []

    def own(self, prompt: int, text: str, author: int) -> int:
        pk = next(self.ids)
        self.rows.append((pk, prompt, text, author, {}))
        return pk

    def shared(self, prompt: int, text: str, model: str) -> int:
        pk = self.known.get((prompt, text))
        if pk is None:
            pk = self.known[prompt, text] = next(self.ids)
            self.rows.append((pk, prompt, text, None, {"model_name": model} if model else {}))
        return pk

    def add(self, batch: ImportBatch) -> None:
        add_rows(Completion, COMPLETION_FIELDS, self.rows, batch_id=batch.pk)

    def add_labels(self, batch: ImportBatch, source: str) -> None:
        ids = new_ids(Demonstration, len(self.demonstrations))
        made = [(pk, *row) for pk, row in zip(ids, self.demonstrations, strict=True)]
        add_rows(Demonstration, ("id", *DEMONSTRATION_FIELDS), made, batch_id=batch.pk, source=source)
        add_rows(Comparison, COMPARISON_FIELDS, self.comparisons, batch_id=batch.pk, source=source)
        pairs = [(row[0], completion) for row in self.comparisons for completion in row[5]]
        ids = new_ids(COMPARED, len(pairs))
        add_rows(
            COMPARED, ("id", "comparison_id", "completion_id"),
            [(pk, *pair) for pk, pair in zip(ids, pairs, strict=True)],
        )  # fmt: skip


def _unknown(
    model: type[Comparison] | type[Demonstration], items: list[Item], prompts: dict[str, int], old: set[int]
) -> list[Item]:
    """The items whose prompt has no such row yet; of equal ones among them, the first."""
    seen: set[tuple[int, str]] = set()
    asked = {prompts[item.key] for item in items} & old
    if asked:
        for found in among(model.everything.exclude(row_key="").order_by(), "prompt", asked):
            seen.update(found.values_list("prompt", "row_key"))
    fresh = []
    for item in items:
        row = prompts[item.key], item.row_key
        if row not in seen:
            seen.add(row)
            fresh.append(item)
    return fresh
