"""The prompt and how to sample its answer."""

from __future__ import annotations

from django import forms

from studio.serving.client import Sampling


class PromptForm(forms.Form):
    prompt = forms.CharField(
        max_length=50_000,
        widget=forms.Textarea(attrs={"rows": 5, "placeholder": "Ask what your people would ask.", "data-key": "w"}),
    )
    temperature = forms.FloatField(
        min_value=0, max_value=5, initial=Sampling.temperature, help_text="0 always takes the likeliest token."
    )
    top_p = forms.FloatField(min_value=0.01, max_value=1, initial=Sampling.top_p, label="Top-p")
    max_tokens = forms.IntegerField(
        min_value=1, max_value=8192, initial=Sampling.max_tokens, label="Longest answer", help_text="In tokens."
    )
    seed = forms.IntegerField(
        min_value=0, max_value=2**31 - 1, required=False, help_text="The same seed gives the same answer."
    )

    def sampling(self) -> Sampling:
        names = ("temperature", "top_p", "max_tokens", "seed")
        return Sampling(**{name: self.cleaned_data[name] for name in names})

    def messages(self) -> list[dict[str, str]]:
        return [{"role": "user", "content": self.cleaned_data["prompt"]}]
