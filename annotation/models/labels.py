"""What people judged and wrote."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from annotation.models.imports import ImportBatch, VisibleManager
from annotation.models.prompts import Completion, Prompt
from annotation.models.work import Claim, Review, Task
from studio.models import Guideline, Round
from studio.runs.models import Artifact, Run

User = settings.AUTH_USER_MODEL


def second_look_index(name: str) -> models.Index:
    """The few labels that want a second look, so that nobody reads all the others to find them."""
    return models.Index(fields=["-created_at"], name=name, condition=~Q(second_look=""))


class Label(models.Model):
    """What demonstrations and comparisons share."""

    prompt = models.ForeignKey(Prompt, on_delete=models.PROTECT, related_name="%(class)ss")
    claim = models.OneToOneField(Claim, null=True, blank=True, on_delete=models.PROTECT, related_name="%(class)s")
    annotator = models.ForeignKey(User, on_delete=models.PROTECT, related_name="%(class)ss")
    round = models.ForeignKey(Round, null=True, blank=True, on_delete=models.PROTECT, related_name="%(class)ss")
    guideline = models.ForeignKey(Guideline, null=True, blank=True, on_delete=models.PROTECT, related_name="%(class)ss")
    surplus = models.BooleanField(default=False, help_text="One more than the task asked for; kept, but not counted.")
    seconds = models.FloatField(null=True, blank=True, help_text="From claim to submission.")
    source = models.CharField(max_length=200, blank=True, help_text="Where it was imported from.")
    batch = models.ForeignKey(ImportBatch, null=True, blank=True, on_delete=models.PROTECT, related_name="%(class)ss")
    row_key = models.CharField(max_length=64, blank=True, help_text="sha256 of the imported row: once a prompt.")
    revision = models.PositiveSmallIntegerField(default=1, help_text="Goes up with each edit; Revision keeps the rest.")
    second_look = models.CharField(max_length=300, blank=True, help_text="Why its maker wants a second look at it.")
    second_look_done = models.BooleanField(default=False)
    created_at = models.DateTimeField(default=timezone.now)
    withdrawn_at = models.DateTimeField(null=True, blank=True)
    withdrawn_by = models.ForeignKey(
        User, null=True, blank=True, on_delete=models.PROTECT, related_name="withdrawn_%(class)ss"
    )
    withdrawn_reason = models.CharField(max_length=300, blank=True)

    objects = VisibleManager()
    everything = models.Manager()  # noqa: DJ012

    class Meta:
        abstract = True
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["prompt", "row_key"], condition=~Q(row_key=""), name="%(class)s_row_once")
        ]

    @property
    def is_withdrawn(self) -> bool:
        return self.withdrawn_at is not None


class Demonstration(Label):
    """An ideal answer and the reasoning behind it."""

    completion = models.OneToOneField(Completion, on_delete=models.PROTECT, related_name="demonstration")
    reasoning = models.TextField(blank=True)
    draft_of = models.ForeignKey(
        Completion, null=True, blank=True, on_delete=models.PROTECT, related_name="drafted_demonstrations",
        help_text="The model's answer that it was written from.",
    )  # fmt: skip
    edit_distance = models.PositiveIntegerField(
        null=True, blank=True, help_text="Levenshtein distance from that answer, in characters."
    )

    class Meta(Label.Meta):
        abstract = False
        indexes = [second_look_index("demonstration_second_look")]

    def __str__(self) -> str:
        return f"Demonstration {self.pk}"


class Strength(models.IntegerChoices):
    SLIGHT = 1, "Slightly better"
    CLEAR = 2, "Better"
    MUCH = 3, "Much better"


class Comparison(Label):
    """A ranking of the completions of one prompt: tiers of equals, best first."""

    task = models.ForeignKey(Task, null=True, blank=True, on_delete=models.PROTECT, related_name="comparisons")
    review = models.ForeignKey(Review, null=True, blank=True, on_delete=models.PROTECT, related_name="comparisons")
    tiers = models.JSONField(help_text="[[completion id, …], …], best tier first.")
    unrankable = models.JSONField(default=list, help_text="Ids of completions that could not be ranked.")
    shown_order = models.JSONField(help_text="Completion ids in the order of the screen.")
    completions = models.ManyToManyField(Completion, related_name="comparisons")
    strength = models.PositiveSmallIntegerField(null=True, blank=True, choices=Strength.choices)
    ratings = models.JSONField(default=dict, help_text='{"<completion id>": 1…7}')
    flags = models.JSONField(default=dict, help_text='{"<completion id>": ["hallucination", …]}')
    rationale = models.TextField(blank=True)
    unchanged = models.BooleanField(
        null=True, blank=True, help_text="The order is the one they were shown in, and was confirmed."
    )

    class Meta(Label.Meta):
        abstract = False
        indexes = [models.Index(fields=["review", "prompt"]), second_look_index("comparison_second_look")]

    def __str__(self) -> str:
        return f"Comparison {self.pk}"


class Revision(models.Model):
    """What a label said before an edit. Rows are only ever added."""

    demonstration = models.ForeignKey(
        Demonstration, null=True, blank=True, on_delete=models.PROTECT, related_name="revisions"
    )
    comparison = models.ForeignKey(
        Comparison, null=True, blank=True, on_delete=models.PROTECT, related_name="revisions"
    )
    number = models.PositiveSmallIntegerField(help_text="The label's revision that this was.")
    content = models.JSONField(help_text="text, reasoning; or tiers, unrankable, strength, ratings, flags, rationale.")
    edited_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="revisions")
    edited_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["number"]
        constraints = [
            models.UniqueConstraint(fields=["demonstration", "number"], name="demonstration_revision_once"),
            models.UniqueConstraint(fields=["comparison", "number"], name="comparison_revision_once"),
        ]

    def __str__(self) -> str:
        return f"Revision {self.number} of {self.demonstration or self.comparison}"


class RewardScore(models.Model):
    """What a reward model gives a completion."""

    completion = models.ForeignKey(Completion, on_delete=models.PROTECT, related_name="reward_scores")
    model = models.ForeignKey(Artifact, on_delete=models.PROTECT, related_name="scores_given")
    run = models.ForeignKey(Run, null=True, blank=True, on_delete=models.PROTECT, related_name="scores")
    value = models.FloatField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["model", "completion"], name="reward_score_once")]

    def __str__(self) -> str:
        return f"{self.value:.2f} by {self.model_id}"
