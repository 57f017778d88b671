"""Forms of probing: a new chat, a message, what is made of a turn, and probes that a lead assigns."""

from __future__ import annotations

from typing import Any

from django import forms

from annotation.chat_labels import OUTCOMES
from annotation.chats import LONGEST_MESSAGE
from annotation.forms import PersonField
from annotation.forms_failures import experts_of, models_of, name_and_number, open_classes
from annotation.models import FailureClass, FailureStatus, Strength
from annotation.probe import MOST_WANTED
from annotation.submit import LONGEST
from studio.models import Project
from studio.runs.models import Artifact
from studio.serving.client import Sampling


class ChatForm(forms.Form):
    model = forms.ModelChoiceField(Artifact.objects.none(), empty_label="Choose …")
    other = forms.ModelChoiceField(
        Artifact.objects.none(), required=False, label="Beside it", empty_label="No second model",
        help_text="Both answer each message, side by side.",
    )  # fmt: skip
    is_blind = forms.BooleanField(
        required=False, label="Hide which is which until I have voted",
        help_text="Sides are drawn. Votes say more when the names are hidden.",
    )  # fmt: skip
    text = forms.CharField(
        max_length=LONGEST_MESSAGE, required=False, label="First message",
        widget=forms.Textarea(attrs={"rows": 4, "placeholder": "Ask what your people would ask.", "data-key": "w"}),
    )  # fmt: skip
    system = forms.CharField(
        max_length=LONGEST_MESSAGE, required=False, label="System message", widget=forms.Textarea(attrs={"rows": 2}),
        help_text="What the models are told before the conversation.",
    )  # fmt: skip
    temperature = forms.FloatField(
        min_value=0, max_value=5, initial=Sampling.temperature, help_text="0 always takes the likeliest token."
    )
    top_p = forms.FloatField(min_value=0.01, max_value=1, initial=Sampling.top_p, label="Top-p")
    max_tokens = forms.IntegerField(
        min_value=1, max_value=8192, initial=Sampling.max_tokens, label="Longest answer", help_text="In tokens."
    )

    FURTHER = ("system", "temperature", "top_p", "max_tokens")

    def __init__(self, *args: Any, project: Project, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in ("model", "other"):
            self.fields[name].queryset = models_of(project)
            self.fields[name].label_from_instance = name_and_number

    def further(self) -> list[forms.BoundField]:
        """What few people change, behind a fold."""
        return [self[name] for name in self.FURTHER]

    def sampling(self) -> Sampling:
        return Sampling(**{name: self.cleaned_data[name] for name in ("temperature", "top_p", "max_tokens")})


class MessageForm(forms.Form):
    text = forms.CharField(
        max_length=LONGEST_MESSAGE, label="Message",
        widget=forms.Textarea(attrs={"rows": 2, "placeholder": "Write a message …", "data-key": "w"}),
    )  # fmt: skip
    chosen = forms.ChoiceField(choices=[("", ""), ("a", "Left"), ("b", "Right")], required=False)


class VoteForm(forms.Form):
    outcome = forms.ChoiceField(choices=list(OUTCOMES.items()), widget=forms.RadioSelect, label="Which is better?")
    strength = forms.TypedChoiceField(
        choices=Strength.choices, coerce=int, empty_value=None, required=False, widget=forms.RadioSelect,
        label="How much better?",
    )  # fmt: skip
    rationale = forms.CharField(
        max_length=LONGEST, required=False, label="Why?", widget=forms.Textarea(attrs={"rows": 2})
    )

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if data.get("outcome") not in ("a", "b"):
            data["strength"] = None  # asked for between two that differ only
        return data


class ChatDemonstrationForm(forms.Form):
    text = forms.CharField(
        max_length=LONGEST, strip=False, label="The ideal answer",
        widget=forms.Textarea(attrs={"rows": 10, "class": "code", "spellcheck": "true"}),
        help_text="Starts with the model's answer: edit it until it is right. Markdown.",
    )  # fmt: skip
    reasoning = forms.CharField(
        max_length=LONGEST, required=False, widget=forms.Textarea(attrs={"rows": 3}),
        help_text="How you got there, step by step. Kept beside the answer; it is not part of it.",
    )  # fmt: skip


class ProbeForm(forms.Form):
    failure_class = forms.ModelChoiceField(FailureClass.objects.none(), label="Failure class", empty_label="Choose …")
    model = forms.ModelChoiceField(Artifact.objects.none(), empty_label="Choose …")
    assignee = PersonField(label="Who", empty_label="The first who takes it")
    wanted = forms.IntegerField(
        label="Examples wanted", initial=3, min_value=1, max_value=MOST_WANTED,
        help_text="It may be concluded with fewer, when the model does not fail.",
    )  # fmt: skip
    instructions = forms.CharField(
        required=False, max_length=LONGEST, widget=forms.Textarea(attrs={"rows": 4}),
        help_text="What to try, and what counts. Markdown.",
    )  # fmt: skip

    def __init__(self, *args: Any, project: Project, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["failure_class"].queryset = open_classes(project)
        self.fields["model"].queryset = models_of(project)
        self.fields["model"].label_from_instance = name_and_number
        self.fields["assignee"].queryset = experts_of(project)


class ConcludeForm(forms.Form):
    conclusion = forms.CharField(
        max_length=LONGEST, widget=forms.Textarea(attrs={"rows": 4}), label="What you found",
        help_text="Also when you found nothing: what you tried, and how it answered.",
    )  # fmt: skip
    state = forms.ChoiceField(
        required=False, label="How the model fares now", choices=[("", "Leave as it is"), *FailureStatus.State.choices]
    )
