"""What a recipe declares: its config, its inputs and its outputs.

Pure standard library. This module and `studio.runs.directory` are the only parts of studio that recipes may
import; the web form, the command line and the docs are all made from what is declared here.
"""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from dataclasses import dataclass
from typing import Any

KINDS = ("corpus", "tokenizer", "dataset", "model", "reward_model", "scorer", "completions", "report")
UPLOAD_TYPES = ("text", "demonstrations", "comparisons", "prompts", "labelled")
DATASET_TYPES = (*UPLOAD_TYPES, "completions", "scores")  # the last two only come from the studio itself


@dataclass(frozen=True)
class Input:
    """One input role of a recipe: which kind of artifact it takes.

    `dataset_type` narrows kind "dataset": text, demonstrations (prompt+completion), comparisons (prompt, chosen,
    rejected), prompts (prompt only), labelled (text + label columns), completions (prompt+completion with ids) or
    scores (a reward for each completion).
    """

    kind: str
    label: str
    help: str = ""
    dataset_type: str = ""
    required: bool = True
    many: bool = False


@dataclass(frozen=True)
class Recipe:
    """A program that turns input artifacts into output artifacts, one runnable module under `module`."""

    module: str  # dotted path: python -m <module> <run directory>
    name: str  # as people type it: manage.py run <name>
    title: str
    summary: str
    stage: str  # data, pretrain, sft, reward_model, ppo, sample, evaluate, bias
    config: type
    inputs: dict[str, Input]
    outputs: dict[str, str]  # role -> kind
    queue: str = "gpu"  # "gpu" leases the device and runs one at a time; "cpu" runs beside it
    launcher: str = "python"  # "python" or "deepspeed"
    resumable: bool = True
    not_resumable_because: str = ""


@dataclass(frozen=True)
class Option:
    """One field of a config dataclass, as forms and docs need it."""

    name: str
    type: Any  # int, float, str, bool, tuple[float, ...], tuple[str, ...]
    default: Any
    label: str
    help: str
    unit: str
    minimum: float | None
    maximum: float | None
    choices: tuple[str, ...]
    group: str
    multiline: bool
    path: bool


def option(
    default: Any,
    label: str,
    help: str = "",
    *,
    unit: str = "",
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] = (),
    group: str = "",
    multiline: bool = False,
    path: bool = False,
) -> Any:
    """A config field with what the form, the command line and the docs say about it. Bounds are inclusive.

    `path` marks fields that name a file or directory of the server: the web form takes them only below the
    directories that the installation allows.
    """
    metadata = {
        "label": label,
        "help": help,
        "unit": unit,
        "minimum": minimum,
        "maximum": maximum,
        "choices": tuple(choices),
        "group": group,
        "multiline": multiline,
        "path": path,
    }
    return dataclasses.field(default=default, metadata=metadata)


def options(config: type) -> list[Option]:
    """The fields of a config dataclass in order of declaration."""
    hints = typing.get_type_hints(config)
    return [
        Option(name=field.name, type=hints[field.name], default=field.default, **field.metadata)
        for field in dataclasses.fields(config)
    ]


def parse_config(config: type, values: dict[str, Any]) -> Any:
    """Build a config from JSON values or strings (command line, form).

    Raises ValueError with one sentence a problem, joined by newlines; `errors` maps field names to sentences.
    """
    known = {o.name: o for o in options(config)}
    errors: dict[str, str] = {}
    parsed = {}
    for name, value in values.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean '{near[0]}'?" if near else f"known settings: {', '.join(known)}."
            errors[name] = f"Unknown setting '{name}': {hint}"
            continue
        try:
            parsed[name] = _parse_value(known[name], value)
        except ValueError as error:
            errors[name] = str(error)
    if errors:
        raise ConfigError(errors)
    try:
        return config(**parsed)
    except ConfigError:
        raise
    except ValueError as error:  # a __post_init__ that looks at several fields together
        raise ConfigError({"": str(error)}) from error


class ConfigError(ValueError):
    """A config with bad values; `errors` maps a field's name ("" for the whole) to a sentence for the user."""

    def __init__(self, errors: dict[str, str]):
        super().__init__("\n".join(errors.values()))
        self.errors = errors


def _parse_value(o: Option, value: Any) -> Any:
    if typing.get_origin(o.type) is tuple:
        item_type = typing.get_args(o.type)[0]
        items = value
        if isinstance(value, str):
            items = [part.strip() for part in value.replace("\n", ",").split(",") if part.strip()]
        if not isinstance(items, list | tuple):
            raise ValueError(f"{o.label}: give a list.")
        return tuple(_parse_scalar(o, item_type, item) for item in items)
    if isinstance(o.type, types.UnionType) and (value is None or value == ""):
        return None
    scalar_type = typing.get_args(o.type)[0] if isinstance(o.type, types.UnionType) else o.type
    return _parse_scalar(o, scalar_type, value)


def _parse_scalar(o: Option, scalar_type: type, value: Any) -> Any:
    if scalar_type is bool:
        if isinstance(value, bool):
            return value
        if str(value).lower() in ("true", "1", "yes", "on"):
            return True
        if str(value).lower() in ("false", "0", "no", "off", ""):
            return False
        raise ValueError(f"{o.label}: give true or false, not '{value}'.")
    if scalar_type is str:
        value = str(value)
        if o.choices and value not in o.choices:
            raise ValueError(f"{o.label}: '{value}' is not one of {', '.join(o.choices)}.")
        return value
    try:
        if isinstance(value, bool):
            raise ValueError
        number = scalar_type(value)
        if scalar_type is int and float(value) != number or number != number:
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        what = "a whole number" if scalar_type is int else "a number"
        raise ValueError(f"{o.label}: '{value}' is not {what}.") from None
    if o.minimum is not None and number < o.minimum or o.maximum is not None and number > o.maximum:
        low = "" if o.minimum is None else f"at least {o.minimum:g}"
        high = "" if o.maximum is None else f"at most {o.maximum:g}"
        raise ValueError(f"{o.label}: {number:g} must be {' and '.join(filter(None, (low, high)))}.")
    return number
