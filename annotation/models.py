"""Prompts, completions, annotation work and the labels it yields.

What people made is protected: a label is withdrawn (who, when, why stay), never deleted, and whatever a label,
dataset or model came from cannot be removed either.
"""

from __future__ import annotations

import random
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from studio.models import Guideline, Project, Round
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
    created_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="prompts")
    created_at = models.DateTimeField(auto_now_add=True)

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
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["artifact", "line"], name="completion_line_once")]
        indexes = [models.Index(fields=["prompt", "model"])]

    def __str__(self) -> str:
        return self.text[:80]


class Kind(models.TextChoices):
    DEMONSTRATE = "demonstrate", "Write a demonstration"
    RANK = "rank", "Rank answers"
    REVIEW = "review", "Blind review"


class Queue(models.Model):
    """Work of one kind that people take from, task by task."""

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="queues")
    kind = models.CharField(max_length=12, choices=Kind.choices)
    name = models.CharField(max_length=120)
    is_open = models.BooleanField(default=True)
    lease_minutes = models.PositiveIntegerField(default=60, help_text="How long a claim holds its place.")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["project", "kind", "name"], name="queue_once")]

    def __str__(self) -> str:
        return self.name


class Review(models.Model):
    """A blind comparison of models on a prompt set."""

    class Status(models.TextChoices):
        OPEN = "open", "Open"
        CLOSED = "closed", "Closed"

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="reviews")
    name = models.CharField(max_length=120)
    split = models.CharField(max_length=5, choices=Split.choices, default=Split.TEST)
    per_prompt = models.PositiveIntegerField(
        default=1, help_text="Draws a prompt: each takes the models' next completions."
    )
    overlap = models.PositiveIntegerField(default=1)
    queue = models.OneToOneField(Queue, on_delete=models.PROTECT, related_name="review")
    round = models.ForeignKey(Round, null=True, blank=True, on_delete=models.PROTECT, related_name="reviews")
    status = models.CharField(max_length=6, choices=Status.choices, default=Status.OPEN)
    created_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="reviews")
    created_at = models.DateTimeField(auto_now_add=True)
    models = models.ManyToManyField(Artifact, related_name="reviews")  # last: it hides the module below this line

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return self.name


class Task(models.Model):
    """One piece of work, to be done by `overlap` people."""

    class Status(models.TextChoices):
        OPEN = "open", "Open"
        CLOSED = "closed", "Closed"
        WITHDRAWN = "withdrawn", "Withdrawn"

    queue = models.ForeignKey(Queue, on_delete=models.PROTECT, related_name="tasks")
    prompt = models.ForeignKey(Prompt, on_delete=models.PROTECT, related_name="tasks")
    completions = models.ManyToManyField(Completion, through="TaskCompletion", related_name="tasks")
    overlap = models.PositiveIntegerField(default=1)
    priority = models.IntegerField(default=0, help_text="Higher comes first.")
    round = models.ForeignKey(Round, null=True, blank=True, on_delete=models.PROTECT, related_name="tasks")
    review = models.ForeignKey(Review, null=True, blank=True, on_delete=models.PROTECT, related_name="tasks")
    status = models.CharField(max_length=9, choices=Status.choices, default=Status.OPEN)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["id"]
        indexes = [models.Index(fields=["queue", "status"])]

    def __str__(self) -> str:
        return f"Task {self.pk}"

    @property
    def kind(self) -> str:
        return self.queue.kind


class TaskCompletion(models.Model):
    task = models.ForeignKey(Task, on_delete=models.CASCADE, related_name="offered")
    completion = models.ForeignKey(Completion, on_delete=models.PROTECT, related_name="offered_in")
    position = models.PositiveSmallIntegerField()

    class Meta:
        ordering = ["task", "position"]
        constraints = [
            models.UniqueConstraint(fields=["task", "position"], name="task_position_once"),
            models.UniqueConstraint(fields=["task", "completion"], name="task_completion_once"),
        ]

    def __str__(self) -> str:
        return f"Answer {self.position} of task {self.task_id}"


