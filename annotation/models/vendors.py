"""Work done by people outside: places of tasks handed to a vendor, and the batch of labels that comes back."""

from __future__ import annotations

from django.conf import settings
from django.db import models

from annotation.models.imports import ImportBatch
from annotation.models.work import Queue, Slot
from studio.models import Project

User = settings.AUTH_USER_MODEL


class VendorBatch(models.Model):
    class Status(models.TextChoices):
        OUT = "out", "With the vendor"
        RETURNED = "returned", "Returned, to be decided"
        ACCEPTED = "accepted", "Accepted"
        REJECTED = "rejected", "Rejected"
        RECALLED = "recalled", "Recalled"

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="vendor_batches")
    queue = models.ForeignKey(Queue, on_delete=models.PROTECT, related_name="vendor_batches")
    vendor = models.CharField(max_length=80)
    name = models.CharField(max_length=120)
    status = models.CharField(max_length=8, choices=Status.choices, default=Status.OUT)
    returned = models.OneToOneField(
        ImportBatch, null=True, blank=True, on_delete=models.PROTECT, related_name="vendor_batch"
    )
    report = models.JSONField(default=dict, help_text="Checks on arrival: gold, agreement, missing, rows refused.")
    created_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="vendor_batches")
    created_at = models.DateTimeField(auto_now_add=True)
    decided_by = models.ForeignKey(User, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    decided_at = models.DateTimeField(null=True, blank=True)
    decision_note = models.CharField(max_length=300, blank=True)

    class Meta:
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["project", "vendor", "name"], name="vendor_batch_once")]

    def __str__(self) -> str:
        return f"{self.vendor}: {self.name}"


class VendorItem(models.Model):
    """One place of a task that the vendor fills, or a gold item mixed in (then without a slot)."""

    batch = models.ForeignKey(VendorBatch, on_delete=models.PROTECT, related_name="items")
    key = models.CharField(max_length=40, help_text="Opaque name of the task in the file.")
    slot = models.ForeignKey(Slot, null=True, blank=True, on_delete=models.PROTECT, related_name="vendor_items")
    task = models.ForeignKey("annotation.Task", on_delete=models.PROTECT, related_name="vendor_items")
    shown_order = models.JSONField(default=list, help_text="Completion ids in the order of the file.")

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["batch", "key"], name="vendor_item_once")]

    def __str__(self) -> str:
        return self.key
