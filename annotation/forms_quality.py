"""Forms of the Quality room: making a gold item."""

from __future__ import annotations

from typing import Any

from django import forms

from annotation.comparisons import Tiers
from annotation.gold_items import make_gold
from annotation.models import Completion, Gold, Kind, Task
from studio.models import Project, User

ANYWHERE = "x"


class GoldForm(forms.Form):
    """The right place of each answer of a judged task, and what is said about it."""

    queue = forms.ModelChoiceField(queryset=None, help_text="Where people meet it.")
    explanation = forms.CharField(
        required=False,
        max_length=10_000,
        strip=True,
        widget=forms.Textarea(attrs={"rows": 5, "class": "code"}),
        help_text="Why this order is right, in Markdown. Shown with the feedback, where the queue gives any.",
    )
    is_attention = forms.BooleanField(
        required=False,
        label="Attention check",
        help_text="Anybody who reads gets it right: who does not, was not looking.",
    )

    def __init__(self, *args: Any, project: Project, task: Task, tiers: Tiers, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.task = task
        self.completions: list[Completion] = [
            offered.completion for offered in task.offered.select_related("completion").order_by("position")
        ]
        queues = project.queues.exclude(kind=Kind.DEMONSTRATE)
        self.fields["queue"].queryset = queues
        home = task.adjudicates.queue if task.adjudicates else task.queue
        self.fields["queue"].initial = home if home.kind != Kind.DEMONSTRATE else None
        places = {pk: str(number) for number, tier in enumerate(tiers, 1) for pk in tier}
        count = len(self.completions)
        choices = [*((str(n), f"Place {n}") for n in range(1, count + 1)), (ANYWHERE, "Anywhere: does not count")]
        for position, completion in enumerate(self.completions):
            self.fields[f"place_{completion.pk}"] = forms.ChoiceField(
                choices=choices,
                initial=places.get(completion.pk, ANYWHERE),
                label=f"Right place of answer {chr(ord('A') + position)}",
            )

    def answers(self) -> list[dict[str, Any]]:
        """For the template: each answer with its letter and its field."""
        return [
            {"letter": chr(ord("A") + i), "completion": c, "field": self[f"place_{c.pk}"]}
            for i, c in enumerate(self.completions)
        ]

    def tiers(self) -> list[list[int]]:
        by_place: dict[int, list[int]] = {}
        for completion in self.completions:
            place = self.cleaned_data[f"place_{completion.pk}"]
            if place != ANYWHERE:
                by_place.setdefault(int(place), []).append(completion.pk)
        return [by_place[place] for place in sorted(by_place)]

    def make(self, by: User) -> Gold | None:
        """The item; None when it cannot be made, with the reason among the form's errors."""
        data = self.cleaned_data
        try:
            return make_gold(
                self.task, self.tiers(), by,
                explanation=data["explanation"], is_attention=data["is_attention"], queue=data["queue"],
            )  # fmt: skip
        except ValueError as error:
            self.add_error(None, str(error))
            return None
