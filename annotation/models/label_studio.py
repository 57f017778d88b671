"""A queue mirrored in a Label Studio project, and what came back from it."""

from __future__ import annotations

from django.conf import settings
from django.db import models

from annotation.models.labels import Comparison, Demonstration
from annotation.models.work import Claim, Queue, Task
from studio.models import Guideline, Project

User = settings.AUTH_USER_MODEL


class LabelStudioLink(models.Model):
    """The server and its key come from the environment; the row says which project there belongs to which queue."""

    class Act(models.TextChoices):
        PUSH = "push", "Sending tasks"
        PULL = "pull", "Fetching annotations"

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="label_studio_links")
    queue = models.OneToOneField(Queue, on_delete=models.PROTECT, related_name="label_studio_link")
    server = models.CharField(
        max_length=200, blank=True, help_text="Whose project it is: its ids mean nothing to another server."
    )
    remote_project = models.PositiveIntegerField(null=True, blank=True)
    is_active = models.BooleanField(default=True, help_text="While it is, the queue's free places are away.")
    title = models.CharField(max_length=120)
    guideline = models.ForeignKey(
        Guideline, null=True, blank=True, on_delete=models.PROTECT, related_name="+",
        help_text="The version that its people are shown.",
    )  # fmt: skip
    pulled_until = models.DateTimeField(null=True, blank=True, help_text="Newest update that has been pulled.")
    last_report = models.JSONField(default=dict, help_text="Counts and complaints of the last push or pull.")
    act = models.CharField(max_length=4, choices=Act.choices, blank=True, help_text="What goes on; one at a time.")
    heartbeat_at = models.DateTimeField(null=True, blank=True, help_text="Of what goes on.")
    done = models.PositiveIntegerField(default=0)
    total = models.PositiveIntegerField(null=True, blank=True)
    created_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="label_studio_links")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return self.title


class LabelStudioTask(models.Model):
    link = models.ForeignKey(LabelStudioLink, on_delete=models.PROTECT, related_name="tasks")
    task = models.ForeignKey(Task, on_delete=models.PROTECT, related_name="label_studio_tasks")
    remote_task = models.PositiveIntegerField(null=True, blank=True)
    shown_order = models.JSONField(default=list, help_text="Completion ids in the order of its items.")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["link", "task"], name="label_studio_task_once")]

    def __str__(self) -> str:
        return f"{self.remote_task} for {self.task_id}"


class LabelStudioAnnotation(models.Model):
    """One annotation there; its latest content became (or edited) one label here, or a skip."""

    link = models.ForeignKey(LabelStudioLink, on_delete=models.PROTECT, related_name="annotations")
    task = models.ForeignKey(LabelStudioTask, on_delete=models.PROTECT, related_name="annotations")
    remote_annotation = models.PositiveIntegerField()
    remote_updated_at = models.DateTimeField()
    digest = models.CharField(max_length=64)
    claim = models.ForeignKey(Claim, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    comparison = models.ForeignKey(Comparison, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    demonstration = models.ForeignKey(Demonstration, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    refused = models.CharField(max_length=500, blank=True, help_text="Why its latest content was not taken.")
    deleted = models.BooleanField(default=False, help_text="It is not there any more.")
    raw = models.JSONField(help_text="As it came: lead_time, was_cancelled, result.")
    earlier = models.JSONField(default=list, help_text="As it came before it was changed there, oldest first.")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["link", "remote_annotation"], name="label_studio_annotation_once")
        ]

    def __str__(self) -> str:
        return f"Annotation {self.remote_annotation}"
