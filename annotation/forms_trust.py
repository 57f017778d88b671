"""Forms of those who look after the labels: the journal's filter, consent, second looks, asking again."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.validators import MaxValueValidator, MinValueValidator

from annotation.journal import FIRST_DAY, LAST_DAY, SUBJECTS, Filter, recent_acts
from annotation.models import Kind, Queue
from annotation.staleness import Stale
from studio.models import Project

DAYS = (MinValueValidator(FIRST_DAY), MaxValueValidator(LAST_DAY))


class JournalForm(forms.Form):
    """Which entries of the journal are shown."""

    person = forms.CharField(required=False, max_length=150)
    act = forms.CharField(required=False, max_length=40)
    subject = forms.ChoiceField(
        required=False,
        choices=[("", "Anything"), *((name, name.replace("_", " ").capitalize()) for name in SUBJECTS)],
    )
    number = forms.IntegerField(required=False, min_value=1, max_value=10**15)
    since = forms.DateField(required=False, validators=DAYS)
    until = forms.DateField(required=False, validators=DAYS)

    def __init__(self, *args: Any, project: Project, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.acts = recent_acts(project)
        self.people = list(project.memberships.select_related("user").order_by("user__username"))

    def clean_person(self) -> str:
        return self.cleaned_data["person"].replace("\0", "").strip()

    def clean(self) -> dict[str, Any]:
        data = super().clean()
        if data.get("number") and not data.get("subject"):
            self.add_error("number", "Say of what kind the number is: comparison, demonstration, …")
        if data.get("since") and data.get("until") and data["since"] > data["until"]:
            self.add_error("until", "The last day lies before the first.")
        return data

    def chosen(self) -> Filter:
        """What is asked for; a field that is wrong counts as empty and has its error."""
        if not self.is_bound:
            return Filter()
        self.is_valid()
        data = self.cleaned_data
        return Filter(
            person=data.get("person") or "",
            act=data.get("act") or "",
            subject=data.get("subject") or "",
            subject_id=data.get("number"),
            since=data.get("since"),
            until=data.get("until"),
        )


class AskAgainForm(forms.Form):
    """How many of the disputed comparisons go back to people, and to how many."""

    count = forms.IntegerField(label="Strongest", min_value=1, max_value=500, initial=20)
    overlap = forms.IntegerField(label="People each", min_value=1, max_value=9, initial=1)


class RepeatStaleForm(forms.Form):
    """Which groups of stale labels are asked for again, where, and of whom."""

    groups = forms.MultipleChoiceField(
        error_messages={"required": "Choose at least one group of labels."}, required=True
    )
    queue = forms.ModelChoiceField(
        Queue.objects.none(), required=False, empty_label="Where they came from", label="Queue"
    )
    people = forms.ChoiceField(choices=[("anybody", "Anybody"), ("same", "Who made them")], initial="anybody")

    def __init__(self, *args: Any, project: Project, groups: list[Stale], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["groups"].choices = [(group.key, group.key) for group in groups]
        self.fields["queue"].queryset = project.queues.filter(is_open=True, kind__in=(Kind.RANK, Kind.DEMONSTRATE))
