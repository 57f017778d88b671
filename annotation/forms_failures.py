"""Forms of failure classes, their examples, merges, and how models fare."""

from __future__ import annotations

from typing import Any

from django import forms

from annotation.forms import PersonField
from annotation.models import FailureClass, FailureStatus
from annotation.submit import LONGEST
from studio.access import EXPERTS
from studio.models import Project, User
from studio.runs.models import Artifact


def experts_of(project: Project) -> Any:
    return User.objects.filter(memberships__project=project, memberships__role__in=EXPERTS).order_by("username")


def models_of(project: Project) -> Any:
    return Artifact.objects.filter(project=project, kind=Artifact.Kind.MODEL).order_by("-id")


def open_classes(project: Project) -> Any:
    return project.failure_classes.filter(merged_into=None)


def name_and_number(artifact: Artifact) -> str:
    return f"{artifact.name} (#{artifact.pk})"


class FailureFilterForm(forms.Form):
    q = forms.CharField(required=False, label="Text", max_length=200)
    severity = forms.ChoiceField(required=False, choices=[("", "Any severity"), *FailureClass.Severity.choices])
    owner = PersonField(empty_label="Anybody's")
    state = forms.ChoiceField(
        required=False, label="Status", choices=[("", "Any status"), *FailureStatus.State.choices]
    )
    merged = forms.BooleanField(required=False, label="Merged ones too")

    def __init__(self, *args: Any, project: Project, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["owner"].queryset = experts_of(project)

    def conditions(self) -> dict[str, Any]:
        """Arguments for `find_classes`; a value that fits no field is left out."""
        self.is_valid()
        return {name: value for name, value in self.cleaned_data.items() if value}


class FailureClassForm(forms.Form):
    name = forms.CharField(max_length=120, help_text="How models fail, in a few words: Invents a function.")
    description = forms.CharField(
        required=False, max_length=LONGEST, widget=forms.Textarea(attrs={"rows": 4}),
        help_text="How to recognise it, and what is not meant. Markdown.",
    )  # fmt: skip
    severity = forms.TypedChoiceField(
        choices=FailureClass.Severity.choices, coerce=int, initial=FailureClass.Severity.MAJOR
    )


class EditFailureClassForm(FailureClassForm):
    owner = PersonField(empty_label="Nobody", help_text="Who keeps an eye on it.")
    suggested_prompts = forms.CharField(
        required=False, max_length=LONGEST, label="Prompts that provoke it",
        widget=forms.Textarea(attrs={"rows": 6}), help_text="One a line. Offered to those who probe a model for it.",
    )  # fmt: skip

    def __init__(self, *args: Any, project: Project, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["owner"].queryset = experts_of(project)

    def clean_suggested_prompts(self) -> list[str]:
        return self.cleaned_data["suggested_prompts"].splitlines()


class MergeForm(forms.Form):
    target = forms.ModelChoiceField(
        FailureClass.objects.none(), label="Into", empty_label="Choose …", help_text="It takes over the examples."
    )
    reason = forms.CharField(required=False, max_length=300, help_text="Why they are the same.")

    def __init__(self, *args: Any, failure_class: FailureClass, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["target"].queryset = open_classes(failure_class.project).exclude(pk=failure_class.pk)


class FailureExampleForm(forms.Form):
    """A failing answer, filed under a class that exists or a new one."""

    failure_class = forms.ModelChoiceField(
        FailureClass.objects.none(), required=False, label="Failure class", empty_label="A new class …"
    )
    name = forms.CharField(
        max_length=120, required=False, label="Name of the new class", help_text="Only when none of the list fits."
    )
    correction = forms.CharField(
        max_length=LONGEST, label="What it should have said", widget=forms.Textarea(attrs={"rows": 5}),
        help_text="Markdown.",
    )  # fmt: skip
    reasoning = forms.CharField(
        max_length=LONGEST, required=False, widget=forms.Textarea(attrs={"rows": 3}), help_text="Why it is wrong."
    )

    def __init__(self, *args: Any, project: Project, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["failure_class"].queryset = open_classes(project)

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if not self.errors and not data.get("failure_class") and not data.get("name"):
            self.add_error("failure_class", "Choose a class, or give a new one a name.")
        return data


class FailureStatusForm(forms.Form):
    model = forms.ModelChoiceField(Artifact.objects.none(), empty_label="Choose …")
    state = forms.ChoiceField(choices=FailureStatus.State.choices)
    note = forms.CharField(required=False, max_length=300, help_text="What was tried, or where it shows.")

    def __init__(self, *args: Any, project: Project, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["model"].queryset = models_of(project)
        self.fields["model"].label_from_instance = name_and_number
