"""Probing: chats with one or two models, free or to look for one failure class."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from annotation.models.failures import FailureClass
from annotation.models.labels import Comparison
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
    is_blind = models.BooleanField(
        default=False, help_text="Sides are drawn, and names are shown after the first vote only."
    )
    system = models.TextField(blank=True, help_text="What the models are told before the first message.")
    sampling = models.JSONField(default=dict, help_text="temperature, top_p, max_tokens.")
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["project", "user", "-id"])]

    def __str__(self) -> str:
        return f"Chat {self.pk}"

    def model(self, side: str) -> Artifact:
        return self.model_b if side == "b" else self.model_a

    @property
    def sides(self) -> str:
        """`a`, or `ab` with two models."""
        return "ab" if self.model_b_id else "a"


class Turn(models.Model):
    """A user's message and the replies to it; `chosen` is the one the conversation went on from."""

    chat = models.ForeignKey(Chat, on_delete=models.PROTECT, related_name="turns")
    number = models.PositiveSmallIntegerField()
    text = models.TextField()
    prompt = models.ForeignKey(
        Prompt, null=True, blank=True, on_delete=models.PROTECT, related_name="turns",
        help_text="The conversation up to here, once something was made of it.",
    )  # fmt: skip
    comparison = models.OneToOneField(
        Comparison, null=True, blank=True, on_delete=models.PROTECT, related_name="turn",
        help_text="Which of the two replies its user found better.",
    )  # fmt: skip
    chosen = models.CharField(max_length=1, blank=True, help_text="a or b.")
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["chat", "number"]
        constraints = [models.UniqueConstraint(fields=["chat", "number"], name="turn_number_once")]

    def __str__(self) -> str:
        return f"Turn {self.number} of chat {self.chat_id}"


class Reply(models.Model):
    """One model's answer to a turn, kept while it is written. Its state changes only by conditional UPDATE."""

    class State(models.TextChoices):
        WAITING = "waiting", "Waiting for the model"
        WRITING = "writing", "Being written"
        DONE = "done", "Finished"
        CUT = "cut", "Cut off"
        FAILED = "failed", "Failed"

    ENDED = (State.DONE, State.CUT)

    turn = models.ForeignKey(Turn, on_delete=models.PROTECT, related_name="replies")
    side = models.CharField(max_length=1, help_text="a or b.")
    state = models.CharField(max_length=7, choices=State.choices, default=State.WAITING)
    text = models.TextField(blank=True)
    finish_reason = models.CharField(max_length=10, blank=True, help_text="stop, length, or cut by people or breakage.")
    error = models.CharField(max_length=300, blank=True)
    tokens = models.PositiveIntegerField(null=True, blank=True)
    seconds = models.FloatField(null=True, blank=True, help_text="From the first request to the last word.")
    sampling = models.JSONField(default=dict, help_text="temperature, top_p, max_tokens, seed.")
    stop_asked = models.BooleanField(default=False)
    saved_at = models.DateTimeField(default=timezone.now, help_text="Every second while it is written.")
    completion = models.OneToOneField(
        Completion, null=True, blank=True, on_delete=models.PROTECT, related_name="reply",
        help_text="The same as an answer to the turn's prompt, once something was made of it.",
    )  # fmt: skip

    class Meta:
        verbose_name_plural = "replies"
        ordering = ["turn", "side"]
        constraints = [models.UniqueConstraint(fields=["turn", "side"], name="reply_side_once")]
        indexes = [models.Index(fields=["saved_at"], condition=Q(state="writing"), name="reply_writing")]

    def __str__(self) -> str:
        return f"Reply {self.side} to turn {self.turn_id}"
