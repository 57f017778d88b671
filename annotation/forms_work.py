"""What is handed in for a claim: a demonstration or a ranking, as plain forms that also work without JavaScript."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django import forms
from django.forms.boundfield import BoundField

from annotation.models import Completion, FailureClass, Strength
from annotation.submit import FLAGS, LONGEST, RATINGS

UNRANKABLE = "x"


class WorkForm(forms.Form):
    """A form whose content can also be a draft: {"fields": {name: [value, …]}}, as the page's script saves it."""

    key = forms.CharField(max_length=100, required=False, widget=forms.HiddenInput, label="Idempotency key")

    @classmethod
    def initial_from(cls, draft: Any) -> dict[str, Any]:
        """Values for `initial` from a draft's content; {} from a draft that a program wrote in another shape."""
        fields = draft.get("fields") if isinstance(draft, dict) else None
        if not isinstance(fields, dict):
            return {}
        return {
            name: values if cls.is_multiple(name) else values[0]
            for name, values in fields.items()
            if isinstance(values, list) and values and all(isinstance(value, str) for value in values)
        }

    @staticmethod
    def is_multiple(name: str) -> bool:
        return name.startswith("flags_")


class DemonstrationForm(WorkForm):
    text = forms.CharField(
        max_length=LONGEST, strip=False, label="Your answer",
        widget=forms.Textarea(attrs={"rows": 14, "class": "code", "spellcheck": "true", "data-key": "e"}),
        help_text="The answer you would want to get. Markdown.",
    )  # fmt: skip
    reasoning = forms.CharField(
        max_length=LONGEST, strip=False, required=False, label="Reasoning",
        widget=forms.Textarea(attrs={"rows": 5, "spellcheck": "true"}),
        help_text="How you got there, step by step. Kept beside the answer; it is not part of it.",
    )  # fmt: skip


@dataclass(frozen=True)
class AnswerCard:
    """One answer on the screen with its controls."""

    letter: str
    completion: Completion
    rank: BoundField
    rating: BoundField
    flags: BoundField

    @property
    def is_cut(self) -> bool:
        return self.completion.finish_reason == "length"

    @property
    def has_details(self) -> bool:
        return bool(self.rating.value() or self.flags.value())


class RankingForm(WorkForm):
    """A place for each answer (equal places are ties), and what else there is to say about them."""

    strength = forms.TypedChoiceField(
        choices=Strength.choices, coerce=int, empty_value=None, required=False, widget=forms.RadioSelect,
        label="How much better?",
    )  # fmt: skip
    rationale = forms.CharField(
        max_length=LONGEST, strip=False, required=False, label="Why this order?",
        widget=forms.Textarea(attrs={"rows": 3, "spellcheck": "true"}),
    )  # fmt: skip

    def __init__(self, *args: Any, answers: dict[str, Completion], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.answers = answers
        places = [(str(n), str(n)) for n in range(1, len(answers) + 1)] + [(UNRANKABLE, "Not rankable")]
        ratings = [(str(n), str(n)) for n in RATINGS]
        for letter in answers:
            name = letter.upper()
            self.fields[f"rank_{letter}"] = forms.ChoiceField(
                choices=places, widget=forms.RadioSelect, label=f"Place of answer {name}",
                error_messages={"required": f"Give answer {name} a place, or mark it as not rankable."},
            )  # fmt: skip
            self.fields[f"rating_{letter}"] = forms.TypedChoiceField(
                choices=ratings, coerce=int, empty_value=None, required=False, widget=forms.RadioSelect,
                label=f"Quality of answer {name}",
            )  # fmt: skip
            self.fields[f"flags_{letter}"] = forms.MultipleChoiceField(
                choices=list(FLAGS.items()), required=False, widget=forms.CheckboxSelectMultiple,
                label=f"Flags of answer {name}",
            )  # fmt: skip

    @property
    def cards(self) -> list[AnswerCard]:
        return [
            AnswerCard(letter, completion, *(self[f"{part}_{letter}"] for part in ("rank", "rating", "flags")))
            for letter, completion in self.answers.items()
        ]

    def ranking(self) -> dict[str, Any]:
        """Arguments for `submit_ranking`. Strength is asked for between two tiers only, and dropped otherwise."""
        data = self.cleaned_data
        by_place: dict[str, list[str]] = {}
        for letter in self.answers:
            by_place.setdefault(data[f"rank_{letter}"], []).append(letter)
        unrankable = by_place.pop(UNRANKABLE, [])
        tiers = [by_place[place] for place in sorted(by_place, key=int)]
        rated = {letter: data[f"rating_{letter}"] for letter in self.answers}
        flagged = {letter: data[f"flags_{letter}"] for letter in self.answers}
        return {
            "tiers": tiers,
            "unrankable": unrankable,
            "strength": data["strength"] if len(tiers) == 2 else None,
            "ratings": {letter: rating for letter, rating in rated.items() if rating},
            "flags": {letter: names for letter, names in flagged.items() if names},
            "rationale": data["rationale"],
        }


class ReleaseForm(forms.Form):
    act = forms.ChoiceField(choices=[("skip", "Skip"), ("release", "Give back")])
    reason = forms.CharField(max_length=200, required=False, label="Reason")


class FailureForm(forms.Form):
    """A failing answer of the task at hand, filed under a class that exists or a new one."""

    answer = forms.ChoiceField(label="Answer")
    failure_class = forms.ModelChoiceField(
        FailureClass.objects.none(), required=False, label="Failure class", empty_label="A new class …"
    )
    name = forms.CharField(
        max_length=120, required=False, label="Name of the new class", help_text="Only when none of the list fits."
    )
    correction = forms.CharField(
        max_length=LONGEST, label="What it should have said", widget=forms.Textarea(attrs={"rows": 4})
    )
    reasoning = forms.CharField(
        max_length=LONGEST, required=False, label="Reasoning", widget=forms.Textarea(attrs={"rows": 3})
    )

    def __init__(self, *args: Any, classes: Any, answers: list[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["failure_class"].queryset = classes
        self.fields["answer"].choices = [(letter, f"Answer {letter.upper()}") for letter in answers]

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if not self.errors and not data.get("failure_class") and not data.get("name"):
            self.add_error("failure_class", "Choose a class, or give a new one a name.")
        return data
