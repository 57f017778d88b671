"""What is handed in for a claim: a demonstration or a ranking, as plain forms that also work without JavaScript."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django import forms
from django.forms.boundfield import BoundField

from annotation.models import Completion, Instrument, Shown, Skip, Strength
from annotation.near_duplicates import Twin
from annotation.submit import FLAGS, LONGEST, RATINGS, is_unchanged

UNRANKABLE = "x"
CHANCE = 3  # answers from which on an order that nobody touched is told from one that was meant


class LongText(forms.CharField):
    """Text of several lines, with line feeds alone: browsers add carriage returns on one way, not on the other."""

    widget = forms.Textarea

    def to_python(self, value: Any) -> str:
        return super().to_python(value).replace("\r\n", "\n")


class DraftedForm(forms.Form):
    """A form whose content can also be a draft: {"fields": {name: [value, …]}}, as the page's script saves it."""

    key = forms.CharField(max_length=100, required=False, widget=forms.HiddenInput, label="Idempotency key")
    second_look = forms.CharField(
        max_length=300, required=False, label="Needs a second look",
        widget=forms.TextInput(attrs={"autocomplete": "off", "placeholder": "What should somebody look at again?"}),
    )  # fmt: skip
    # Set by the button that answers a question of the form; the value says which question.
    confirmed = forms.CharField(max_length=20, required=False, widget=forms.HiddenInput)

    asks = ""  # the question that the form came back with

    def __init__(self, *args: Any, instrument: Instrument, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.instrument = instrument

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

    def ask(self, question: str, sentence: str) -> None:
        """Send the form back with a question, unless it was answered with yes."""
        if self.cleaned_data.get("confirmed") != question:
            self.asks = question
            self.add_error(None, sentence)

    def show(self, name: str, shown: str) -> None:
        """Drop a field that the project does not ask for; require one that it does."""
        if shown == Shown.OFF:
            del self.fields[name]
        else:
            self.fields[name].required = shown == Shown.REQUIRED


class DemonstrationForm(DraftedForm):
    text = LongText(
        max_length=LONGEST, strip=False, label="Your answer",
        widget=forms.Textarea(attrs={"rows": 14, "class": "code", "spellcheck": "true", "data-key": "e"}),
        help_text="The answer you would want to get. Markdown.",
    )  # fmt: skip
    reasoning = LongText(
        max_length=LONGEST, strip=False, required=False, label="Reasoning",
        widget=forms.Textarea(attrs={"rows": 5, "spellcheck": "true"}),
        help_text="Think aloud: how you got there, step by step. Kept beside the answer; it is not part of it.",
    )  # fmt: skip
    twin: Twin | None = None  # a demonstration that is nearly the same
    draft_of = forms.IntegerField(required=False, min_value=1, max_value=2**63 - 1, widget=forms.HiddenInput)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.show("reasoning", self.instrument.reasoning)

    def answer(self) -> dict[str, Any]:
        """Arguments for `submit_demonstration`, without the key."""
        data = self.cleaned_data
        return {
            "text": data["text"], "reasoning": data.get("reasoning", ""), "draft_of": data["draft_of"],
            "second_look": data["second_look"],
        }  # fmt: skip


@dataclass(frozen=True)
class AnswerCard:
    """One answer on the screen with its controls; those that the project does not ask for are None."""

    letter: str
    completion: Completion
    rank: BoundField
    rating: BoundField | None
    flags: BoundField | None

    @property
    def is_cut(self) -> bool:
        return self.completion.finish_reason == "length"

    @property
    def has_details(self) -> bool:
        """Whether the details should stand open: something is said there, or has to be."""
        rating, flags = self.rating, self.flags
        return bool((rating and (rating.value() or rating.field.required)) or (flags and flags.value()))


class RankingForm(DraftedForm):
    """A place for each answer (equal places are ties), and what else there is to say about them."""

    strength = forms.TypedChoiceField(
        choices=Strength.choices, coerce=int, empty_value=None, required=False, widget=forms.RadioSelect,
        label="How much better?",
    )  # fmt: skip
    rationale = LongText(
        max_length=LONGEST, strip=False, required=False, label="Why this order?",
        widget=forms.Textarea(attrs={"rows": 3, "spellcheck": "true", "data-key": "w"}),
    )  # fmt: skip

    def __init__(self, *args: Any, answers: dict[str, Completion], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.answers = answers
        asked = self.instrument
        if asked.strength == Shown.OFF:
            del self.fields["strength"]
        self.show("rationale", asked.rationale)
        places = [(str(n), str(n)) for n in range(1, len(answers) + 1)]
        if asked.unrankable:
            places.append((UNRANKABLE, "Not rankable"))
        for letter in answers:
            self._add_controls(letter, places)

    def _add_controls(self, letter: str, places: list[tuple[str, str]]) -> None:
        name = letter.upper()
        remedy = ", or mark it as not rankable" if self.instrument.unrankable else ""
        self.fields[f"rank_{letter}"] = forms.ChoiceField(
            choices=places, widget=forms.RadioSelect, label=f"Place of answer {name}",
            error_messages={"required": f"Give answer {name} a place{remedy}."},
        )  # fmt: skip
        self.fields[f"rating_{letter}"] = forms.TypedChoiceField(
            choices=[(str(n), str(n)) for n in RATINGS], coerce=int, empty_value=None, required=False,
            widget=forms.RadioSelect, label=f"Quality of answer {name}",
        )  # fmt: skip
        self.fields[f"flags_{letter}"] = forms.MultipleChoiceField(
            choices=list(FLAGS.items()), required=False, widget=forms.CheckboxSelectMultiple,
            label=f"Flags of answer {name}",
        )  # fmt: skip
        if self.instrument.ratings == Shown.OFF:
            del self.fields[f"rating_{letter}"]
        if self.instrument.flags == Shown.OFF:
            del self.fields[f"flags_{letter}"]

    @property
    def cards(self) -> list[AnswerCard]:
        return [
            AnswerCard(
                letter,
                completion,
                self[f"rank_{letter}"],
                *(self[name] if name in self.fields else None for name in (f"rating_{letter}", f"flags_{letter}")),
            )
            for letter, completion in self.answers.items()
        ]

    @property
    def scale(self) -> list[dict[str, Any]]:
        """For two answers: place and strength in one step, from "A much better" to "B much better"."""
        if len(self.answers) != 2:
            return []
        grades = [("much better", 3), ("better", 2), ("slightly better", 1)]
        if "strength" not in self.fields:
            grades = [("better", "")]
        left = [{"label": f"A {words}", "places": "1,2", "strength": strength} for words, strength in grades]
        right = [{"label": f"B {words}", "places": "2,1", "strength": strength} for words, strength in grades[::-1]]
        tie = [{"label": "Tie", "places": "1,1", "strength": ""}] if self.instrument.ties else []
        return left + tie + right

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if not self.errors and len(self.answers) >= CHANCE:
            tiers = [[self.answers[letter].pk for letter in tier] for tier in self.answer()["tiers"]]
            if is_unchanged(tiers, [completion.pk for completion in self.answers.values()]):
                self.ask("order", "This is the order in which you were shown the answers. Is it your ranking?")
        return data

    def answer(self) -> dict[str, Any]:
        """Arguments for `submit_ranking`, without the key. Strength stands between two tiers only."""
        data = self.cleaned_data
        by_place: dict[str, list[str]] = {}
        for letter in self.answers:
            by_place.setdefault(data[f"rank_{letter}"], []).append(letter)
        unrankable = by_place.pop(UNRANKABLE, [])
        tiers = [by_place[place] for place in sorted(by_place, key=int)]
        rated = {letter: data.get(f"rating_{letter}") for letter in self.answers}
        flagged = {letter: data.get(f"flags_{letter}") for letter in self.answers}
        return {
            "tiers": tiers,
            "unrankable": unrankable,
            "strength": data.get("strength") if len(tiers) == 2 else None,
            "ratings": {letter: rating for letter, rating in rated.items() if rating},
            "flags": {letter: names for letter, names in flagged.items() if names},
            "rationale": data.get("rationale", ""),
            "second_look": data["second_look"],
        }


WorkForm = DemonstrationForm | RankingForm


class SkipForm(forms.Form):
    """To whom the task goes next, and why."""

    skip = forms.ChoiceField(choices=Skip.choices)
    reason = forms.CharField(max_length=200, required=False, label="Reason")

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if data.get("skip") == Skip.UNUSABLE and not data.get("reason"):
            self.add_error("reason", "Say why nobody should judge it, so that somebody can mend it.")
        return data