class Claim(models.Model):
    """An annotator's lease on a place of a task. Its status changes only by conditional UPDATE."""

    class Status(models.TextChoices):
        LIVE = "live", "Being worked on"
        SUBMITTED = "submitted", "Submitted"
        RELEASED = "released", "Given back"
        EXPIRED = "expired", "Expired"

    task = models.ForeignKey(Task, on_delete=models.PROTECT, related_name="claims")
    annotator = models.ForeignKey(User, on_delete=models.PROTECT, related_name="claims")
    status = models.CharField(max_length=9, choices=Status.choices, default=Status.LIVE)
    guideline = models.ForeignKey(
        Guideline, null=True, blank=True, on_delete=models.PROTECT, related_name="claims",
        help_text="The version that was shown.",
    )  # fmt: skip
    shown_order = models.JSONField(default=list, help_text="Completion ids as shown: the first is answer a.")
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)
    surplus = models.BooleanField(default=False, help_text="Submitted when the task had all its judgements.")
    skipped = models.BooleanField(default=False, help_text="Given back, not to be offered to this annotator again.")
    reason = models.CharField(max_length=200, blank=True, help_text="Why it was given back.")
    idempotency_key = models.CharField(max_length=100, blank=True)
    body_digest = models.CharField(max_length=64, blank=True, help_text="sha256 of the submitted answer.")

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(
                fields=["task", "annotator"],
                condition=Q(status__in=["live", "submitted"]),
                name="one_claim_an_annotator",
            ),
            models.UniqueConstraint(
                fields=["annotator", "idempotency_key"], condition=~Q(idempotency_key=""), name="idempotency_key_once"
            ),
        ]
        indexes = [
            models.Index(fields=["expires_at"], condition=Q(status="live"), name="claim_live_expiry"),
            models.Index(fields=["annotator", "status", "-id"], name="claim_of_annotator"),
        ]

    def __str__(self) -> str:
        return f"Claim {self.pk} on task {self.task_id}"

    @property
    def letters(self) -> dict[str, int]:
        """The opaque names of the answers in shown order: {"a": completion id, "b": …}."""
        return {chr(ord("a") + i): completion_id for i, completion_id in enumerate(self.shown_order)}


def place_in_line() -> float:
    return random.random()


class Slot(models.Model):
    """One of a task's `overlap` places. Free until a claim holds it; done with that claim's judgement."""

    class Status(models.TextChoices):
        FREE = "free", "Free"
        CLAIMED = "claimed", "Claimed"
        DONE = "done", "Done"
        WITHDRAWN = "withdrawn", "Withdrawn"

    task = models.ForeignKey(Task, on_delete=models.CASCADE, related_name="slots")
    number = models.PositiveSmallIntegerField()
    status = models.CharField(max_length=9, choices=Status.choices, default=Status.FREE)
    claim = models.OneToOneField(Claim, null=True, blank=True, on_delete=models.PROTECT, related_name="slot")
    # Copies of the task's, and a random place in line: one index then finds the next free slot of a queue.
    queue = models.ForeignKey(Queue, on_delete=models.PROTECT, related_name="slots")
    priority = models.IntegerField(default=0)
    shuffle = models.FloatField(default=place_in_line)

    class Meta:
        ordering = ["task", "number"]
        constraints = [models.UniqueConstraint(fields=["task", "number"], name="slot_number_once")]
        indexes = [models.Index(fields=["queue", "status", "priority", "shuffle"], name="slot_next")]

    def __str__(self) -> str:
        return f"Slot {self.number} of task {self.task_id}"


class Draft(models.Model):
    """What an annotator has typed so far."""

    claim = models.OneToOneField(Claim, on_delete=models.CASCADE, related_name="draft")
    content = models.JSONField(default=dict)
    saved_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return f"Draft of claim {self.claim_id}"


