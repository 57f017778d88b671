"""Interactive model servers: one row a start."""

from __future__ import annotations

import secrets
from pathlib import Path

from django.conf import settings
from django.db import models

from studio.models import User
from studio.runs.models import Artifact


def new_secret() -> str:
    return secrets.token_urlsafe(24)


class Server(models.Model):
    """A vLLM server for one model. The row is the request for it too; states change only by conditional UPDATE."""

    class State(models.TextChoices):
        STARTING = "starting", "Starting"
        HEALTHY = "healthy", "Ready"
        STOPPING = "stopping", "Stopping"
        STOPPED = "stopped", "Stopped"
        CRASHED = "crashed", "Crashed"

    LIVE = (State.STARTING, State.HEALTHY, State.STOPPING)

    artifact = models.ForeignKey(Artifact, on_delete=models.CASCADE, related_name="servers")
    requested_by = models.ForeignKey(User, on_delete=models.PROTECT)
    state = models.CharField(max_length=10, choices=State.choices, default=State.STARTING, db_index=True)
    secret = models.CharField(max_length=64, default=new_secret, help_text="The key that its API asks for.")

    device = models.CharField(max_length=80, blank=True, help_text="The GPU host that took it; none while it waits.")
    host = models.CharField(max_length=120, blank=True, help_text="Where the web server reaches it.")
    port = models.PositiveIntegerField(null=True, blank=True)
    process_group = models.PositiveIntegerField(null=True, blank=True)
    process_start = models.CharField(max_length=80, blank=True, help_text="Boot and start tick of the group's leader.")
    has_chat_template = models.BooleanField(default=True)
    stop_token_ids = models.JSONField(default=list)

    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True, blank=True)
    healthy_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    unanswered_since = models.DateTimeField(
        null=True, blank=True, help_text="It has not answered its health check since."
    )
    ended_at = models.DateTimeField(null=True, blank=True)

    step = models.PositiveIntegerField(default=0, help_text="How many phases of the start are over.")
    note = models.CharField(max_length=200, blank=True, help_text="What it does, or why it was stopped.")
    error = models.TextField(blank=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["artifact"],
                condition=models.Q(state__in=("starting", "healthy", "stopping")),
                name="one_live_server_a_model",
            )
        ]

    def __str__(self) -> str:
        return f"Server {self.pk} of {self.artifact}"

    @property
    def is_live(self) -> bool:
        return self.state in self.LIVE

    @property
    def log_path(self) -> Path:
        return settings.VAR / "servers" / f"{self.pk}.log"

    @property
    def base_url(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def served_name(self) -> str:
        return f"artifact-{self.artifact_id}"

    @property
    def seconds_to_start(self) -> float | None:
        """From the start of its process until it was healthy."""
        if not (self.started_at and self.healthy_at):
            return None
        return (self.healthy_at - self.started_at).total_seconds()
