"""The forms of a round: what starts one, and the note that closes one."""

from __future__ import annotations

from typing import Any

from django import forms

from evaluation.rounds import RoundConfig
from studio.models import Project, Round
from studio.runs.contract import ConfigError, options
from studio.runs.forms import FIELD, FieldGroup, artifact_label, field_groups, option_field
from studio.runs.models import Artifact


class RoundForm(forms.Form):
    """One field "config-<name>" for each setting of a round, filled in with those of the round before."""

    use_required_attribute = False

    def __init__(self, project: Project, *args: Any, before: Round | None = None, **kwargs: Any):
        values = {o.name: o.default for o in options(RoundConfig)} | (before.config if before else {})
        initial = {f"config-{name}": value for name, value in values.items()}
        super().__init__(*args, initial=initial, label_suffix="", **kwargs)
        for o in options(RoundConfig):
            self.fields[f"config-{o.name}"] = option_field(o)
        models = Artifact.objects.filter(project=project, kind=Artifact.Kind.MODEL).exclude(pk=project.policy_id)
        also = self.fields["config-review_also"]
        self.fields["config-review_also"] = forms.ChoiceField(
            label=also.label,
            choices=[("", "—"), *((str(model.pk), artifact_label(model)) for model in models)],
            required=False,
            help_text="One more model beside the old and the new policy, for example the untuned base.",
            template_name=FIELD,
            error_messages={"invalid_choice": "Also review: choose a model of this project."},
        )

    @property
    def groups(self) -> list[FieldGroup]:
        return field_groups(self, RoundConfig)

    def values(self) -> dict[str, Any]:
        return {o.name: self.cleaned_data[f"config-{o.name}"] for o in options(RoundConfig)}

    def add_config_errors(self, error: ConfigError) -> None:
        """Put each sentence beside its field."""
        for name, sentence in error.errors.items():
            field = f"config-{name}"
            self.add_error(field if field in self.fields else None, sentence)


class CloseForm(forms.Form):
    note = forms.CharField(
        label="Why",
        max_length=2000,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text="One sentence for those who look back, for example what the review showed.",
    )
