"""Failure classes as objects: what belongs to them, and how each model fares."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils import timezone

from annotation.models.labels import Comparison, Demonstration
from annotation.models.prompts import Completion, Prompt
from studio.models import Guideline, Project
from studio.runs.models import Artifact

User = settings.AUTH_USER_MODEL


class FailureClass(models.Model):
    """A named, recurring way in which models fail."""

    class Severity(models.IntegerChoices):
        MINOR = 1, "Minor"
        MAJOR = 2, "Major"
        CRITICAL = 3, "Critical"

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="failure_classes")
    name = models.CharField(max_length=120)
    description = models.TextField(blank=True)
    severity = models.PositiveSmallIntegerField(choices=Severity.choices, default=Severity.MAJOR)
    owner = models.ForeignKey(
        User, null=True, blank=True, on_delete=models.PROTECT, related_name="owned_failure_classes"
    )
    suggested_prompts = models.JSONField(default=list, blank=True, help_text="Texts that tend to provoke it.")
    merged_into = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.PROTECT, related_name="merged",
        help_text="The class that took over its examples.",
    )  # fmt: skip
    created_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="failure_classes")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["project", "name"], name="failure_class_name_once")]

    def __str__(self) -> str:
        return self.name


class FailureExample(models.Model):
    failure_class = models.ForeignKey(FailureClass, on_delete=models.PROTECT, related_name="examples")
    prompt = models.ForeignKey(Prompt, on_delete=models.PROTECT, related_name="failures")
    completion = models.ForeignKey(Completion, on_delete=models.PROTECT, related_name="failures")
    correction = models.TextField(help_text="What it should have said.")
    reasoning = models.TextField(blank=True)
    author = models.ForeignKey(User, on_delete=models.PROTECT, related_name="failure_examples")
    guideline = models.ForeignKey(
        Guideline, null=True, blank=True, on_delete=models.PROTECT, related_name="failure_examples"
    )
    demonstration = models.OneToOneField(
        Demonstration, null=True, blank=True, on_delete=models.PROTECT, related_name="failure_example",
        help_text="Made of the correction.",
    )  # fmt: skip
    comparison = models.OneToOneField(
        Comparison, null=True, blank=True, on_delete=models.PROTECT, related_name="failure_example",
        help_text="Made of it: the correction above the failing answer.",
    )  # fmt: skip
    created_at = models.DateTimeField(default=timezone.now)
    withdrawn_at = models.DateTimeField(null=True, blank=True)
    withdrawn_by = models.ForeignKey(
        User, null=True, blank=True, on_delete=models.PROTECT, related_name="withdrawn_failures"
    )
    withdrawn_reason = models.CharField(max_length=300, blank=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["failure_class", "completion", "author"], name="failure_filed_once")
        ]

    def __str__(self) -> str:
        return f"Example {self.pk} of {self.failure_class_id}"


class FailureStatus(models.Model):
    """How one model fares on a failure class; the newest row of a model counts, older ones are its history."""

    class State(models.TextChoices):
        OPEN = "open", "Open"
        FIXED = "fixed", "Fixed"
        REGRESSED = "regressed", "Regressed"

    failure_class = models.ForeignKey(FailureClass, on_delete=models.PROTECT, related_name="statuses")
    model = models.ForeignKey(Artifact, on_delete=models.PROTECT, related_name="failure_statuses")
    state = models.CharField(max_length=9, choices=State.choices)
    note = models.CharField(max_length=300, blank=True)
    created_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="failure_statuses")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["failure_class", "model", "-id"])]

    def __str__(self) -> str:
        return f"{self.failure_class_id} {self.state} in {self.model_id}"


class FailureMerge(models.Model):
    """The history of merging: which examples came into a class from which other."""

    source = models.ForeignKey(FailureClass, on_delete=models.PROTECT, related_name="merges_out")
    target = models.ForeignKey(FailureClass, on_delete=models.PROTECT, related_name="merges_in")
    examples = models.JSONField(help_text="Ids of the examples that moved.")
    reason = models.CharField(max_length=300, blank=True)
    merged_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="failure_merges")
    merged_at = models.DateTimeField(default=timezone.now)
    undone_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.source_id} into {self.target_id}"
