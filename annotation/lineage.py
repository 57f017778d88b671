"""Which labels made this model, and which models used this label: walks over rows, level by level.

What a thing comes from: an artifact from the inputs of the run that made it; a frozen dataset also from its labels; a
comparison from the completions it ranks, so from the artifact they were read from. Upwards each level costs a fixed
number of queries, however wide it is; downwards the whole walk does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from django.db.models import QuerySet

from annotation.models import Comparison, Completion, DatasetItem, Demonstration, Prompt
from studio.models import Project
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
    """Ids of everything that came from these artifacts, themselves included; three queries, however long the chain."""
    start = set(artifact_ids)
    made = products(Artifact.objects.filter(pk__in=start).order_by().values("project"))
    return _closure(start, lambda ids: {product for pk in ids for product in made.get(pk, ())})


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


def products(projects: QuerySet[Artifact] | list[Project]) -> dict[int, set[int]]:
    """What was made from each artifact of these projects directly: by a run, or frozen from what was read from it.

    Three queries; the lineage pages draw their pictures from this.
    """
    made = Artifact.objects.filter(project__in=projects).exclude(produced_by=None).order_by()
    items = DatasetItem.objects.filter(artifact__project__in=projects).order_by()
    found: dict[int, set[int]] = {}
    for pairs in (
        made.values_list("produced_by__inputs__artifact", "pk"),
        items.exclude(comparison=None).values_list("comparison__completions__artifact", "artifact"),
        items.exclude(completion=None).values_list("completion__artifact", "artifact"),
    ):
        for source, product in pairs.distinct():
            if source is not None:
                found.setdefault(source, set()).add(product)
    return found
