"""Which labels made this model, and which models used this label: walks over rows, level by level.

What a thing comes from: an artifact from the inputs of the run that made it; a frozen dataset also from its labels; a
comparison from the completions it ranks, so from the artifact they were read from. Each level costs a fixed number of
queries, however wide it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from django.db.models import Q, QuerySet

from annotation.models import Comparison, Completion, DatasetItem, Demonstration, Prompt
from studio.runs.models import Artifact, RunInput

Label = Demonstration | Comparison | Completion | Prompt
MODEL_KINDS = (Artifact.Kind.MODEL, Artifact.Kind.REWARD_MODEL, Artifact.Kind.SCORER)


@dataclass(frozen=True)
class LabelsBehind:
    """What people made that went into an artifact, directly or through what it came from."""

    artifacts: set[int]  # ids of everything it came from, itself included
    demonstrations: QuerySet[Demonstration]
    comparisons: QuerySet[Comparison]
    prompts: QuerySet[Prompt]

    @property
    def count(self) -> int:
        """Demonstrations and comparisons."""
        return self.demonstrations.count() + self.comparisons.count()


def labels_behind(artifact: Artifact) -> LabelsBehind:
    """Every label in the datasets that `artifact` came from (withdrawn ones too: they were used)."""
    found = ancestors([artifact.pk])
    items = DatasetItem.objects.filter(artifact__in=found)
    return LabelsBehind(
        artifacts=found,
        demonstrations=Demonstration.objects.filter(pk__in=items.values("demonstration")),
        comparisons=Comparison.objects.filter(pk__in=items.values("comparison")),
        prompts=Prompt.objects.filter(pk__in=items.values("prompt")),
    )


def datasets_using(label: Label) -> QuerySet[Artifact]:
    """The frozen datasets that have a row from this label."""
    items = DatasetItem.objects.filter(**{type(label)._meta.model_name: label})
    return Artifact.objects.filter(pk__in=items.values("artifact"))


def artifacts_using(label: Label) -> QuerySet[Artifact]:
    """Everything that came from a dataset with this label, the datasets included."""
    start = datasets_using(label).values_list("pk", flat=True)
    return Artifact.objects.filter(pk__in=descendants(start))


def models_using(label: Label) -> QuerySet[Artifact]:
    """The models (reward models and scorers too) that were trained on this label or on what came from it."""
    return artifacts_using(label).filter(kind__in=MODEL_KINDS)


def ancestors(artifact_ids: Iterable[int]) -> set[int]:
    """Ids of everything these artifacts came from, themselves included."""
    return _closure(artifact_ids, _sources)


def descendants(artifact_ids: Iterable[int]) -> set[int]:
    """Ids of everything that came from these artifacts, themselves included."""
    return _closure(artifact_ids, _products)


def _closure(start: Iterable[int], step: Callable[[set[int]], set[int]]) -> set[int]:
    found = set(start)
    frontier = set(found)
    while frontier:
        frontier = step(frontier) - found
        found |= frontier
    return found


def _sources(ids: set[int]) -> set[int]:
    inputs = RunInput.objects.filter(run__outputs__in=ids).order_by().values_list("artifact", flat=True)
    items = DatasetItem.objects.filter(artifact__in=ids).order_by()
    ranked = Completion.objects.filter(comparisons__in=items.exclude(comparison=None).values("comparison"))
    taken = Completion.objects.filter(pk__in=items.exclude(completion=None).values("completion"))
    read_from = [set(c.order_by().values_list("artifact", flat=True).distinct()) for c in (ranked, taken)]
    return (set(inputs.distinct()) | read_from[0] | read_from[1]) - {None}


def _products(ids: set[int]) -> set[int]:
    outputs = Artifact.objects.filter(produced_by__inputs__artifact__in=ids).order_by().values_list("pk", flat=True)
    rows = Completion.objects.filter(artifact__in=ids).values("pk")
    ranked = Comparison.objects.filter(completions__in=rows).order_by().values("pk")
    frozen = DatasetItem.objects.filter(Q(completion__in=rows) | Q(comparison__in=ranked)).order_by()
    return set(outputs.distinct()) | set(frozen.values_list("artifact", flat=True).distinct())
