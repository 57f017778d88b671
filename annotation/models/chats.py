"""Probing: chats with one or two models, free or to look for one failure class."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils import timezone

from annotation.models.failures import FailureClass
from annotation.models.prompts import Completion, Prompt
from studio.models import Project
from studio.runs.models import Artifact

User = settings.AUTH_USER_MODEL


class Probe(models.Model):
    """Work for an SME: find, correct and explain examples of one failure class in one model."""

    class Status(models.TextChoices):
        OPEN = "open", "Open"
        DONE = "done", "Done"
        WITHDRAWN = "withdrawn", "Withdrawn"

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="probes")
    failure_class = models.ForeignKey(FailureClass, on_delete=models.PROTECT, related_name="probes")
    model = models.ForeignKey(Artifact, on_delete=models.PROTECT, related_name="probes")
    wanted = models.PositiveSmallIntegerField(default=3, help_text="Examples to find.")
    instructions = models.TextField(blank=True, help_text="Markdown.")
    assignee = models.ForeignKey(
        User, null=True, blank=True, on_delete=models.PROTECT, related_name="probes",
        help_text="Who works on it. None: the first who takes it.",
    )  # fmt: skip
    status = models.CharField(max_length=9, choices=Status.choices, default=Status.OPEN)
    conclusion = models.TextField(blank=True, help_text="What was found, also when no example was.")
    created_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="probes_asked")
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"Probe {self.pk}"


class Chat(models.Model):
    """A conversation with one model, or with two side by side."""

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="chats")
    user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="chats")
    probe = models.ForeignKey(Probe, null=True, blank=True, on_delete=models.PROTECT, related_name="chats")
    model_a = models.ForeignKey(Artifact, on_delete=models.PROTECT, related_name="+")
    model_b = models.ForeignKey(Artifact, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    sampling = models.JSONField(default=dict, help_text="temperature, top_p, max_tokens.")
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"Chat {self.pk}"


class Turn(models.Model):
    """A user's message with the answer (or two answers) to it; `chosen` is the one the conversation went on from."""

    chat = models.ForeignKey(Chat, on_delete=models.PROTECT, related_name="turns")
    number = models.PositiveSmallIntegerField()
    text = models.TextField()
    prompt = models.ForeignKey(
        Prompt, null=True, blank=True, on_delete=models.PROTECT, related_name="turns",
        help_text="The conversation up to here, once something was made of it.",
    )  # fmt: skip
    answer_a = models.ForeignKey(Completion, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    answer_b = models.ForeignKey(Completion, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    chosen = models.CharField(max_length=1, blank=True, help_text="a or b.")
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["chat", "number"]
        constraints = [models.UniqueConstraint(fields=["chat", "number"], name="turn_number_once")]

    def __str__(self) -> str:
        return f"Turn {self.number} of chat {self.chat_id}"
