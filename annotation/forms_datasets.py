"""Forms of frozen datasets."""

from __future__ import annotations

from django import forms

from annotation.aggregation import METHODS, PRIOR


class FreezeForm(forms.Form):
    KINDS = [("demonstrations", "Demonstrations"), ("comparisons", "Comparisons"), ("prompts", "Prompts")]

    kind = forms.ChoiceField(
        choices=KINDS, widget=forms.RadioSelect, initial="demonstrations", label="From",
        help_text="Demonstrations are for instruction tuning, comparisons for reward models, prompts for sampling.",
    )  # fmt: skip
    name = forms.CharField(max_length=160, required=False, help_text="Left empty, it is called by what it holds.")
    test_fraction = forms.FloatField(
        label="Test fraction", initial=0.1, min_value=0, max_value=0.5,
        help_text="Share of the conversations in the dataset's own test split. Prompts keep the split they have.",
        widget=forms.NumberInput(attrs={"step": "0.05"}),
    )  # fmt: skip
    aggregation = forms.ChoiceField(
        choices=list(METHODS.items()), required=False, initial="every", label="Several rankings of one prompt",
        help_text="As they are, people who disagree give opposite pairs; the others merge what people said into one "
        "row a pair.",
    )  # fmt: skip
    prior = forms.FloatField(
        required=False, initial=PRIOR, min_value=0.01, max_value=100, label="Prior of the scores",
        help_text="For Bradley-Terry and Plackett-Luce: how strongly scores are drawn together. Without one, an answer "
        "that never loses would be infinitely good. Of two answers, 0.25 is half a win more for each.",
        widget=forms.NumberInput(attrs={"step": "0.05"}),
    )  # fmt: skip
    margin = forms.BooleanField(
        required=False, label="Give each pair a margin",
        help_text="0 to 1, from the lead in votes, the scores, or the strength that was given. A reward model then "
        "keeps answers further apart where people were surer.",
    )  # fmt: skip

    COMPARISONS_ONLY = ("aggregation", "prior", "margin")

    def clean_aggregation(self) -> str:
        return self.cleaned_data["aggregation"] or "every"

    def clean_prior(self) -> float:
        return self.cleaned_data["prior"] or PRIOR
