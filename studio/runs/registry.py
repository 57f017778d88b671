"""The recipes that settings list, and what apps want to do around runs."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

from django.conf import settings

from studio.runs.contract import Recipe

if TYPE_CHECKING:
    from studio.runs.models import Run


@cache
def recipes() -> dict[str, Recipe]:
    """Every recipe by name. Importing one loads no training library (a test looks)."""
    found = [importlib.import_module(path).RECIPE for path in settings.RECIPES]
    return {recipe.name: recipe for recipe in found}


def find_recipe(name: str) -> Recipe:
    """Raises ValueError with the known names."""
    if name not in recipes():
        raise ValueError(f"There is no recipe '{name}'. Recipes: {', '.join(recipes())}.")
    return recipes()[name]


_on_success: list[Callable[[Run], None]] = []
_before_lease: list[Callable[[str], None]] = []


def on_success(function: Callable[[Run], None]) -> Callable[[Run], None]:
    """Register what an app does when a run ends well: called with the run, inside the transaction that registers its
    outputs, possibly again after a crash (so it must be idempotent)."""
    _on_success.append(function)
    return function


def before_lease(function: Callable[[str], None]) -> Callable[[str], None]:
    """Register what must make room (stop idle servers) before a run leases the device of this name."""
    _before_lease.append(function)
    return function


def call_on_success(run: Run) -> None:
    for function in _on_success:
        function(run)


def call_before_lease(device: str) -> None:
    for function in _before_lease:
        function(device)
