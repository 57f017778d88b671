"""Who did what to which label: rows are only ever added."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import models
from django.utils import timezone

from annotation.models.failures import FailureClass, FailureExample
from annotation.models.labels import Comparison, Demonstration
from annotation.models.work import Task
from studio.models import Project

User = settings.AUTH_USER_MODEL


class AppendOnly(models.QuerySet):
    def update(self, **changes: Any) -> int:
        raise TypeError("The journal is only ever added to.")

    def delete(self) -> Any:
        raise TypeError("The journal is only ever added to.")


class JournalEntry(models.Model):
    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="journal")
    actor = models.ForeignKey(
        User, null=True, blank=True, on_delete=models.PROTECT, related_name="journal", help_text="None: the studio."
    )
    act = models.CharField(max_length=40, help_text="submitted, edited, undone, withdrawn, merged, imported, …")
    at = models.DateTimeField(default=timezone.now)
    demonstration = models.ForeignKey(
        Demonstration, null=True, blank=True, on_delete=models.PROTECT, related_name="journal"
    )
    comparison = models.ForeignKey(Comparison, null=True, blank=True, on_delete=models.PROTECT, related_name="journal")
    failure_class = models.ForeignKey(
        FailureClass, null=True, blank=True, on_delete=models.PROTECT, related_name="journal"
    )
    failure_example = models.ForeignKey(
        FailureExample, null=True, blank=True, on_delete=models.PROTECT, related_name="journal"
    )
    task = models.ForeignKey(Task, null=True, blank=True, on_delete=models.PROTECT, related_name="journal")
    person = models.ForeignKey(
        User,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="journal_about",
        help_text="Whom it is about.",
    )
    detail = models.JSONField(default=dict, help_text="Reason, what it was before, counts.")

    objects = AppendOnly.as_manager()

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["project", "-id"])]

    def __str__(self) -> str:
        return f"{self.act} by {self.actor_id}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if self.pk is not None:
            raise TypeError("The journal is only ever added to.")
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError("The journal is only ever added to.")
