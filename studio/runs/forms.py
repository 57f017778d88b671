"""The form that starts a run, made from a recipe's config dataclass and inputs; and the upload form.

What a value may be is decided by `parse_config` and `submit_run`, for the web as for the shell: the form shows fields,
hands the strings over and puts the sentences that come back beside the fields.
"""

from __future__ import annotations

import types
import typing
from dataclasses import dataclass
from typing import Any

from django import forms
from django.conf import settings

from studio.models import Project
from studio.runs import registry
from studio.runs.contract import UPLOAD_TYPES, ConfigError, Input, Option, Recipe, options
from studio.runs.models import Artifact, Run
from studio.runs.uploads import Source
from studio.web.templatetags.studio import filesize

FIELD = "runs/field.html"
CLOSED_GROUPS = ("advanced", "hardware", "machine", "watching")  # whose defaults mostly stand; they start closed


@dataclass(frozen=True)
class FieldGroup:
    title: str
    fields: list[forms.BoundField]
    collapsed: bool


class RunForm(forms.Form):
    """Title, one field for each input role ("input-<role>") and one for each setting ("config-<name>")."""

    use_required_attribute = False  # the server's sentence says more than the browser's

    def __init__(self, recipe: Recipe, project: Project, *args: Any, repeat_of: Run | None = None, **kwargs: Any):
        self.recipe, self.project, self.repeat_of = recipe, project, repeat_of
        initial = _initial(recipe, repeat_of) | (kwargs.pop("initial", None) or {})
        super().__init__(*args, initial=initial, label_suffix="", **kwargs)
        self.fields["title"] = forms.CharField(
            max_length=160, required=False, label="Title", help_text=f"Left empty: “{recipe.title}”."
        )
        artifacts = choosable(project, recipe)
        for role, declared in recipe.inputs.items():
            self.fields[f"input-{role}"] = _input_field(declared, artifacts[role])
        for o in options(recipe.config):
            self.fields[f"config-{o.name}"] = option_field(o)

    @property
    def input_fields(self) -> list[forms.BoundField]:
        return [self[f"input-{role}"] for role in self.recipe.inputs]

    @property
    def groups(self) -> list[FieldGroup]:
        return field_groups(self, self.recipe.config)

    def values(self) -> dict[str, Any]:
        """The settings as given, for `submit_run`."""
        return {o.name: self.cleaned_data[f"config-{o.name}"] for o in options(self.recipe.config)}

    def inputs(self) -> dict[str, list[Artifact]]:
        chosen = {role: self.cleaned_data.get(f"input-{role}") for role in self.recipe.inputs}
        return {
            role: list(artifacts) if self.recipe.inputs[role].many else [artifacts]
            for role, artifacts in chosen.items()
            if artifacts
        }

    def add_config_errors(self, error: ConfigError) -> None:
        """Put each sentence beside its field."""
        for name, sentence in error.errors.items():
            field = f"input-{name.removeprefix('input:')}" if name.startswith("input:") else f"config-{name}"
            self.add_error(field if field in self.fields else None, sentence)


def field_groups(form: forms.Form, config: type) -> list[FieldGroup]:
    """The fields "config-<name>" by group, in order of declaration; a group with an error is open."""
    by_group: dict[str, list[forms.BoundField]] = {}
    for o in options(config):
        by_group.setdefault(o.group, []).append(form[f"config-{o.name}"])
    return [
        FieldGroup(
            title=group or "General",
            fields=fields,
            collapsed=group.lower() in CLOSED_GROUPS and not any(field.errors for field in fields),
        )
        for group, fields in by_group.items()
    ]


def _initial(recipe: Recipe, repeat_of: Run | None) -> dict[str, Any]:
    """Defaults, or the values and inputs of the run that is repeated."""
    values = {o.name: o.default for o in options(recipe.config)}
    initial: dict[str, Any] = {}
    if repeat_of is not None:
        values.update({name: value for name, value in repeat_of.config.items() if name in values})
        initial["title"] = repeat_of.title
        for row in repeat_of.inputs.all():
            if declared := recipe.inputs.get(row.role):
                key = f"input-{row.role}"
                initial[key] = [*initial.get(key, []), row.artifact_id] if declared.many else row.artifact_id
    for o in options(recipe.config):
        initial[f"config-{o.name}"] = _as_text(o, values[o.name])
    return initial


def _as_text(o: Option, value: Any) -> Any:
    """A config value as its field shows it."""
    if isinstance(value, list | tuple):
        if o.choices:
            return list(value)
        return ("\n" if o.multiline else ", ").join(str(item) for item in value)
    return "" if value is None else value


def artifact_label(artifact: Artifact) -> str:
    """Name, number and age: names alone are not unique."""
    counts = artifact.metadata.get("counts") or {}
    size = f", {sum(counts.values()):,} rows" if counts else ""
    return f"{artifact.name} (#{artifact.pk}, {artifact.created_at:%d %b %Y %H:%M}{size})"


def choosable(project: Project, recipe: Recipe) -> dict[str, list[Artifact]]:
    """The project's artifacts that fit each input role, newest first."""
    kinds = {declared.kind for declared in recipe.inputs.values()}
    found = list(Artifact.objects.filter(project=project, kind__in=kinds)) if kinds else []
    return {
        role: [a for a in found if a.kind == i.kind and i.dataset_type in ("", a.dataset_type)]
        for role, i in recipe.inputs.items()
    }


