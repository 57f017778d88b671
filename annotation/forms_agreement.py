"""Which judgements agreement is counted on."""

from __future__ import annotations

from typing import Any

from django import forms

from annotation.models import Kind
from studio.models import Project


class AgreementFilterForm(forms.Form):
    DAYS = [
        ("", "All the time"),
        ("7", "Last 7 days"),
        ("30", "Last 30 days"),
        ("90", "Last 90 days"),
        ("365", "Last year"),
    ]

    queue = forms.ModelChoiceField(queryset=None, required=False, empty_label="All queues")
    days = forms.TypedChoiceField(choices=DAYS, coerce=int, empty_value=None, required=False, label="Judged")

    def __init__(self, project: Project, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["queue"].queryset = project.queues.exclude(kind__in=[Kind.DEMONSTRATE, Kind.ADJUDICATE])
