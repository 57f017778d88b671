"""Runs and the artifacts they turn into one another."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import models
from django.utils import timezone

from studio.models import Project, Round, User
from studio.runs.contract import Recipe
from studio.runs.registry import find_recipe


class Artifact(models.Model):
    """An immutable thing on disk. What uses it protects it from deletion."""

    class Kind(models.TextChoices):
        CORPUS = "corpus", "Corpus"
        TOKENIZER = "tokenizer", "Tokenizer"
        DATASET = "dataset", "Dataset"
        MODEL = "model", "Model"
        REWARD_MODEL = "reward_model", "Reward model"
        SCORER = "scorer", "Toxicity scorer"
        COMPLETIONS = "completions", "Completions"
        REPORT = "report", "Report"

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="artifacts")
    kind = models.CharField(max_length=12, choices=Kind.choices)
    name = models.CharField(max_length=160)
    path = models.CharField(max_length=400, help_text="Relative to var/.")
    sha256 = models.CharField(max_length=64)
    size_bytes = models.BigIntegerField()
    metadata = models.JSONField(default=dict)
    produced_by = models.ForeignKey("Run", null=True, blank=True, on_delete=models.PROTECT, related_name="outputs")
    role = models.CharField(max_length=40, blank=True, help_text="Output role in the run that made it.")
    created_by = models.ForeignKey(User, on_delete=models.PROTECT)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["produced_by", "role"], condition=~models.Q(produced_by=None), name="one_output_a_role"
            )
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def directory(self) -> Path:
        return settings.VAR / self.path

    @property
    def dataset_type(self) -> str:
        return self.metadata.get("type", "") if self.kind == self.Kind.DATASET else ""

    @property
    def kind_label(self) -> str:
        return f"{self.get_kind_display()} · {self.dataset_type}" if self.dataset_type else self.get_kind_display()

    @classmethod
    def register(
        cls,
        project: Project,
        kind: str,
        name: str,
        directory: Path,
        user: User,
        metadata: dict[str, Any] | None = None,
        produced_by: Run | None = None,
        role: str = "",
        hashed: tuple[str, int] | None = None,
    ) -> Artifact:
        """Make the files under `directory` (below var/) an artifact; they must not change from now on.

        `hashed`: what `hash_directory` gave for them, for callers that hash before they begin a transaction.
        """
        sha256, size = hashed or hash_directory(directory)
        return cls.objects.create(
            project=project,
            kind=kind,
            name=name,
            path=str(directory.resolve().relative_to(settings.VAR)),
            sha256=sha256,
            size_bytes=size,
            metadata=metadata or {},
            produced_by=produced_by,
            role=role,
            created_by=user,
        )


def hash_directory(directory: Path, between: Callable[[], object] = lambda: None) -> tuple[str, int]:
    """(sha256 of the sorted manifest "<sha256>  <relative path>\\n", bytes) of every file below `directory`.

    `between` is called after every 16 MB: hashing a large model takes minutes.
    """
    manifest = hashlib.sha256()
    size = 0
    for path in sorted(p for p in directory.rglob("*") if p.is_file()):
        digest = hashlib.sha256()
        with open(path, "rb") as file:
            while chunk := file.read(16_000_000):
                digest.update(chunk)
                size += len(chunk)
                between()
        manifest.update(f"{digest.hexdigest()}  {path.relative_to(directory).as_posix()}\n".encode())
    return manifest.hexdigest(), size


class Run(models.Model):
    """One execution of a recipe. The row is the queue entry; status changes only by conditional UPDATE."""

    class Status(models.TextChoices):
        QUEUED = "queued", "Queued"
        RUNNING = "running", "Running"
        SUCCEEDED = "succeeded", "Succeeded"
        FAILED = "failed", "Failed"
        CANCELLED = "cancelled", "Cancelled"

    LIVE = (Status.QUEUED, Status.RUNNING)

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="runs")
    recipe_name = models.CharField(max_length=40)
    title = models.CharField(max_length=160)
    config = models.JSONField(default=dict, help_text="The full config, defaults included.")
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.QUEUED, db_index=True)
    queue = models.CharField(max_length=10)
    round = models.ForeignKey(Round, null=True, blank=True, on_delete=models.PROTECT, related_name="runs")
    repeat_of = models.ForeignKey("self", null=True, blank=True, on_delete=models.PROTECT, related_name="repeats")

    created_by = models.ForeignKey(User, on_delete=models.PROTECT)
    created_at = models.DateTimeField(auto_now_add=True)
    enqueued_at = models.DateTimeField(default=timezone.now, help_text="When it was last handed to the workers.")
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    worker = models.CharField(max_length=120, blank=True, help_text="Who holds it: host:pid:start.")
    heartbeat_at = models.DateTimeField(null=True, blank=True)
    attempt = models.PositiveIntegerField(default=0, help_text="Starts so far.")
    checkpoint_step = models.IntegerField(default=-1, help_text="The newest checkpoint that an attempt started from.")
    fruitless_attempts = models.PositiveIntegerField(default=0, help_text="Starts since that checkpoint changed.")
    cancel_requested = models.BooleanField(default=False)

    error = models.TextField(blank=True)
    result = models.JSONField(default=dict, help_text="The metrics of result.json.")
    commit = models.CharField(max_length=60, blank=True)
    environment = models.JSONField(default=dict)

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["project", "-id"]), models.Index(fields=["status", "heartbeat_at"])]

    def __str__(self) -> str:
        return f"#{self.pk} {self.title}"

    @property
    def recipe(self) -> Recipe:
        return find_recipe(self.recipe_name)

    @property
    def directory(self) -> Path:
        return settings.VAR / "runs" / str(self.pk)

    @property
    def is_live(self) -> bool:
        return self.status in self.LIVE

    @property
    def seconds(self) -> float | None:
        if not self.started_at:
            return None
        return ((self.finished_at or timezone.now()) - self.started_at).total_seconds()

    def queue_position(self) -> int:
        """1 for the run that starts next on its queue."""
        return Run.objects.filter(queue=self.queue, status=self.Status.QUEUED, id__lt=self.pk).count() + 1


class RunInput(models.Model):
    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="inputs")
    role = models.CharField(max_length=40)
    artifact = models.ForeignKey(Artifact, on_delete=models.PROTECT, related_name="used_by")
    position = models.PositiveIntegerField(default=0)

    class Meta:
        ordering = ["role", "position"]
        constraints = [models.UniqueConstraint(fields=["run", "role", "position"], name="run_input_once")]

    def __str__(self) -> str:
        return f"{self.role} of run {self.run_id}"


class DeviceLease(models.Model):
    """Who may use a GPU host: one trainer or the interactive servers. Taken by conditional UPDATE."""

    device = models.CharField(max_length=80, unique=True)
    run = models.ForeignKey(Run, null=True, blank=True, on_delete=models.SET_NULL, related_name="leases")

    def __str__(self) -> str:
        return self.device
