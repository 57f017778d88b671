"""manage.py describe_recipes > docs/recipes.md: every recipe's inputs, outputs and settings, from its declaration."""

from __future__ import annotations

import types
import typing
from typing import Any

from django.core.management.base import BaseCommand

from studio.runs.contract import Option, Recipe, options
from studio.runs.registry import recipes

HEAD = """\
# Recipes

Made from the recipes' own declarations by `manage.py describe_recipes`; the start form and the command line read the
same ones. Names are those of `manage.py run <recipe> --input <role>=<artifact> --set <setting>=<value>`. Bounds are
inclusive. Formats of inputs and outputs: [architecture](architecture.md#formats-of-artifacts).
"""


class Command(BaseCommand):
    help = "Write Markdown that describes every recipe: its inputs, outputs and settings."

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(describe(list(recipes().values())), ending="")


def describe(known: list[Recipe]) -> str:
    rows = [(f"[`{r.name}`](#{r.name})", r.stage, r.queue, r.summary) for r in known]
    parts = [HEAD, _table(("recipe", "stage", "queue", ""), rows), *map(_recipe, known)]
    return "\n".join(parts)


def _recipe(recipe: Recipe) -> str:
    lines = [f"## {recipe.name}", "", f"**{recipe.title}.** {recipe.summary}", "", _facts(recipe)]
    if recipe.inputs:
        lines += [_table(("input", "kind", "", ""), [_input(*pair) for pair in recipe.inputs.items()])]
    settings = [_setting(o) for o in options(recipe.config)]
    lines += [_table(("setting", "label", "default", "allowed", "unit", ""), settings)]
    return "\n".join(lines)


def _facts(recipe: Recipe) -> str:
    """`python -m …`, the queue, outputs and whether it resumes, as a list."""
    started = "once a rank by DeepSpeed's launcher" if recipe.launcher == "deepspeed" else "as one process"
    resumes = "yes" if recipe.resumable else f"no: {recipe.not_resumable_because}"
    outputs = ", ".join(role if role == kind else f"{role} ({kind})" for role, kind in recipe.outputs.items())
    return (
        f"- `python -m {recipe.module} <run directory>`, started {started}\n"
        f"- stage {recipe.stage}, queue {recipe.queue}\n- outputs: {outputs}\n- resumable: {resumes}\n"
    )


def _input(role: str, declared: Any) -> tuple[str, ...]:
    kind = f"{declared.kind} of type {declared.dataset_type}" if declared.dataset_type else declared.kind
    count = ("one or more" if declared.many else "one") if declared.required else "optional"
    if declared.many and not declared.required:
        count = "any number"
    return f"`{role}`", kind, count, f"{declared.label}. {declared.help}".strip()


def _setting(o: Option) -> tuple[str, ...]:
    return f"`{o.name}`", o.label, _default(o.default), _allowed(o), o.unit, o.help


def _default(value: Any) -> str:
    if value is None or value == "" or value == ():
        return "empty"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return str(value) if not isinstance(value, str) else f"`{_one_line(value)}`"


def _allowed(o: Option) -> str:
    if o.choices:
        return ", ".join(f"`{choice}`" for choice in o.choices)
    parts = ["a list"] if typing.get_origin(o.type) is tuple else []
    if o.minimum is not None and o.maximum is not None:
        parts.append(f"{_number(o.minimum)} to {_number(o.maximum)}")
    elif o.minimum is not None:
        parts.append(f"at least {_number(o.minimum)}")
    elif o.maximum is not None:
        parts.append(f"at most {_number(o.maximum)}")
    else:
        parts.append(_type_name(o.type))
    if isinstance(o.type, types.UnionType):
        parts.append("or empty")
    return " ".join(filter(None, parts))


def _type_name(kind: Any) -> str:
    names = {int: "whole number", float: "number", str: "text", bool: "true or false"}
    arguments = typing.get_args(kind)
    if typing.get_origin(kind) is tuple:
        return f"of {names[arguments[0]]}s" if arguments[0] is not str else "of texts"
    return names[arguments[0]] if arguments else names[kind]


def _number(value: float) -> str:
    """1000000 as it is written in a form, not 1e+06."""
    return f"{value:.0f}" if value == int(value) else f"{value:g}"


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return (
        "\n".join(f"| {' | '.join(_one_line(cell).replace('|', chr(92) + '|') for cell in row)} |" for row in lines)
        + "\n"
    )


def _one_line(text: str) -> str:
    return " ".join(text.split())
