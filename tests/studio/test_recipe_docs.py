"""docs/recipes.md is made from the recipes' declarations."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.core.management import call_command

from studio.runs.contract import Input, Recipe, option
from studio.runs.management.commands.describe_recipes import describe


@dataclass(frozen=True)
class Pie:
    slices: int = option(8, "Slices", "How many.", unit="pieces", minimum=2, maximum=1_000_000)
    filling: str = option("apple", "Filling", choices=("apple", "plum"))
    weight: float | None = option(None, "Weight", "Whole | raw.", unit="kg", minimum=0.5)
    toppings: tuple[str, ...] = option((), "Toppings")
    warm: bool = option(True, "Warm")


BAKE = Recipe(
    module="kitchen.bake",
    name="bake",
    title="Bake",
    summary="Make a pie.",
    stage="data",
    config=Pie,
    inputs={"dough": Input("dataset", "Dough", "Cold.", dataset_type="text"), "extra": Input("corpus", "More",
            required=False, many=True)},
    outputs={"pie": "report"},
    resumable=False,
    not_resumable_because="an oven is not stopped",
)  # fmt: skip


def test_the_page_is_up_to_date():
    output = io.StringIO()
    call_command("describe_recipes", stdout=output)
    written = Path(settings.BASE_DIR, "docs", "recipes.md").read_text(encoding="utf8")
    assert written == output.getvalue(), (
        "docs/recipes.md is out of date: run manage.py describe_recipes > docs/recipes.md"
    )


def test_every_part_of_a_declaration_is_said():
    page = describe([BAKE])
    for line in (
        "| [`bake`](#bake) | data | gpu | Make a pie. |",
        "- `python -m kitchen.bake <run directory>`, started as one process",
        "- outputs: pie (report)",
        "- resumable: no: an oven is not stopped",
        "| `dough` | dataset of type text | one | Dough. Cold. |",
        "| `extra` | corpus | any number | More. |",
        "| `slices` | Slices | 8 | 2 to 1000000 | pieces | How many. |",
        "| `filling` | Filling | `apple` | `apple`, `plum` |  |  |",
        "| `weight` | Weight | empty | at least 0.5 or empty | kg | Whole \\| raw. |",
        "| `toppings` | Toppings | empty | a list of texts |  |  |",
        "| `warm` | Warm | true | true or false |  |  |",
    ):
        assert line in page.splitlines(), line
