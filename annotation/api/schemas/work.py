"""Claims and answers. Blind work is told by opaque letters in shown order, never by model or row id."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from ninja import Field, Schema

from annotation.api.schemas.shared import Body, Id, Message, Text
from annotation.models import Claim, Comparison, Completion, Demonstration, Queue


class QueueOut(Schema):
    id: int
    project: str
    kind: str
    name: str
    is_open: bool
    waiting: int = Field(..., description="Tasks that you could still take.")


class AnswerOut(Schema):
    id: str = Field(..., description="The answer's letter in this claim.")
    text: str
    cut: bool = Field(..., description="It stopped at its token limit, not by itself.")


class StartOut(Schema):
    id: int
    text: str


class ClaimOut(Schema):
    id: int
    kind: str
    status: str
    expires_at: datetime
    prompt: list[Message]
    cluster: str
    answers: list[AnswerOut]
    guideline_version: int | None
    draft: dict[str, Any] | None
    start_from: StartOut | None = Field(
        ..., description="Where demonstrations may start from a model's answer: name it in `draft_of` when yours did."
    )


class AnswerIn(Body):
    """A demonstration fills `text` and `reasoning`; a ranking the rest."""

    text: Text | None = None
    reasoning: Text = ""
    tiers: list[list[Text]] | None = Field(
        None, description='Letters of the answers, best tier first: [["b"], ["a", "c"]].'
    )
    unrankable: list[Text] = []
    strength: int | None = Field(None, description="1 slightly better, 2 better, 3 much better")
    ratings: dict[Text, int] = {}
    flags: dict[Text, list[Text]] = {}
    rationale: Text = ""
    second_look: Text = Field("", max_length=300, description="Why somebody should look at it again.")


class SubmitIn(AnswerIn):
    draft_of: Id | None = Field(
        None, description="The id of the model's answer that the text was written from: the edit distance is kept."
    )
    next: bool = Field(False, description="Claim the queue's next task for me in the same request.")


class FeedbackOut(Schema):
    accuracy: float = Field(..., description="Share of the known pairs that were ranked the right way.")
    right: str = Field(..., description="The right order in this claim's letters: B › A = C.")
    explanation: str
    calibration: str
    passed: bool | None


class LabelOut(Schema):
    claim: int
    kind: str
    label: int = Field(..., description="Id of the demonstration or comparison.")
    surplus: bool = Field(..., description="The claim had expired and its place was taken: kept, but not counted.")
    guideline_version: int | None
    feedback: FeedbackOut | None = Field(None, description="How it did on a known answer, where the queue tells.")
    next: ClaimOut | None = Field(None, description="The next claim, where it was asked for and there is one.")
    next_refused: str = ""


class ReleaseIn(Body):
    reason: Text = Field("", max_length=200)
    skip: Literal["", "later", "others", "unusable"] = Field(
        "", description="later: to me again, last; others: not to me again; unusable: to nobody until a lead decides."
    )


class DraftIn(Body):
    content: dict[Text, Any]


class DraftOut(Schema):
    saved_at: datetime


def queue_out(queue: Queue, waiting: int) -> QueueOut:
    return QueueOut(
        id=queue.pk,
        project=queue.project.slug,
        kind=queue.kind,
        name=queue.name,
        is_open=queue.is_open,
        waiting=waiting,
    )


def claim_out(claim: Claim, answers: dict[str, Completion], start: Completion | None = None) -> ClaimOut:
    draft = getattr(claim, "draft", None)
    return ClaimOut(
        id=claim.pk,
        kind=claim.task.kind,
        status=claim.status,
        expires_at=claim.expires_at,
        prompt=claim.task.prompt.messages,
        cluster=claim.task.prompt.cluster,
        answers=[
            AnswerOut(id=letter, text=completion.text, cut=completion.finish_reason == "length")
            for letter, completion in answers.items()
        ],
        guideline_version=claim.guideline.version if claim.guideline else None,
        draft=draft.content if draft else None,
        start_from=StartOut(id=start.pk, text=start.text) if start else None,
    )


def label_out(label: Demonstration | Comparison) -> LabelOut:
    return LabelOut(
        claim=label.claim_id,
        kind=label.claim.task.kind,
        label=label.pk,
        surplus=label.surplus,
        guideline_version=label.guideline.version if label.guideline else None,
    )
