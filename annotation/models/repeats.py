"""Labels that people are asked for again: because the guidelines changed, or because a reward model says otherwise."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from annotation.models.labels import Comparison, Demonstration
from annotation.models.work import Task
from studio.models import Guideline
from studio.runs.models import Artifact

User = settings.AUTH_USER_MODEL


class Repeat(models.Model):
    """A label and the task that asks for it again. The label itself stays as it is."""

    task = models.ForeignKey(Task, on_delete=models.PROTECT, related_name="repeats")
    demonstration = models.ForeignKey(
        Demonstration, null=True, blank=True, on_delete=models.PROTECT, related_name="repeats"
    )
    comparison = models.ForeignKey(Comparison, null=True, blank=True, on_delete=models.PROTECT, related_name="repeats")
    guideline = models.ForeignKey(
        Guideline, null=True, blank=True, on_delete=models.PROTECT, related_name="repeats",
        help_text="The version that made it stale.",
    )  # fmt: skip
    reward_model = models.ForeignKey(
        Artifact, null=True, blank=True, on_delete=models.PROTECT, related_name="repeats",
        help_text="The reward model that orders its answers differently.",
    )  # fmt: skip
    created_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="repeats_asked")
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["demonstration", "guideline"], name="demonstration_repeated_once"),
            models.UniqueConstraint(fields=["comparison", "guideline"], name="comparison_repeated_once"),
            models.UniqueConstraint(fields=["comparison", "reward_model"], name="dispute_repeated_once"),
            models.CheckConstraint(
                name="repeat_has_one_label",
                condition=Q(demonstration__isnull=False, comparison=None)
                | Q(demonstration=None, comparison__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.demonstration or self.comparison} again as task {self.task_id}"
