"""The picture of a lineage: layers by longest path, few crossings by barycentres, coordinates for an SVG.

The method is Sugiyama's (1981): layers, a stand-in for each layer that an edge passes, and repeated sorting of each
layer by the mean place of its neighbours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import networkx as nx

from evaluation.lineage_graph import Key, LineageGraph, Node, by_number

WIDTH, HEIGHT, LABELS_HEIGHT, STAND_IN_HEIGHT = 208, 76, 52, 12  # px
GAP_X, GAP_Y, MARGIN = 52, 18, 10
SWEEPS = 6
LETTERS = 25  # of a title that fit into a node


@dataclass(frozen=True)
class Box:
    node: Node
    x: float
    y: float
    height: float
    is_centre: bool

    @property
    def title(self) -> str:
        return _cut(self.node.title, LETTERS)

    @property
    def kind_label(self) -> str:
        return _cut(self.node.kind_label, LETTERS + 4)

    @property
    def run_title(self) -> str:
        return _cut(self.node.run_title, LETTERS + 3)

    @property
    def text_x(self) -> float:
        return self.x + 14

    @property
    def lines_y(self) -> tuple[float, float, float]:
        return self.y + 19, self.y + 37, self.y + 64

    @property
    def rule_y(self) -> float:
        return self.y + 48

    @property
    def main_height(self) -> float:
        """Of the part that leads to the artifact; below it is the run's."""
        return 48 if self.node.run_url else self.height

    @property
    def stripe_y(self) -> float:
        return self.y + 8

    @property
    def stripe_height(self) -> float:
        return self.height - 16

    @property
    def run_height(self) -> float:
        return self.height - 48


@dataclass(frozen=True)
class Picture:
    width: float
    height: float
    boxes: list[Box]
    paths: list[str]  # SVG path data, from right edge to left edge
    box_width: int = WIDTH


def _cut(text: str, letters: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= letters else text[: letters - 1].rstrip() + "…"


def draw(lineage: LineageGraph) -> Picture:
    layer = layers(lineage)
    graph, routes = _with_stand_ins(lineage.graph.subgraph(layer), layer)
    columns = _order(graph, layer)
    places, height = _place(columns, lineage)
    first = min(columns)
    boxes = []
    for key, y in places.items():
        if key in lineage.nodes:
            x = MARGIN + (layer[key] - first) * (WIDTH + GAP_X)
            boxes.append(Box(lineage.nodes[key], x, y, _height(key, lineage), key == lineage.centre))

    def middle(key: Key) -> tuple[float, float]:
        return MARGIN + (layer[key] - first) * (WIDTH + GAP_X), places[key] + _height(key, lineage) / 2

    paths = [_path([middle(key) for key in route]) for route in routes]
    width = 2 * MARGIN + len(columns) * (WIDTH + GAP_X) - GAP_X
    return Picture(width, height, sorted(boxes, key=lambda b: (b.x, b.y)), paths)


def layers(lineage: LineageGraph) -> dict[Key, int]:
    """Minus the longest path to the centre for what it came from, the longest path from it for what came from it."""
    found = {lineage.centre: 0}
    before = lineage.graph.subgraph(lineage.before | {lineage.centre})
    for key in reversed(list(nx.topological_sort(before))):
        found.setdefault(key, min((found[after] - 1 for after in before.successors(key)), default=-1))
    after = lineage.graph.subgraph(lineage.after | {lineage.centre})
    for key in nx.topological_sort(after):
        found.setdefault(key, max((found[before] + 1 for before in after.predecessors(key)), default=1))
    return found


def _with_stand_ins(graph: nx.DiGraph, layer: dict[Key, int]) -> tuple[nx.DiGraph, list[list[Key]]]:
    """The graph with a stand-in node in each layer that an edge passes, and each edge as the nodes it runs through."""
    result: nx.DiGraph = nx.DiGraph()
    result.add_nodes_from(graph)
    routes = []
    for source, target in graph.edges:
        between: list[Key] = [("stand-in", source, target, at) for at in range(layer[source] + 1, layer[target])]
        layer.update({key: key[3] for key in between})
        route = [source, *between, target]
        nx.add_path(result, route)
        routes.append(route)
    return result, routes


def _order(graph: nx.DiGraph, layer: dict[Key, int]) -> dict[int, list[Key]]:
    """The nodes of each layer from top to bottom."""
    columns: dict[int, list[Key]] = {at: [] for at in range(min(layer.values()), max(layer.values()) + 1)}
    for key in sorted(graph, key=by_number):
        columns[layer[key]].append(key)
    forwards = sorted(columns)
    for sweep in range(SWEEPS):
        neighbours: Callable[[Key], Any] = graph.predecessors if sweep % 2 == 0 else graph.successors
        place = _places_in(columns)
        for at in forwards if sweep % 2 == 0 else reversed(forwards):
            columns[at].sort(key=lambda key: _barycentre(list(neighbours(key)), place, place[key]))
            place |= {key: _share(i, len(columns[at])) for i, key in enumerate(columns[at])}
    return columns


def _places_in(columns: dict[int, list[Key]]) -> dict[Key, float]:
    return {key: _share(i, len(column)) for column in columns.values() for i, key in enumerate(column)}


def _share(place: int, of: int) -> float:
    return (place + 0.5) / of


def _barycentre(neighbours: list[Key], place: dict[Key, float], own: float) -> float:
    return sum(place[key] for key in neighbours) / len(neighbours) if neighbours else own


def _place(columns: dict[int, list[Key]], lineage: LineageGraph) -> tuple[dict[Key, float], float]:
    """The top edge of each node, columns centred on one another; and the picture's height."""
    heights = {at: sum(_height(k, lineage) + GAP_Y for k in column) - GAP_Y for at, column in columns.items()}
    tallest = max(heights.values())
    places = {}
    for at, column in columns.items():
        y = MARGIN + (tallest - heights[at]) / 2
        for key in column:
            places[key] = y
            y += _height(key, lineage) + GAP_Y
    return places, tallest + 2 * MARGIN


def _height(key: Key, lineage: LineageGraph) -> float:
    if key[0] == "stand-in":
        return STAND_IN_HEIGHT
    return HEIGHT if lineage.nodes[key].run_url else LABELS_HEIGHT


def _path(points: list[tuple[float, float]]) -> str:
    """A smooth line from the right edge of the first box through the stand-ins to the left edge of the last."""
    (x, y), *others = points
    x += WIDTH
    data = f"M{x:.0f} {y:.0f}"
    for number, (next_x, next_y) in enumerate(others):
        bend = (next_x - x) / 2
        data += f"C{x + bend:.0f} {y:.0f} {next_x - bend:.0f} {next_y:.0f} {next_x:.0f} {next_y:.0f}"
        x, y = next_x, next_y
        if number < len(others) - 1:
            data += f"H{x + WIDTH:.0f}"
            x += WIDTH
    return data