def _input_field(declared: Input, artifacts: list[Artifact]) -> forms.Field:
    wanted = f"{declared.kind} of type {declared.dataset_type}" if declared.dataset_type else declared.kind
    message = f"{declared.label}: choose an artifact of this project (kind: {wanted})."
    by_key = {str(artifact.pk): artifact for artifact in artifacts}
    choices = [(key, artifact_label(artifact)) for key, artifact in by_key.items()]
    common: dict[str, Any] = {
        "coerce": by_key.__getitem__,
        "required": False,  # submit_run says what is missing
        "label": declared.label,
        "help_text": declared.help,
        "template_name": FIELD,
        "error_messages": {"invalid_choice": message, "invalid_list": message},
    }
    field: forms.Field
    if declared.many:
        field = forms.TypedMultipleChoiceField(choices=choices, widget=forms.CheckboxSelectMultiple, **common)
    else:
        field = forms.TypedChoiceField(choices=[("", "—"), *choices], empty_value=None, **common)
    field.none_yet = not artifacts
    field.makers = [r for r in registry.recipes().values() if declared.kind in r.outputs.values()]
    field.optional = not declared.required
    field.takes_upload = declared.kind == "dataset"
    return field


def option_field(o: Option) -> forms.Field:
    """The field of one setting of a config dataclass."""
    field = _control(o)
    field.unit = o.unit
    field.optional = isinstance(o.type, types.UnionType)
    return field


def _control(o: Option) -> forms.Field:
    help_text = " ".join(filter(None, (o.help, _bounds(o))))
    common = {"required": False, "label": o.label, "help_text": help_text, "template_name": FIELD}
    scalar = _scalar_type(o)
    if typing.get_origin(o.type) is tuple:
        if o.choices:
            choices = [(c, c) for c in o.choices]
            return _AnyChoices(choices=choices, widget=forms.CheckboxSelectMultiple, **common)
        how = "One a line." if o.multiline else "Separate several with commas."
        return _text_field(o, common | {"help_text": f"{help_text} {how}".strip()})
    if scalar is bool:
        return forms.BooleanField(**common)
    if o.choices:
        return _AnyChoice(choices=[(c, c) for c in o.choices], **common)
    if scalar in (int, float):
        mode = "numeric" if scalar is int and (o.minimum or 0) >= 0 else "decimal"
        widget = forms.TextInput(attrs={"inputmode": mode, "autocomplete": "off", "class": "number"})
        return forms.CharField(widget=widget, **common)
    return _text_field(o, common)


def _text_field(o: Option, common: dict[str, Any]) -> forms.CharField:
    widget = forms.Textarea(attrs={"rows": 4}) if o.multiline else forms.TextInput(attrs={"autocomplete": "off"})
    return forms.CharField(widget=widget, strip=not o.multiline, **common)


class _AnyChoice(forms.ChoiceField):
    """Offers the choices but leaves the verdict to `parse_config`."""

    def valid_value(self, value: str) -> bool:
        return True


class _AnyChoices(forms.MultipleChoiceField):
    def valid_value(self, value: str) -> bool:
        return True


def _scalar_type(o: Option) -> Any:
    return typing.get_args(o.type)[0] if isinstance(o.type, types.UnionType) else o.type


def _bounds(o: Option) -> str:
    if o.minimum is not None and o.maximum is not None:
        return f"From {_plain(o.minimum)} to {_plain(o.maximum)}."
    if o.minimum is not None:
        return f"At least {_plain(o.minimum)}."
    return f"At most {_plain(o.maximum)}." if o.maximum is not None else ""


def _plain(bound: float) -> str:
    return f"{int(bound):,}" if bound == int(bound) else f"{bound:g}"


class UploadForm(forms.Form):
    dataset_type = forms.ChoiceField(
        label="What it holds",
        choices=[
            ("text", "Text: documents to build a corpus from"),
            ("demonstrations", "Demonstrations: prompts with ideal answers"),
            ("comparisons", "Comparisons: prompts with a chosen and a rejected answer"),
            ("prompts", "Prompts: to sample answers for"),
            ("labelled", "Labelled text: to train a toxicity scorer"),
        ],
    )
    name = forms.CharField(label="Name", max_length=160)
    train = forms.FileField(label="File")
    test = forms.FileField(
        label="Test file",
        required=False,
        help_text="Held out of training. It may share no prompt with the file above.",
    )
    text_documents = forms.ChoiceField(
        label="A .txt file holds",
        choices=[("file", "one document"), ("paragraph", "a document a paragraph (blank lines between them)")],
        required=False,
    )
    licence = forms.CharField(
        label="Licence",
        max_length=80,
        required=False,
        help_text="For example CC-BY-4.0. Models trained on it carry it along.",
    )
    origin = forms.CharField(
        label="Origin",
        max_length=200,
        required=False,
        help_text="Where it comes from: an address, a person, a system.",
    )

    use_required_attribute = False

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        limit = filesize(settings.MAX_UPLOAD_BYTES)
        self.fields[
            "train"
        ].help_text = f"JSONL (one JSON object a line, UTF-8) or, for text, .txt. At most {limit} in all."
        self.fields["train"].widget.attrs["accept"] = ".jsonl,.ndjson,.json,.txt"
        self.fields["test"].widget.attrs["accept"] = ".jsonl,.ndjson,.json,.txt"

    def sources(self) -> dict[str, Source | None]:
        files = {split: self.cleaned_data.get(split) for split in ("train", "test")}
        return {split: Source(file.name, file.file) if file else None for split, file in files.items()}


assert {value for value, _ in UploadForm.base_fields["dataset_type"].choices} == set(UPLOAD_TYPES)


class RunFilter(forms.Form):
    """Which runs the list shows."""

    recipe = forms.ChoiceField(label="Recipe", required=False)
    status = forms.ChoiceField(label="Status", required=False, choices=[("", "Any status"), *Run.Status.choices])

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.fields["recipe"].choices = [("", "Any recipe"), *((r.name, r.title) for r in registry.recipes().values())]
