"""Forms of a lead: a queue's settings, and what is to happen to one task."""

from __future__ import annotations

from typing import Any

from django import forms

from annotation.forms import PeopleField, PersonField, members_of
from annotation.models import Kind, Queue
from studio.models import Project
from studio.runs.models import Artifact

KINDS = [(Kind.DEMONSTRATE.value, Kind.DEMONSTRATE.label), (Kind.RANK.value, Kind.RANK.label)]


class QueueForm(forms.ModelForm):
    class Meta:
        model = Queue
        fields = [
            "name", "note", "lease_minutes", "order", "reward_model", "skill", "people", "min_seconds", "gold_rate",
            "gold_feedback", "calibration_items", "calibration_pass", "gold_window", "warn_below", "pause_below",
            "exclude_below",
        ]  # fmt: skip
        labels = {
            "lease_minutes": "Minutes a claim holds its place",
            "note": "A line for those who work in it",
            "min_seconds": "Hasty below, seconds",
            "gold_rate": "Gold items, share of a person's tasks",
            "gold_feedback": "Tell people how they did on a gold item",
            "calibration_items": "Trial round: gold items before real work",
            "calibration_pass": "Trial round: share of pairs to get right",
            "gold_window": "Gold items that are looked back on",
            "warn_below": "Warn below",
            "pause_below": "Pause below",
            "exclude_below": "Exclude below",
        }
        help_texts = {
            "note": "Shown above each task.",
            "lease_minutes": "Saving a draft renews it. After it has ended, the work goes back into the queue.",
            "order": "Of tasks with the same priority.",
            "reward_model": "Whose scores the order goes by, where it goes by scores.",
            "skill": "A tag: only members who have it are given this work. Left empty, everybody is.",
            "min_seconds": "Whoever answers faster is asked to look again.",
            "gold_rate": "0.1 is one in ten; gold items look like any other task. They are made under Quality, Gold.",
            "calibration_items": "0: none. The trial round tells people how they did.",
            "warn_below": "Shares of the pairs, 0 to 1; left empty, nothing happens by itself.",
            "pause_below": "Until a lead lets them go on.",
            "exclude_below": "Their labels leave future datasets too.",
        }
        widgets = {
            name: forms.NumberInput(attrs={"step": "0.05", "min": 0, "max": 1})
            for name in ("gold_rate", "calibration_pass", "warn_below", "pause_below", "exclude_below")
        }

    people = PeopleField(help_text="Only these, whatever their role. None chosen: everybody.")
    kind = forms.ChoiceField(choices=KINDS, widget=forms.RadioSelect, initial=Kind.RANK.value, label="Kind of work")

    def __init__(self, *args: Any, project: Project, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["people"].queryset = members_of(project)
        rewards = Artifact.objects.filter(project=project, kind=Artifact.Kind.REWARD_MODEL).order_by("-id")
        self.fields["reward_model"].queryset = rewards
        self.fields["reward_model"].label_from_instance = lambda m: f"{m.name} (#{m.pk})"
        if self.instance.pk:
            del self.fields["kind"]

    def settings(self) -> dict[str, Any]:
        """Arguments of `lead.create_queue` and `lead.change_queue`."""
        return {name: self.cleaned_data[name] for name in self.fields}

    def _post_clean(self) -> None:
        """The acts in `lead` check and save; the instance stays as it was for them to compare."""


class TaskActForm(forms.Form):
    ACTS = [
        ("release", "Release"),
        ("assign", "Assign"),
        ("priority", "Priority"),
        ("put-back", "Put back"),
        ("take-out", "Take out"),
    ]

    act = forms.ChoiceField(choices=ACTS)
    claim = forms.IntegerField(required=False, min_value=1, max_value=2**62)
    person = PersonField()
    priority = forms.IntegerField(required=False, min_value=-1000, max_value=1000)
    reason = forms.CharField(required=False, max_length=200)

    def __init__(self, *args: Any, project: Project, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["person"].queryset = members_of(project)
