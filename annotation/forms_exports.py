"""What is taken out, and how."""

from __future__ import annotations

from typing import Any

from django import forms

from annotation.models import Split
from studio.runs.models import Artifact


class ChooseDatasetForm(forms.Form):
    dataset = forms.ModelChoiceField(queryset=None, required=False, empty_label=None)

    def __init__(self, datasets: list[Artifact], *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["dataset"]
        field.queryset = Artifact.objects.filter(pk__in=[a.pk for a in datasets]).order_by("-id")
        field.label_from_instance = lambda a: f"#{a.pk} {a.name} ({a.dataset_type})"


class DownloadForm(forms.Form):
    split = forms.ChoiceField(choices=[("", "Both splits"), *Split.choices], required=False)


class LabelsForm(forms.Form):
    pseudonyms = forms.BooleanField(
        required=False, initial=True, label="Pseudonyms instead of user names",
        help_text="The same ones in every export, so that people can still be told apart.",
    )  # fmt: skip
    withdrawn = forms.BooleanField(
        required=False, label="Withdrawn labels too", help_text="Marked with the time and the reason."
    )
