"""Which label each row of a frozen dataset came from."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models import Q

from annotation.models.labels import Comparison, Demonstration
from annotation.models.prompts import Completion, Prompt, Split
from studio.runs.models import Artifact


class DatasetItem(models.Model):
    """Which label (or prompt) a row of a frozen dataset came from: one item a source.

    A pair on which several rankings were merged has an item for each of them; every other row has one.
    """

    artifact = models.ForeignKey(Artifact, on_delete=models.PROTECT, related_name="items")
    split = models.CharField(max_length=5, choices=Split.choices)
    index = models.PositiveIntegerField(help_text="Line of <split>.jsonl, from 0.")
    revision = models.PositiveSmallIntegerField(default=1, help_text="The label's revision that was frozen.")
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
            models.UniqueConstraint(
                fields=["artifact", "split", "index"], condition=Q(comparison=None), name="dataset_row_once"
            ),
            models.UniqueConstraint(fields=["artifact", "split", "index", "comparison"], name="dataset_source_once"),
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
