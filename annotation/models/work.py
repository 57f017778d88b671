"""Annotation work: queues, tasks, their places, and the leases people hold on them."""

from __future__ import annotations

import random

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from annotation.models.prompts import Completion, Prompt, Split
from studio.models import Guideline, Project, Round
from studio.runs.models import Artifact

User = settings.AUTH_USER_MODEL


class Kind(models.TextChoices):
    DEMONSTRATE = "demonstrate", "Write a demonstration"
    RANK = "rank", "Rank answers"
    REVIEW = "review", "Blind review"
    ADJUDICATE = "adjudicate", "Settle a disagreement"


class Queue(models.Model):
    """Work of one kind that people take from, task by task."""

    class Order(models.TextChoices):
        RANDOM = "random", "At random"
        OLDEST = "oldest", "First come, first served"
        UNCERTAIN = "uncertain", "Where the reward model is least sure"
        DISPUTED = "disputed", "Where reward model and people disagree"
        DIVERSE = "diverse", "Most different answers first"

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="queues")
    kind = models.CharField(max_length=12, choices=Kind.choices)
    name = models.CharField(max_length=120)
    is_open = models.BooleanField(default=True)
    lease_minutes = models.PositiveIntegerField(default=60, help_text="How long a claim holds its place.")
    order = models.CharField(max_length=9, choices=Order.choices, default=Order.RANDOM)
    reward_model = models.ForeignKey(
        Artifact, null=True, blank=True, on_delete=models.PROTECT, related_name="orders_queues",
        help_text="Whose scores the order goes by.",
    )  # fmt: skip
    skill = models.CharField(max_length=40, blank=True, help_text="Only for members who have it.")
    people = models.ManyToManyField(User, blank=True, related_name="reserved_queues", help_text="Only for these.")
    note = models.CharField(max_length=300, blank=True, help_text="Shown to those who work in it.")
    gold_rate = models.FloatField(default=0, help_text="Share of a person's tasks that are gold items, 0 to 0.5.")
    gold_feedback = models.BooleanField(default=False, help_text="Tell people after a gold item how they did.")
    calibration_items = models.PositiveSmallIntegerField(default=0, help_text="Gold items to do before real work.")
    calibration_pass = models.FloatField(default=0.7, help_text="Share of their pairs that must be right.")
    warn_below = models.FloatField(null=True, blank=True, help_text="Accuracy on gold below which one is warned …")
    pause_below = models.FloatField(null=True, blank=True, help_text="… paused until a lead lets them go on …")
    exclude_below = models.FloatField(null=True, blank=True, help_text="… or excluded, labels and all.")
    gold_window = models.PositiveSmallIntegerField(default=10, help_text="The last gold items that are counted.")
    min_seconds = models.FloatField(default=2, help_text="An answer that comes faster is asked to be looked at again.")
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
        HELD = "held", "Set aside as not usable"
        WITHDRAWN = "withdrawn", "Withdrawn"

    queue = models.ForeignKey(Queue, on_delete=models.PROTECT, related_name="tasks")
    prompt = models.ForeignKey(Prompt, on_delete=models.PROTECT, related_name="tasks")
    completions = models.ManyToManyField(Completion, through="TaskCompletion", related_name="tasks")
    overlap = models.PositiveIntegerField(default=1)
    priority = models.IntegerField(default=0, help_text="Higher comes first.")
    skill = models.CharField(max_length=40, blank=True, help_text="Only for members who have it.")
    assignee = models.ForeignKey(
        User, null=True, blank=True, on_delete=models.PROTECT, related_name="assigned_tasks",
        help_text="Kept for this person.",
    )  # fmt: skip
    adjudicates = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.PROTECT, related_name="adjudications",
        help_text="The task whose judgements disagree; this one settles it.",
    )  # fmt: skip
    round = models.ForeignKey(Round, null=True, blank=True, on_delete=models.PROTECT, related_name="tasks")
    review = models.ForeignKey(Review, null=True, blank=True, on_delete=models.PROTECT, related_name="tasks")
    status = models.CharField(max_length=9, choices=Status.choices, default=Status.OPEN)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["id"]
        indexes = [models.Index(fields=["queue", "status"])]
        constraints = [
            models.UniqueConstraint(
                fields=["adjudicates"],
                condition=Q(adjudicates__isnull=False) & ~Q(status="withdrawn"),
                name="one_adjudication_a_task",
            )
        ]

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


class Skip(models.TextChoices):
    LATER = "later", "To me, later"
    OTHERS = "others", "To others, not to me again"
    UNUSABLE = "unusable", "Not usable: nobody should judge it"


class Claim(models.Model):
    """An annotator's lease on a place of a task. Its status changes only by conditional UPDATE."""

    class Status(models.TextChoices):
        LIVE = "live", "Being worked on"
        SUBMITTED = "submitted", "Submitted"
        RELEASED = "released", "Given back"
        EXPIRED = "expired", "Expired"

    task = models.ForeignKey(Task, on_delete=models.PROTECT, related_name="claims")
    annotator = models.ForeignKey(User, on_delete=models.PROTECT, related_name="claims")
    # Copy of the task's queue's: one index then finds, and counts, what a person has done in a project.
    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="claims", db_index=False)
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
    skip = models.CharField(max_length=8, choices=Skip.choices, blank=True, help_text="Given back, and to whom next.")
    paused_at = models.DateTimeField(null=True, blank=True, help_text="Since when its clock stands still.")
    paused_seconds = models.FloatField(default=0, help_text="How long it stood still before that.")
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
            models.Index(
                fields=["annotator", "project", "-finished_at", "-id"],
                condition=Q(status="submitted"),
                name="claim_finished",
            ),
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
        AWAY = "away", "With a vendor or in Label Studio"
        WITHDRAWN = "withdrawn", "Withdrawn"

    task = models.ForeignKey(Task, on_delete=models.CASCADE, related_name="slots")
    number = models.PositiveSmallIntegerField()
    status = models.CharField(max_length=9, choices=Status.choices, default=Status.FREE)
    claim = models.OneToOneField(Claim, null=True, blank=True, on_delete=models.PROTECT, related_name="slot")
    # Copies of the task's, and its place in line (random, or what the queue's order says; lowest first): one index
    # then finds the next free slot of a queue.
    queue = models.ForeignKey(Queue, on_delete=models.PROTECT, related_name="slots")
    priority = models.IntegerField(default=0)
    skill = models.CharField(max_length=40, blank=True)
    assignee = models.ForeignKey(User, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    place = models.FloatField(default=place_in_line)

    class Meta:
        ordering = ["task", "number"]
        constraints = [models.UniqueConstraint(fields=["task", "number"], name="slot_number_once")]
        indexes = [  # the task last: what counts places without those of gold reads the index alone
            models.Index(
                fields=["queue", "status", "skill", "assignee", "-priority", "place", "task"], name="slot_next"
            )
        ]

    def __str__(self) -> str:
        return f"Slot {self.number} of task {self.task_id}"


class Draft(models.Model):
    """What an annotator has typed so far."""

    claim = models.OneToOneField(Claim, on_delete=models.CASCADE, related_name="draft")
    content = models.JSONField(default=dict)
    saved_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return f"Draft of claim {self.claim_id}"
