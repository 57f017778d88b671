"""Forms of those who prepare annotation and use what it yields."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

from django import forms
from django.db.models import Count, Q, QuerySet, TextField
from django.db.models.functions import Cast

from annotation.models import Kind, Prompt, Queue, Split
from annotation.tasks import LETTERS
from studio.models import Project, User
from studio.runs.models import Artifact

SPLITS = [("", "Both splits"), *Split.choices]
Made = TypeVar("Made")
NEVER_TRAIN = "Held-out prompts never train."


def make_of(form: forms.Form, make: Callable[..., Made]) -> Made | None:
    """What `make` makes of a sent form's data; None when there is none, its refusal is on the form then."""
    if not form.is_valid():
        return None
    try:
        return make(**form.cleaned_data)
    except ValueError as error:
        form.add_error(None, str(error))
        return None


class PromptFilterForm(forms.Form):
    """What the list of prompts shows; bad values count as not given."""

    q = forms.CharField(required=False, label="Text", max_length=200)
    cluster = forms.ChoiceField(required=False)
    split = forms.ChoiceField(required=False, choices=SPLITS)

    def __init__(self, *args: Any, project: Project, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.project = project
        self.fields["cluster"].choices = cluster_choices(project)

    def prompts(self) -> QuerySet[Prompt]:
        self.is_valid()
        return matching_prompts(self.project, self.cleaned_data)


def cluster_choices(project: Project) -> list[tuple[str, str]]:
    found = project.prompts.exclude(cluster="").order_by("cluster").values_list("cluster", flat=True).distinct()
    return [("", "All clusters"), *((cluster, cluster) for cluster in found)]


def matching_prompts(project: Project, data: dict[str, Any]) -> QuerySet[Prompt]:
    """The project's prompts in this split and cluster, and with this text anywhere in their messages."""
    found = Prompt.objects.filter(project=project)
    if data.get("split"):
        found = found.filter(split=data["split"])
    if data.get("cluster"):
        found = found.filter(cluster=data["cluster"])
    return containing(found, "messages", data["q"]) if data.get("q") else found


def containing(found: QuerySet[Any], messages: str, text: str) -> QuerySet[Any]:
    """Rows whose conversation (at `messages`) has this text anywhere. Databases keep it as JSON, escaped or not."""
    found = found.alias(written=Cast(messages, TextField()))
    return found.filter(Q(written__icontains=text) | Q(written__icontains=json.dumps(text)[1:-1]))


def _small_number(label: str, initial: int, maximum: int, help_text: str = "", minimum: int = 1) -> forms.IntegerField:
    return forms.IntegerField(label=label, initial=initial, min_value=minimum, max_value=maximum, help_text=help_text)


class PersonField(forms.ModelChoiceField):
    """One of a project's members, by the name that is shown; the form sets `queryset` to `members_of(project)`."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(User.objects.none(), required=False, **kwargs)

    def label_from_instance(self, user: User) -> str:
        return user.display_name


class PeopleField(forms.ModelMultipleChoiceField):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(User.objects.none(), required=False, widget=forms.CheckboxSelectMultiple, **kwargs)

    def label_from_instance(self, user: User) -> str:
        return user.display_name


def members_of(project: Project) -> QuerySet[User]:
    return User.objects.filter(projects=project).order_by("username")


class QueueWorkForm(forms.Form):
    """Which queue work goes into, and for whom it is."""

    kind: Kind

    queue = forms.ModelChoiceField(
        Queue.objects.none(), required=False, empty_label="The usual one", help_text="Leads make others under Queues."
    )
    overlap = _small_number("People a task", 1, 100, "More than one shows where people disagree.")
    priority = _small_number("Priority", 0, 1000, "Higher comes first.", minimum=-1000)
    skill = forms.CharField(
        max_length=40, required=False, help_text="Only for members with this tag. Left empty: for everybody."
    )
    assignee = PersonField(empty_label="Nobody in particular", label="Keep a place for")

    def __init__(self, *args: Any, project: Project, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["queue"].queryset = project.queues.filter(kind=self.kind, is_open=True)
        self.fields["assignee"].queryset = members_of(project)

    def shared(self) -> dict[str, Any]:
        """What `add_tasks` takes for all tasks."""
        return {name: self.cleaned_data[name] for name in ("overlap", "priority", "skill", "assignee")}


class QueueDemonstrationsForm(QueueWorkForm):
    kind = Kind.DEMONSTRATE

    split = forms.ChoiceField(choices=SPLITS, initial=Split.TRAIN, required=False, help_text=NEVER_TRAIN)
    cluster = forms.ChoiceField(required=False)
    q = forms.CharField(required=False, label="Text", max_length=200, help_text="Only prompts that contain it.")
    fresh = forms.BooleanField(
        required=False, initial=True, label="Only prompts that nobody has demonstrated or been asked to"
    )
    limit = _small_number("How many prompts", 50, 10_000)

    def __init__(self, *args: Any, project: Project, **kwargs: Any) -> None:
        super().__init__(*args, project=project, **kwargs)
        self.fields["cluster"].choices = cluster_choices(project)


class QueueRankingsForm(QueueWorkForm):
    kind = Kind.RANK

    artifact = forms.ModelChoiceField(
        Artifact.objects.none(), label="Completions", help_text="What a sampling run drew. Equal answers count once.",
        empty_label="Choose …",
    )  # fmt: skip
    answers = _small_number("Answers a task", 2, LETTERS, "Ranking four takes less time than six pairs.", minimum=2)
    per_prompt = _small_number("Tasks a prompt", 1, 100, "Each takes other answers.")
    model = forms.ModelChoiceField(
        Artifact.objects.none(), required=False, empty_label="All models", label="Only answers of"
    )
    temperature = forms.FloatField(
        required=False, min_value=0, max_value=10, label="Only at temperature", help_text="Left empty: at any.",
        widget=forms.NumberInput(attrs={"step": "0.1"}),
    )  # fmt: skip
    split = forms.ChoiceField(choices=SPLITS, initial=Split.TRAIN, required=False, help_text=NEVER_TRAIN)

    def __init__(self, *args: Any, project: Project, **kwargs: Any) -> None:
        super().__init__(*args, project=project, **kwargs)
        models = Artifact.objects.filter(project=project, kind=Artifact.Kind.MODEL).order_by("-id")
        self.fields["model"].queryset = models
        self.fields["model"].label_from_instance = lambda m: f"{m.name} (#{m.pk})"
        kind = Artifact.Kind.COMPLETIONS
        self.fields["artifact"].queryset = Artifact.objects.filter(project=project, kind=kind).order_by("-id")


class ReviewForm(forms.Form):
    name = forms.CharField(max_length=120, help_text="Shown to those who judge, so it must not name the models.")
    models = forms.ModelMultipleChoiceField(
        Artifact.objects.none(), widget=forms.CheckboxSelectMultiple, label="Models",
        help_text="Two or more. Each prompt on which all of them have an answer becomes a task.",
        error_messages={"required": "Choose two or more models to compare."},
    )  # fmt: skip
    overlap = _small_number("People a prompt", 1, 100, "How many judge each prompt.")
    per_prompt = _small_number("Draws a prompt", 1, 100, "Each takes the models' next completions.")

    def __init__(self, *args: Any, project: Project, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        on_held_out = Q(answers__prompt__split=Split.TEST, answers__prompt__project=project)
        answered = Count("answers__prompt", filter=on_held_out, distinct=True)
        found = Artifact.objects.filter(project=project, kind=Artifact.Kind.MODEL).annotate(answered=answered)
        self.fields["models"].queryset = found.filter(answered__gt=0).order_by("id")
        self.fields["models"].label_from_instance = lambda m: (
            f"{m.name} (#{m.pk}), answers to {m.answered} held-out prompt{'' if m.answered == 1 else 's'}"
        )

    def clean_models(self) -> Any:
        chosen = self.cleaned_data["models"]
        if len(chosen) < 2:
            raise forms.ValidationError("Choose two or more models to compare.")
        return chosen
