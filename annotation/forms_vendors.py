"""Forms of work that is handed out."""

from __future__ import annotations

from typing import Any

from django import forms

from annotation.models import Queue
from annotation.returns import LARGEST
from annotation.vendors import LARGEST_GOLD_RATE, MOST_PLACES
from studio.models import Project


class HandOverForm(forms.Form):
    queue = forms.ModelChoiceField(Queue.objects.none(), empty_label="Choose …")
    vendor = forms.CharField(max_length=80, help_text="Who does it: Scale, Surge, Labelbox, an agency …")
    name = forms.CharField(max_length=120, label="Name of the batch", help_text="As you will talk about it with them.")
    places = forms.IntegerField(
        label="How many places", min_value=1, max_value=MOST_PLACES, initial=100,
        help_text="The first in line. They are offered to nobody here until the batch is decided.",
    )  # fmt: skip
    per_task = forms.IntegerField(
        label="Places of one task, at most", min_value=1, max_value=100, initial=1,
        help_text="With more than one, the vendor must give each to another person.",
    )  # fmt: skip
    gold_rate = forms.FloatField(
        label="Share of gold items", min_value=0, max_value=LARGEST_GOLD_RATE, initial=0.1,
        help_text="Mixed in unmarked, as many as the queue has; they show whom to trust.",
        widget=forms.NumberInput(attrs={"step": "0.05"}),
    )  # fmt: skip

    def __init__(self, *args: Any, project: Project, places: dict[int, int], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["queue"].queryset = Queue.objects.filter(project=project, pk__in=places).order_by("name")
        self.fields["queue"].label_from_instance = lambda q: (
            f"{q.name} ({places[q.pk]:,} place{'' if places[q.pk] == 1 else 's'} free)"
        )


class ReturnForm(forms.Form):
    file = forms.FileField(
        label="What came back", help_text="JSONL: one object a line with “key”, “worker” and the answer.",
        widget=forms.ClearableFileInput(attrs={"accept": ".jsonl,.ndjson,application/jsonl"}),
    )  # fmt: skip

    def clean_file(self) -> Any:
        file = self.cleaned_data["file"]
        if file.size > LARGEST:
            raise forms.ValidationError(f"Larger than {LARGEST / 1e6:.0f} MB: no batch's return is.")
        return file


class DecisionForm(forms.Form):
    note = forms.CharField(required=False, max_length=300, widget=forms.Textarea(attrs={"rows": 2}))