class Label(models.Model):
    """What demonstrations and comparisons share."""

    prompt = models.ForeignKey(Prompt, on_delete=models.PROTECT, related_name="%(class)ss")
    claim = models.OneToOneField(Claim, null=True, blank=True, on_delete=models.PROTECT, related_name="%(class)s")
    annotator = models.ForeignKey(User, on_delete=models.PROTECT, related_name="%(class)ss")
    round = models.ForeignKey(Round, null=True, blank=True, on_delete=models.PROTECT, related_name="%(class)ss")
    guideline = models.ForeignKey(Guideline, null=True, blank=True, on_delete=models.PROTECT, related_name="%(class)ss")
    surplus = models.BooleanField(default=False, help_text="One more than the task asked for; kept, but not counted.")
    seconds = models.FloatField(null=True, blank=True, help_text="From claim to submission.")
    source = models.CharField(max_length=200, blank=True, help_text="Where it was imported from.")
    created_at = models.DateTimeField(default=timezone.now)
    withdrawn_at = models.DateTimeField(null=True, blank=True)
    withdrawn_by = models.ForeignKey(
        User, null=True, blank=True, on_delete=models.PROTECT, related_name="withdrawn_%(class)ss"
    )
    withdrawn_reason = models.CharField(max_length=300, blank=True)

    class Meta:
        abstract = True
        ordering = ["-id"]

    @property
    def is_withdrawn(self) -> bool:
        return self.withdrawn_at is not None


class Demonstration(Label):
    """An ideal answer and the reasoning behind it."""

    completion = models.OneToOneField(Completion, on_delete=models.PROTECT, related_name="demonstration")
    reasoning = models.TextField(blank=True)

    class Meta(Label.Meta):
        abstract = False

    def __str__(self) -> str:
        return f"Demonstration {self.pk}"


class Strength(models.IntegerChoices):
    SLIGHT = 1, "Slightly better"
    CLEAR = 2, "Better"
    MUCH = 3, "Much better"


class Comparison(Label):
    """A ranking of the completions of one prompt: tiers of equals, best first."""

    task = models.ForeignKey(Task, null=True, blank=True, on_delete=models.PROTECT, related_name="comparisons")
    review = models.ForeignKey(Review, null=True, blank=True, on_delete=models.PROTECT, related_name="comparisons")
    tiers = models.JSONField(help_text="[[completion id, …], …], best tier first.")
    unrankable = models.JSONField(default=list, help_text="Ids of completions that could not be ranked.")
    shown_order = models.JSONField(help_text="Completion ids in the order of the screen.")
    completions = models.ManyToManyField(Completion, related_name="comparisons")
    strength = models.PositiveSmallIntegerField(null=True, blank=True, choices=Strength.choices)
    ratings = models.JSONField(default=dict, help_text='{"<completion id>": 1…7}')
    flags = models.JSONField(default=dict, help_text='{"<completion id>": ["hallucination", …]}')
    rationale = models.TextField(blank=True)

    class Meta(Label.Meta):
        abstract = False
        indexes = [models.Index(fields=["review", "prompt"])]

    def __str__(self) -> str:
        return f"Comparison {self.pk}"


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


class DatasetItem(models.Model):
    """Which label (or prompt) a row of a frozen dataset came from."""

    artifact = models.ForeignKey(Artifact, on_delete=models.PROTECT, related_name="items")
    split = models.CharField(max_length=5, choices=Split.choices)
    index = models.PositiveIntegerField(help_text="Line of <split>.jsonl, from 0.")
    demonstration = models.ForeignKey(
        Demonstration, null=True, blank=True, on_delete=models.PROTECT, related_name="dataset_items"
    )
    comparison = models.ForeignKey(
        Comparison, null=True, blank=True, on_delete=models.PROTECT, related_name="dataset_items"
    )
    completion = models.ForeignKey(
        Completion, null=True, blank=True, on_delete=models.PROTECT, related_name="dataset_items"
    )
    prompt = models.ForeignKey(Prompt, null=True, blank=True, on_delete=models.PROTECT, related_name="dataset_items")

    SOURCES = ("demonstration", "comparison", "completion", "prompt")

    class Meta:
        ordering = ["artifact", "-split", "index"]
        constraints = [
            models.UniqueConstraint(fields=["artifact", "split", "index"], name="dataset_row_once"),
            models.CheckConstraint(
                name="dataset_row_has_one_source",
                condition=Q(demonstration__isnull=False, comparison=None, completion=None, prompt=None)
                | Q(demonstration=None, comparison__isnull=False, completion=None, prompt=None)
                | Q(demonstration=None, comparison=None, completion__isnull=False, prompt=None)
                | Q(demonstration=None, comparison=None, completion=None, prompt__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.split}[{self.index}] of {self.artifact_id}"

    @property
    def label(self) -> Any:
        """The demonstration, comparison, completion or prompt."""
        return next(getattr(self, name) for name in self.SOURCES if getattr(self, f"{name}_id"))
