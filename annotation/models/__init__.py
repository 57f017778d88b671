"""Prompts, completions, annotation work and the labels it yields.

What people made is protected: a label is withdrawn (who, when, why stay), never deleted, and whatever a label,
dataset or model came from cannot be removed either.
"""

from annotation.models.chats import Chat, Probe, Reply, Turn
from annotation.models.datasets import DatasetItem
from annotation.models.failures import FailureClass, FailureExample, FailureMerge, FailureStatus
from annotation.models.imports import ImportBatch, VisibleManager
from annotation.models.journal import JournalEntry
from annotation.models.label_studio import LabelStudioAnnotation, LabelStudioLink, LabelStudioTask
from annotation.models.labels import Comparison, Demonstration, Label, Revision, RewardScore, Strength
from annotation.models.prompts import Completion, Prompt, Split
from annotation.models.quality import Gold, GoldResult, Instrument, Shown, Standing
from annotation.models.repeats import Repeat
from annotation.models.vendors import VendorBatch, VendorItem
from annotation.models.work import Claim, Draft, Kind, Queue, Review, Skip, Slot, Task, TaskCompletion

__all__ = [
    "Chat",
    "Claim",
    "Comparison",
    "Completion",
    "DatasetItem",
    "Demonstration",
    "Draft",
    "FailureClass",
    "FailureExample",
    "FailureMerge",
    "FailureStatus",
    "Gold",
    "GoldResult",
    "ImportBatch",
    "Instrument",
    "JournalEntry",
    "Kind",
    "Label",
    "LabelStudioAnnotation",
    "LabelStudioLink",
    "LabelStudioTask",
    "Probe",
    "Prompt",
    "Queue",
    "Repeat",
    "Reply",
    "Review",
    "Revision",
    "RewardScore",
    "Shown",
    "Skip",
    "Slot",
    "Split",
    "Standing",
    "Strength",
    "Task",
    "TaskCompletion",
    "Turn",
    "VendorBatch",
    "VendorItem",
    "VisibleManager",
]
