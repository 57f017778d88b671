"""Forms of what comes in from elsewhere."""

from __future__ import annotations

from typing import Any

from django import forms

from annotation.imports.columns import ROLES
from annotation.imports.formats import FORMATS
from annotation.models import ImportBatch

MOST_TAGS = 20
SPLITS = [
    ("hash", "Hold a share of the new prompts out"),
    ("train", "All for training"),
    ("test", "All held out"),
    ("file", "As the dataset's own train and test parts say"),
]
ROLE_NAMES = {
    "prompt": "Prompt", "messages": "Conversation", "completion": "Answer (demonstration)", "chosen": "Chosen answer",
    "rejected": "Rejected answer", "system": "System message", "answers": "Answers to rank", "tiers": "Ranking (tiers)",
    "strength": "Strength, 1–3", "ratings": "Ratings, 1–7", "flags": "Flags", "rationale": "Rationale",
    "reasoning": "Reasoning", "annotator": "Annotator", "seconds": "Seconds it took", "cluster": "Task cluster",
    "tags": "Tags", "reference": "Reference", "split": "Split", "unrankable": "Not rankable", "label": "Good or bad",
    "text": "Plain text",
}  # fmt: skip


class NewImportForm(forms.Form):
    file = forms.FileField(
        required=False, label="A file from your computer",
        help_text="JSONL, JSON, CSV, TSV, Parquet or Arrow; JSONL, JSON and CSV may be gzipped.",
        widget=forms.ClearableFileInput(
            attrs={"accept": ".jsonl,.ndjson,.json,.csv,.tsv,.parquet,.arrow,.gz,application/jsonl,text/csv"}
        ),
    )  # fmt: skip
    path = forms.CharField(
        required=False, max_length=500, label="Or a file on the server",
        help_text="The whole path, of a file or of a dataset saved to disk, below a directory that the server opens "
        "for this.",
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )  # fmt: skip

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if "file" not in self.errors and bool(data.get("file")) == bool(data.get("path")):
            raise forms.ValidationError("Choose a file, or name one on the server: one of the two.")
        return data


class ImportForm(forms.Form):
    """How a file will be read. The select of column number n is called `column-n`."""

    format = forms.ChoiceField(choices=[(f.name, f.title) for f in FORMATS.values()])
    split = forms.ChoiceField(choices=SPLITS, help_text="Twins of a known prompt always stay where it is.")
    test_fraction = forms.FloatField(
        label="Held out", min_value=0, max_value=1, help_text="Share of the new prompts, by a hash of the first turn.",
        widget=forms.NumberInput(attrs={"step": "0.05"}),
    )  # fmt: skip
    source = forms.CharField(
        required=False, max_length=150, help_text="Who made the labels. Left empty: the name of the file."
    )
    licence = forms.CharField(required=False, max_length=80, help_text="For instance MIT or CC BY 4.0.")
    cluster = forms.CharField(
        required=False, max_length=80, label="Task cluster", help_text="For rows that name none themselves."
    )
    tags = forms.CharField(required=False, max_length=300, help_text="For all prompts; commas between them.")
    skip_bad = forms.BooleanField(
        required=False, label="Pass over bad rows, and list them",
        help_text="Otherwise the first bad row stops the import, and nothing remains.",
    )  # fmt: skip

    def __init__(self, data: Any = None, *, batch: ImportBatch, columns: list[str]) -> None:
        options = batch.options
        super().__init__(data, initial=options | {"format": batch.format, "tags": ", ".join(options["tags"])})
        role_of = {column: role for role, column in options["columns"].items()}
        self.columns = columns
        choices = [("", "Not taken"), *((role, ROLE_NAMES[role]) for role in ROLES)]
        for number, column in enumerate(columns):
            self.fields[f"column-{number}"] = forms.ChoiceField(
                choices=choices, required=False, label=column, initial=role_of.get(column, "")
            )

    def clean_tags(self) -> list[str]:
        tags = [tag.strip() for tag in self.cleaned_data["tags"].split(",") if tag.strip()]
        if len(tags) > MOST_TAGS:
            raise forms.ValidationError(f"At most {MOST_TAGS} tags.")
        return tags

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        columns: dict[str, str] = {}
        for number, column in enumerate(self.columns):
            role = data.pop(f"column-{number}", "")
            if role in columns:
                self.add_error(None, f"Two columns are said to be the {ROLE_NAMES[role].lower()}: leave one out.")
            elif role:
                columns[role] = column
        return data | {"columns": columns}

    @property
    def column_fields(self) -> list[Any]:
        return [self[f"column-{number}"] for number in range(len(self.columns))]
