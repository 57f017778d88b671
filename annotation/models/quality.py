"""What a project asks of its judges, and how it knows whether they can be trusted."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils import timezone

from annotation.models.work import Claim, Task
from studio.models import Project

User = settings.AUTH_USER_MODEL


class Shown(models.TextChoices):
    OFF = "off", "Not asked"
    OPTIONAL = "optional", "Optional"
    REQUIRED = "required", "Required"


class Instrument(models.Model):
    """What the screens of a project ask for. A project without a row has the defaults."""

    project = models.OneToOneField(Project, on_delete=models.PROTECT, related_name="instrument")
    ties = models.BooleanField(default=True, help_text="Equal places are allowed.")
    unrankable = models.BooleanField(default=True, help_text="An answer may be marked as not rankable.")
    strength = models.CharField(max_length=8, choices=Shown.choices, default=Shown.OPTIONAL)
    ratings = models.CharField(max_length=8, choices=Shown.choices, default=Shown.OPTIONAL)
    flags = models.CharField(
        max_length=8, choices=[c for c in Shown.choices if c[0] != "required"], default=Shown.OPTIONAL
    )
    rationale = models.CharField(max_length=8, choices=Shown.choices, default=Shown.OPTIONAL)
    rationale_min = models.PositiveIntegerField(default=0, help_text="Characters, where one is given or required.")
    reasoning = models.CharField(max_length=8, choices=Shown.choices, default=Shown.OPTIONAL)
    answer_min = models.PositiveIntegerField(default=1, help_text="Characters of a demonstration, at least.")
    answer_max = models.PositiveIntegerField(default=100_000, help_text="Characters of a demonstration, at most.")
    start_from_draft = models.BooleanField(default=False, help_text="Demonstrations may start from a model's answer.")
    near_duplicate = models.FloatField(default=0.9, help_text="Warn of an answer this similar to another's, 0 to 1.")

    def __str__(self) -> str:
        return f"Instrument of {self.project_id}"


class Standing(models.Model):
    """Where one person stands in one project: working, warned, paused or excluded, and whether they consent."""

    class Status(models.TextChoices):
        ACTIVE = "active", "Active"
        WARNED = "warned", "Warned"
        PAUSED = "paused", "Paused"
        EXCLUDED = "excluded", "Excluded"

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="standings")
    user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="standings")
    status = models.CharField(max_length=8, choices=Status.choices, default=Status.ACTIVE)
    reason = models.CharField(max_length=300, blank=True)
    changed_by = models.ForeignKey(
        User, null=True, blank=True, on_delete=models.PROTECT, related_name="+", help_text="None: a threshold did it."
    )
    changed_at = models.DateTimeField(default=timezone.now)
    consent_withdrawn_at = models.DateTimeField(null=True, blank=True)
    consent_reason = models.CharField(max_length=300, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "user"], name="one_standing_a_project")]

    def __str__(self) -> str:
        return f"{self.user_id} {self.status} in {self.project_id}"


class Gold(models.Model):
    """A task whose right ranking is known. Everybody may meet it once: its overlap grows with each who does."""

    task = models.OneToOneField(Task, on_delete=models.PROTECT, related_name="gold")
    tiers = models.JSONField(help_text="[[completion id, …], …]: what is right; pairs within a tier do not count.")
    explanation = models.TextField(blank=True, help_text="Shown with the feedback. Markdown.")
    is_attention = models.BooleanField(default=False, help_text="Anybody who reads gets it right.")
    created_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="gold_items")
    created_at = models.DateTimeField(auto_now_add=True)
    retired_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"Gold on task {self.task_id}"


class GoldResult(models.Model):
    """How one judgement did on a gold item."""

    gold = models.ForeignKey(Gold, on_delete=models.PROTECT, related_name="results")
    claim = models.OneToOneField(Claim, on_delete=models.PROTECT, related_name="gold_result")
    annotator = models.ForeignKey(User, on_delete=models.PROTECT, related_name="gold_results")
    accuracy = models.FloatField(help_text="Share of the gold's pairs that were ranked the right way, ties counting ½.")
    is_calibration = models.BooleanField(default=False)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["annotator", "-id"])]

    def __str__(self) -> str:
        return f"{self.accuracy:.2f} on gold {self.gold_id}"
