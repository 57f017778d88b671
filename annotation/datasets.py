"""Freeze labels into an immutable dataset artifact: JSONL in TRL's columns, a data card, and which label each row came
from.

Held-out prompts never get into what trains, nor do judgements of blind reviews, gold items, withdrawn and surplus
labels, and those of people who are excluded or took their consent back. Where a disagreement was settled, what settled
it stands for the judgements it settled.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any

from django.db.models import Count, Exists, OuterRef, Q, QuerySet, Sum

from annotation.aggregation import METHODS, PRIOR, preferences
from annotation.freezing import Plan, Row, freeze
from annotation.models import Comparison, Demonstration, Prompt, Split, Standing
from annotation.reading import with_answers
from studio.models import Project, User
from studio.runs.models import Artifact

CHUNK = 500  # labels, with their texts, that are held at a time

LEFT_OUT = (
    "## Left out\n\n"
    "Withdrawn labels, surplus judgements, every held-out prompt, and the labels of people who were excluded or took "
    "their consent back by then. Test rows are those whose conversation's root hashes below the test fraction, so "
    "train and test share no conversation."
)
COMPARISONS_LEFT_OUT = (
    f"{LEFT_OUT}\n\nOf rankings also those of blind reviews and of gold items; and where a disagreement was settled, "
    "the judgements that it settled: only the adjudicated ranking is used."
)
SCORES = (
    "A prompt's rankings were merged into {} scores ({}, prior {}); each pair that somebody ranked is ordered by them."
)
MERGED = {
    "every": "Each ranking gives every pair of answers from different tiers; ties say nothing. People who disagree "
    "give opposite pairs.",
    "majority": "For each pair of a prompt's answers the side that more rankings prefer; draws are left out.",
    "bradley_terry": SCORES.format("Bradley-Terry", "a tie is half a win each way", "{prior:g}"),
    "plackett_luce": SCORES.format("Plackett-Luce", "equal places choose among the same rest", "{prior:g}"),
}
CERTAINTY = "`margin` is twice the probability that the chosen answer wins, less one."
MARGINS = {
    "every": "`margin` is a third of the ranking's strength: 1/3 slightly, 2/3 clearly, 1 much better; 0 where none "
    "was given.",
    "majority": "`margin` is the lead in votes over all votes, ties included.",
    "bradley_terry": CERTAINTY,
    "plackett_luce": CERTAINTY,
}


def freeze_demonstrations(
    project: Project,
    user: User,
    *,
    name: str = "",
    demonstrations: QuerySet[Demonstration] | None = None,
    test_fraction: float = 0.1,
) -> Artifact:
    """A dataset of the project's demonstrations (or of the given ones of them), for SFT.

    `test_fraction` of the conversations, chosen by hash, become the test split. Raises ValueError when none is left.
    """
    labels = _Labels(Demonstration.objects.filter(prompt__project=project), demonstrations)
    return freeze(
        Plan(
            project, user, name or "Demonstrations", "demonstrations",
            rows=lambda: _demonstration_rows(labels),
            still_usable=labels.still_usable,
            empty="There is no demonstration to freeze: write some on training prompts first (held-out prompts do not "
            "train).",
            test_fraction=test_fraction,
            notes=(LEFT_OUT,),
        )
    )  # fmt: skip


def freeze_comparisons(
    project: Project,
    user: User,
    *,
    name: str = "",
    comparisons: QuerySet[Comparison] | None = None,
    test_fraction: float = 0.2,
    aggregation: str = "every",
    prior: float = PRIOR,
    margin: bool = False,
) -> Artifact:
    """A dataset of the pairs that the project's rankings (or the given ones of them) imply, for reward models.

    `aggregation` (see `annotation.aggregation`) says what becomes of several rankings of one prompt; with `margin`
    rows have that column. Train and test share no conversation. Raises ValueError when there is no pair.
    """
    preferences([], [], aggregation, prior)  # the settings are checked before anything is read
    labels = _Labels(Comparison.objects.filter(prompt__project=project, review=None), comparisons)
    facts: dict[str, Any] = {"aggregation": aggregation, "margin": margin}
    if aggregation in ("bradley_terry", "plackett_luce"):
        facts["prior"] = prior
    made = f"## How rankings became pairs\n\n{METHODS[aggregation]}. {MERGED[aggregation].format(prior=prior)}"
    return freeze(
        Plan(
            project, user, name or "Comparisons", "comparisons",
            rows=lambda: _pair_rows(labels, aggregation, prior, margin),
            still_usable=labels.still_usable,
            empty="There is no comparison to freeze that prefers one answer to another: rank answers to training "
            "prompts first (ties, blind reviews, gold items and held-out prompts do not train).",
            test_fraction=test_fraction,
            facts=facts,
            notes=(f"{made} {MARGINS[aggregation]}" if margin else made, COMPARISONS_LEFT_OUT),
        )
    )  # fmt: skip


def freeze_prompts(
    project: Project, user: User, *, name: str = "", prompts: QuerySet[Prompt] | None = None
) -> Artifact:
    """A dataset of prompts: train.jsonl those that may train, test.jsonl the held-out ones. ValueError for none."""
    chosen = Prompt.objects.filter(project=project)
    if prompts is not None:
        chosen = chosen.filter(pk__in=prompts.order_by().values("pk"))

    def rows() -> Iterator[Row]:
        for prompt in chosen.order_by("id").iterator(chunk_size=CHUNK):
            content = {"prompt": prompt.messages, "prompt_id": prompt.pk, "cluster": prompt.cluster}
            yield Row(content, (prompt,), prompt)

    return freeze(
        Plan(
            project, user, name or "Prompts", "prompts", rows=rows, still_usable=lambda: True,
            empty="There is no prompt to freeze: import some first.",
        )
    )  # fmt: skip


def usable(labels: QuerySet[Any], chosen: QuerySet[Any] | None = None) -> QuerySet[Any]:
    """Those of `labels` (and of `chosen`, where given) that may train."""
    if chosen is not None:
        labels = labels.filter(pk__in=chosen.order_by().values("pk"))
    return _trainable(labels).exclude(Exists(_makers(GONE)))


def without_consent(labels: QuerySet[Any]) -> QuerySet[Any]:
    """Those of `labels` that would train, had their makers not taken their consent back."""
    return _trainable(labels).filter(Exists(_makers(CONSENT_GONE)))


CONSENT_GONE = Q(consent_withdrawn_at__isnull=False)
GONE = Q(status=Standing.Status.EXCLUDED) | CONSENT_GONE


def _makers(condition: Q) -> QuerySet[Standing]:
    """How the maker of each label stands in its project, where the condition holds."""
    return Standing.objects.filter(condition, project=OuterRef("prompt__project"), user=OuterRef("annotator"))


def _trainable(labels: QuerySet[Any]) -> QuerySet[Any]:
    """What trains, whoever made it: no gold, and nothing that a standing adjudication has settled."""
    labels = _counted(labels)
    if labels.model is Comparison:
        settled = _counted(Comparison.objects.filter(task__adjudicates=OuterRef("task"))).exclude(Exists(_makers(GONE)))
        labels = labels.filter(~Exists(settled), task__gold=None)
    return labels


def _counted(labels: QuerySet[Any]) -> QuerySet[Any]:
    """Not withdrawn, no surplus, of a training prompt."""
    return labels.filter(withdrawn_at=None, surplus=False, prompt__split=Split.TRAIN)


class _Labels:
    """The labels that are frozen: those of now, whatever people do meanwhile.

    One SELECT reads them all, so it sees one moment. New labels are no matter; `still_usable` tells whether one that
    was read has been withdrawn or settled since.
    """

    def __init__(self, labels: QuerySet[Any], chosen: QuerySet[Any] | None) -> None:
        self.labels, self.chosen = labels, chosen
        self.newest = self.number = self.sum = 0

    def now(self) -> QuerySet[Any]:
        """Those that may train now, in the order of their prompts. `count` is to be called for each that is read."""
        self.newest = self.number = self.sum = 0
        return usable(self.labels, self.chosen).order_by("prompt", "id")

    def count(self, label: Any) -> Any:
        self.newest = max(self.newest, label.pk)
        self.number += 1
        self.sum += label.pk
        return label

    def still_usable(self) -> bool:
        now = usable(self.labels, self.chosen).filter(pk__lte=self.newest).order_by()
        found = now.aggregate(number=Count("pk"), sum=Sum("pk"))
        return (found["number"], found["sum"] or 0) == (self.number, self.sum)


def _demonstration_rows(labels: _Labels) -> Iterator[Row]:
    found = labels.now().select_related("prompt", "completion", "annotator", "guideline")
    for label in map(labels.count, found.iterator(chunk_size=CHUNK)):
        content = {
            "prompt": label.prompt.messages,
            "completion": [{"role": "assistant", "content": label.completion.text}],
            "prompt_id": label.prompt_id,
            "cluster": label.prompt.cluster,
            "demonstration_id": label.pk,
        }
        yield Row(content, (label,), label.prompt)


def _pair_rows(labels: _Labels, aggregation: str, prior: float, margin: bool) -> Iterator[Row]:
    read = with_answers(labels.now().select_related("prompt", "annotator", "guideline"))
    for _, group in groupby(read, key=lambda pair: pair[0].prompt_id):
        rankings: list[Comparison] = []
        texts: dict[int, str] = {}
        for label, answers in group:
            rankings.append(labels.count(label))
            texts |= {pk: answer.text for pk, answer in answers.items()}
        found = preferences([r.tiers for r in rankings], [r.strength for r in rankings], aggregation, prior)
        for chosen, rejected, lead, sources in found:
            if texts[chosen] == texts[rejected]:
                continue
            prompt = rankings[0].prompt
            content = {
                "prompt": prompt.messages,
                "chosen": [{"role": "assistant", "content": texts[chosen]}],
                "rejected": [{"role": "assistant", "content": texts[rejected]}],
                **({"margin": round(lead, 6)} if margin else {}),
                "prompt_id": prompt.pk,
                "cluster": prompt.cluster,
                **_ids(aggregation, [rankings[i].pk for i in sources]),
            }
            yield Row(content, tuple(rankings[i] for i in sources), prompt)


def _ids(aggregation: str, comparisons: list[int]) -> dict[str, Any]:
    return {"comparison_id": comparisons[0]} if aggregation == "every" else {"comparison_ids": comparisons}
