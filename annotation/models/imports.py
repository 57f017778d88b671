"""Whole files brought in: their rows stay invisible until one UPDATE of the batch shows them all."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q

from studio.models import Project

User = settings.AUTH_USER_MODEL


class ImportBatch(models.Model):
    class Status(models.TextChoices):
        PREVIEW = "preview", "To be confirmed"
        WAITING = "waiting", "Waiting"
        STAGING = "staging", "Reading"
        VISIBLE = "visible", "Imported"
        FAILED = "failed", "Failed"
        CANCELLED = "cancelled", "Cancelled"
        UNDOING = "undoing", "Being undone"
        UNDONE = "undone", "Undone"

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="import_batches")
    format = models.CharField(max_length=40)
    name = models.CharField(max_length=200, help_text="The file's name, or what else the rows came from.")
    path = models.CharField(max_length=500, blank=True, help_text="Where the uploaded file is kept.")
    sha256 = models.CharField(max_length=64, help_text="Of the content: the same content is imported once.")
    options = models.JSONField(default=dict, help_text="Columns, split, cluster and what else the form asked for.")
    status = models.CharField(max_length=9, choices=Status.choices, default=Status.WAITING)
    rows_done = models.PositiveIntegerField(default=0)
    rows_total = models.PositiveIntegerField(null=True, blank=True)
    counts = models.JSONField(default=dict, help_text="What it added and what was known: prompts, comparisons, …")
    error = models.TextField(blank=True)
    heartbeat_at = models.DateTimeField(null=True, blank=True)
    created_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="import_batches")
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["project", "sha256"])]
        constraints = [
            models.UniqueConstraint(
                fields=["project"], condition=Q(status__in=["staging", "undoing"]), name="one_import_at_a_time"
            )
        ]

    def __str__(self) -> str:
        return self.name


class VisibleManager(models.Manager):
    """Rows of no batch, or of one that is imported. What is being staged or undone is seen through `everything`."""

    def get_queryset(self) -> models.QuerySet[Any]:
        # Said as what is hidden: of "no batch, or a visible one" SQLite would make a walk through the index of batches,
        # that is through the whole table, in front of every narrower condition.
        hidden = ImportBatch.objects.exclude(status=ImportBatch.Status.VISIBLE).order_by().values("pk")
        return super().get_queryset().exclude(batch__in=hidden)
