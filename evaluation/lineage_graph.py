"""What something came from and what came from it, as a graph: artifacts with the runs that made them, and labels."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import networkx as nx
from django.db.models import Count
from django.urls import reverse

from annotation.lineage import Label, datasets_using, products
from annotation.models import DatasetItem, Demonstration
from studio.models import Project
from studio.runs.models import Artifact

Key = tuple[Any, ...]  # ("artifact", id), ("labels", dataset id, kind) or ("label", kind, id)
SHOWN_ARTIFACTS = 80  # the nearest ones; a picture of more is read by nobody
KINDS = {  # what the rows of a frozen dataset came from
    "demonstration": "Written by people",
    "comparison": "Judged by people",
    "completion": "Drawn from models",
    "prompt": "Asked of models",
}


def by_number(key: Key) -> tuple[str, ...]:
    """Sorts artifact 9 before artifact 10."""
    return tuple(str(part).zfill(12) for part in key)


@dataclass(frozen=True)
class Node:
    """An artifact (with the run that made it), the labels behind a dataset, or one label."""

    key: Key
    title: str
    kind: str  # Artifact.Kind, or "labels"
    kind_label: str
    url: str = ""
    run_title: str = ""
    run_url: str = ""


@dataclass
class Branch:
    """A node in the nested list; `again` when it stands in full further up."""

    node: Node
    branches: list[Branch] = field(default_factory=list)
    again: bool = False


@dataclass(frozen=True)
class LineageGraph:
    """`graph` has an edge from what was used to what came of it. `before` and `after` leave `centre` out."""

    centre: Key
    graph: nx.DiGraph
    nodes: dict[Key, Node]
    before: set[Key]
    after: set[Key]
    ancestry: set[int]  # ids of all artifacts it came from, itself included, shown or not
    omitted: int  # artifacts too far away to be shown

    def sources(self) -> list[Branch]:
        return self._branches(self.centre, self.graph.predecessors, {self.centre})

    def results(self) -> list[Branch]:
        return self._branches(self.centre, self.graph.successors, {self.centre})

    def _branches(self, key: Key, step: Callable[[Key], Iterable[Key]], seen: set[Key]) -> list[Branch]:
        found = []
        for near in sorted(step(key), key=by_number):
            again = near in seen
            seen.add(near)
            found.append(Branch(self.nodes[near], [] if again else self._branches(near, step, seen), again))
        return found

    def of_kind(self, *kinds: str) -> list[Node]:
        """What came of it, by kind, nearest first."""
        distance = nx.single_source_shortest_path_length(self.graph, self.centre)
        found = [self.nodes[key] for key in self.after if self.nodes[key].kind in kinds]
        return sorted(found, key=lambda node: (distance[node.key], by_number(node.key)))

    def first_results(self) -> list[Node]:
        """What was made of it directly."""
        return [branch.node for branch in self.results()]


def of_artifact(project: Project, artifact: Artifact) -> LineageGraph:
    """Five queries."""
    whole = _whole(project)
    whole.add_node(artifact.pk)
    ancestry, progeny = nx.ancestors(whole, artifact.pk), nx.descendants(whole, artifact.pk)
    return _graph(project, ("artifact", artifact.pk), whole, {artifact.pk}, ancestry, progeny)


def of_label(project: Project, label: Label) -> LineageGraph:
    """What a demonstration or comparison went into; six queries."""
    whole = _whole(project)
    datasets = set(datasets_using(label).values_list("pk", flat=True))
    whole.add_nodes_from(datasets)
    progeny = datasets.union(*(nx.descendants(whole, pk) for pk in datasets))
    kind = label._meta.model_name
    centre = ("label", kind, label.pk)
    found = _graph(project, centre, whole, datasets, set(), progeny)
    title = label.completion.text if isinstance(label, Demonstration) else label.prompt.text
    url = reverse(f"annotation:{kind}", args=[project.slug, label.pk])
    found.nodes[centre] = Node(centre, title, "labels", str(label), url)
    found.graph.add_node(centre)
    found.graph.add_edges_from((centre, ("artifact", pk)) for pk in datasets if ("artifact", pk) in found.nodes)
    return found


def _whole(project: Project) -> nx.DiGraph:
    return nx.DiGraph((source, made) for source, found in products([project]).items() for made in found)


def _graph(
    project: Project, centre: Key, whole: nx.DiGraph, start: set[int], ancestry: set[int], progeny: set[int]
) -> LineageGraph:
    wanted = start | ancestry | progeny
    shown = _nearest(whole, start, wanted)
    artifacts = Artifact.objects.filter(pk__in=shown).select_related("produced_by")
    nodes = {("artifact", a.pk): _artifact_node(project, a) for a in artifacts}
    graph = nx.DiGraph()
    graph.add_nodes_from(nodes)
    for side in (start | ancestry, start | progeny):
        near = side & shown
        graph.add_edges_from((("artifact", a), ("artifact", b)) for a, b in whole.subgraph(near).edges)
    groups = _label_groups(project, shown)
    for dataset, group in groups:
        _insert_group(graph, nodes, ("artifact", dataset), group, is_source=dataset in start | ancestry)
    of_sources = {key for key in nodes if key[0] == "labels" and key[1] in start | ancestry}
    if centre[0] == "label":  # one label stands for all that went into the datasets
        graph.remove_nodes_from(of_sources)
        nodes = {key: node for key, node in nodes.items() if key not in of_sources}
        before: set[Key] = set()
    else:
        before = {("artifact", pk) for pk in ancestry & shown} | of_sources
    after = set(nodes) - before - {centre}
    return LineageGraph(centre, graph, nodes, before, after, ancestry | start, len(wanted) - len(shown))


def _nearest(whole: nx.DiGraph, start: set[int], wanted: set[int]) -> set[int]:
    """At most SHOWN_ARTIFACTS of `wanted`, those with the fewest steps first."""
    if len(wanted) <= SHOWN_ARTIFACTS:
        return wanted
    shown: dict[int, None] = {}
    for layer in nx.bfs_layers(whole.to_undirected(as_view=True).subgraph(wanted), start):
        shown |= dict.fromkeys(sorted(layer))
    return set(list(shown)[:SHOWN_ARTIFACTS])


def _artifact_node(project: Project, artifact: Artifact) -> Node:
    run = artifact.produced_by
    return Node(
        key=("artifact", artifact.pk),
        title=artifact.name,
        kind=artifact.kind,
        kind_label=f"{artifact.kind_label} #{artifact.pk}",
        url=reverse("runs:artifact", args=[project.slug, artifact.pk]),
        run_title=str(run) if run else "",
        run_url=reverse("runs:detail", args=[project.slug, run.pk]) if run else "",
    )


def _label_groups(project: Project, artifacts: set[int]) -> list[tuple[int, Node]]:
    """For each frozen dataset its labels, counted: "124 comparisons"."""
    counts = {f"n_{kind}": Count(kind, distinct=True) for kind in KINDS}
    rows = DatasetItem.objects.filter(artifact__in=artifacts).order_by().values("artifact").annotate(**counts)
    found = []
    for row in rows:
        for kind in KINDS:
            if n := row[f"n_{kind}"]:
                key = ("labels", row["artifact"], kind)
                title = f"{n:,} {kind}{'s' if n != 1 else ''}"
                url = _list_url(project, kind, row["artifact"])
                found.append((row["artifact"], Node(key, title, "labels", KINDS[kind], url)))
    return found


def _list_url(project: Project, kind: str, dataset: int) -> str:
    if kind in ("demonstration", "comparison"):
        return reverse(f"annotation:{kind}s", args=[project.slug]) + f"?dataset={dataset}"
    return reverse("annotation:prompts", args=[project.slug]) if kind == "prompt" else ""


def _insert_group(graph: nx.DiGraph, nodes: dict[Key, Node], dataset: Key, group: Node, is_source: bool) -> None:
    """Labels stand between the answers they judge and the dataset; those of later datasets only where they do so."""
    judged = list(graph.predecessors(dataset)) if group.key[2] in ("comparison", "completion") else []
    if not is_source and not judged:
        return
    nodes[group.key] = group
    graph.remove_edges_from((source, dataset) for source in judged)
    graph.add_edges_from([(group.key, dataset), *((source, group.key) for source in judged)])
