"""What the screens of a project ask for: a lead decides, everybody's next task follows."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.forms.boundfield import BoundField
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from annotation.instrument import instrument_of
from annotation.instrument_changes import change_instrument, problems
from annotation.models import Instrument
from studio.access import ENGINEERS, member_required
from studio.models import Project

LABELS = {
    "ties": "Allow ties",
    "unrankable": "Allow “not rankable”",
    "strength": "How much better",
    "ratings": "Quality of each answer, 1 to 7",
    "flags": "Flags of each answer",
    "rationale": "Why this order",
    "rationale_min": "Least length of a rationale",
    "reasoning": "Reasoning, step by step",
    "answer_min": "Least length of an answer",
    "answer_max": "Greatest length of an answer",
    "start_from_draft": "Let people start from a model’s answer",
    "near_duplicate": "Ask about near-duplicates from this similarity on",
}
HELP = {
    "ties": "Equal places. Without them people have to decide between close answers.",
    "unrankable": "For answers that cannot be judged. They are left out of the pairs.",
    "strength": "Where a ranking has two places: slightly better, better or much better.",
    "ratings": "Required: every ranked answer gets one.",
    "flags": "Hallucination, harmful advice and so on; nothing can be required here.",
    "rationale_min": "Characters, whenever one is written.",
    "reasoning": "Kept beside a demonstration; it is not part of the answer.",
    "start_from_draft": "The newest model answer to the prompt. How far people go from it is kept.",
    "near_duplicate": "From 0 to 1: the share of characters that are the same. 1 asks about exact copies alone.",
}


class InstrumentForm(forms.ModelForm):
    class Meta:
        model = Instrument
        fields = tuple(LABELS)
        labels = LABELS
        help_texts = {name: HELP.get(name, "") for name in LABELS}
        widgets = dict.fromkeys(("strength", "ratings", "flags", "rationale", "reasoning"), forms.RadioSelect) | {
            "near_duplicate": forms.NumberInput(attrs={"step": "0.01", "min": "0", "max": "1"})
        }

    def group(self, *names: str) -> list[BoundField]:
        return [self[name] for name in names]

    @property
    def comparisons(self) -> list[BoundField]:
        return self.group("ties", "unrankable", "strength", "ratings", "flags", "rationale", "rationale_min")

    @property
    def demonstrations(self) -> list[BoundField]:
        return self.group("reasoning", "answer_min", "answer_max", "start_from_draft", "near_duplicate")

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        for name, sentence in problems(data).items():
            self.add_error(name, sentence)
        return data


@require_http_methods(["GET", "POST"])
@member_required(*ENGINEERS)
def instrument(request: HttpRequest, project: Project) -> HttpResponse:
    form = InstrumentForm(request.POST or None, instance=instrument_of(project))
    if request.method == "POST" and form.is_valid():
        change_instrument(project, request.user, form.cleaned_data)
        messages.success(request, "Saved. The next task that anybody opens asks for this.")
        return redirect("annotation:instrument", project.slug)
    context = {"project": project, "form": form}
    return render(request, "annotation/instrument.html", context, status=422 if form.errors else 200)
