"""Prompts and the answers to them."""

from __future__ import annotations

from django.conf import settings
from django.db import models

from annotation.models.imports import ImportBatch, VisibleManager
from studio.models import Project
from studio.runs.models import Artifact, Run

User = settings.AUTH_USER_MODEL


class Split(models.TextChoices):
    TRAIN = "train", "Train"
    TEST = "test", "Held out"


class Prompt(models.Model):
    """Chat messages up to the turn to be answered."""

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="prompts")
    messages = models.JSONField(
        help_text='[{"role": "system"|"user"|"assistant", "content": …}], the last one a user\'s.'
    )
    key = models.CharField(max_length=64, help_text="sha256 of the messages.")
    root = models.CharField(max_length=64, help_text="sha256 of the first user turn, normalised; twins share it.")
    split = models.CharField(max_length=5, choices=Split.choices, help_text="Of every prompt with this root, for good.")
    cluster = models.CharField(max_length=80, blank=True, help_text="The kind of task.")
    tags = models.JSONField(default=list, blank=True)
    reference = models.JSONField(
        default=dict, blank=True, help_text="What a good answer holds, e.g. terms it must name."
    )
    source = models.CharField(max_length=200, blank=True)
    batch = models.ForeignKey(ImportBatch, null=True, blank=True, on_delete=models.PROTECT, related_name="prompts")
    created_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="prompts")
    created_at = models.DateTimeField(auto_now_add=True)

    objects = VisibleManager()
    everything = models.Manager()  # noqa: DJ012

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["project", "key"], name="prompt_once_a_project")]
        indexes = [
            models.Index(fields=["project", "root"]),
            models.Index(fields=["project", "split", "id"]),
            models.Index(fields=["project", "cluster"]),
        ]

    def __str__(self) -> str:
        return self.text[:80]

    @property
    def text(self) -> str:
        """The turn to be answered."""
        return self.messages[-1]["content"]


class Completion(models.Model):
    """One answer to a prompt, by a model or by a person."""

    prompt = models.ForeignKey(Prompt, on_delete=models.PROTECT, related_name="completions")
    text = models.TextField()
    model = models.ForeignKey(Artifact, null=True, blank=True, on_delete=models.PROTECT, related_name="answers")
    author = models.ForeignKey(User, null=True, blank=True, on_delete=models.PROTECT, related_name="answers")
    run = models.ForeignKey(Run, null=True, blank=True, on_delete=models.PROTECT, related_name="answers")
    artifact = models.ForeignKey(
        Artifact, null=True, blank=True, on_delete=models.PROTECT, related_name="rows",
        help_text="The completions artifact it was read from.",
    )  # fmt: skip
    line = models.PositiveIntegerField(null=True, blank=True, help_text="Its line there, from 0.")
    sampling = models.JSONField(default=dict, help_text="temperature, top_p, max_tokens, seed, sample.")
    finish_reason = models.CharField(max_length=10, blank=True, help_text="stop, or length when it was cut.")
    tokens = models.PositiveIntegerField(null=True, blank=True)
    batch = models.ForeignKey(ImportBatch, null=True, blank=True, on_delete=models.PROTECT, related_name="completions")
    created_at = models.DateTimeField(auto_now_add=True)

    objects = VisibleManager()
    everything = models.Manager()  # noqa: DJ012

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["artifact", "line"], name="completion_line_once")]
        indexes = [models.Index(fields=["prompt", "model"])]

    def __str__(self) -> str:
        return self.text[:80]
