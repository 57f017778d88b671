"""A run's config as people read it: labels and units, what differs from the defaults, and from other runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from studio.runs import registry
from studio.runs.contract import Option, Recipe, options
from studio.runs.models import Run

NOT_SET = "not set"


@dataclass(frozen=True)
class Setting:
    name: str
    label: str
    unit: str
    value: str
    default: str
    changed: bool

    @property
    def is_set(self) -> bool:
        return self.value != NOT_SET


@dataclass(frozen=True)
class Difference:
    """One setting of several runs, in their order; "" where a run's recipe has no such setting."""

    name: str
    label: str
    values: list[str]
    differs: bool


def known_recipe(run: Run) -> Recipe | None:
    """None when the recipe has been removed since."""
    return registry.recipes().get(run.recipe_name)


def settings_of(run: Run) -> list[Setting]:
    """Every setting in the recipe's order; then what today's recipe no longer knows."""
    known = _options(run)
    names = [name for name in known if name in run.config] + [name for name in run.config if name not in known]
    return [_setting(name, known.get(name), run.config[name]) for name in names]


def _setting(name: str, o: Option | None, value: Any) -> Setting:
    shown = show_value(value)
    if o is None:
        return Setting(name, name, "", shown, "", False)
    default = show_value(o.default)
    return Setting(name, o.label, o.unit, shown, default, shown != default)


def differences(runs: list[Run]) -> list[Difference]:
    """The settings of all runs side by side: those that differ first."""
    labels: dict[str, str] = {}
    for run in runs:
        known = _options(run)
        for name in [*known, *run.config]:
            if name in run.config:
                labels.setdefault(name, known[name].label if name in known else name)
    rows = []
    for name, label in labels.items():
        values = [show_value(run.config[name]) if name in run.config else "" for run in runs]
        rows.append(Difference(name, label, values, len(set(values)) > 1))
    return sorted(rows, key=lambda row: not row.differs)


def _options(run: Run) -> dict[str, Option]:
    recipe = known_recipe(run)
    return {o.name: o for o in options(recipe.config)} if recipe else {}


def show_value(value: Any) -> str:
    """One way to write a value, whether it comes from JSON (list) or a dataclass (tuple)."""
    if isinstance(value, list | tuple):
        return ", ".join(show_value(item) for item in value) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None or value == "":
        return NOT_SET
    return f"{value:g}" if isinstance(value, float) else str(value)
