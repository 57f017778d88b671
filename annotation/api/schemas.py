"""What the HTTP API takes and gives. Blind work is told by opaque letters in shown order, never by model or row id."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, Literal

from django.db.models import QuerySet
from ninja import Field, Schema
from pydantic import AfterValidator

from annotation.models import Claim, Comparison, Completion, Demonstration, Queue, Task
from annotation.progress import Progress


def _storable(text: str) -> str:
    if "\0" in text:
        raise ValueError("contains a NUL character, which no text has: remove it")
    return text


Text = Annotated[str, AfterValidator(_storable)]  # PostgreSQL stores no NUL
Id = Annotated[int, Field(ge=1, le=2**62)]  # larger ones fit into no database


class Message(Schema):
    role: str
    content: str


class ErrorOut(Schema):
    detail: Any


REFUSED = {401: ErrorOut, 403: ErrorOut, 404: ErrorOut, 422: ErrorOut, 429: ErrorOut}


class ProjectOut(Schema):
    slug: str
    name: str
    description: str
    role: str
    guideline_version: int | None


class PromptOut(Schema):
    id: int
    messages: list[Message]
    cluster: str
    tags: list[str]
    reference: dict[str, Any] | None = Field(..., description="What a good answer holds; not told to annotators.")
    split: str | None = Field(..., description="train or test; not told to annotators.")


class PromptPage(Schema):
    count: int
    items: list[PromptOut]


class PromptsIn(Schema):
    prompts: list[dict[Text, Any]] = Field(
        ..., max_length=10_000, description="messages (or prompt), cluster, tags, reference, split"
    )
    source: Text = Field("", max_length=200)
    test_fraction: float = Field(0.2, ge=0, le=1)


class PromptsImported(Schema):
    created: int
    known: int
    ids: list[int]


class QueueOut(Schema):
    id: int
    project: str
    kind: str
    name: str
    is_open: bool
    waiting: int = Field(..., description="Tasks that you could still take.")


class QueueSettings(Schema):
    note: Text = Field("", max_length=300, description="A line for those who work in it.")
    lease_minutes: int = Field(60, ge=1, le=10_080)
    order: Literal["random", "oldest", "uncertain", "disputed", "diverse"] = "random"
    reward_model: Id | None = Field(None, description="Whose scores the order goes by.")
    skill: Text = Field("", max_length=40, description="Only for members who have it.")
    people: list[Text] = Field([], max_length=1000, description="Usernames: only for these. None: for everybody.")
    gold_rate: float = Field(0, ge=0, le=0.5, description="Share of a person's tasks whose right order is known.")
    gold_feedback: bool = False
    gold_window: int = Field(10, ge=1, le=1000)
    calibration_items: int = Field(0, ge=0, le=1000)
    calibration_pass: float = Field(0.7, ge=0, le=1)
    warn_below: float | None = Field(None, ge=0, le=1)
    pause_below: float | None = Field(None, ge=0, le=1)
    exclude_below: float | None = Field(None, ge=0, le=1)
    min_seconds: float = Field(2, ge=0, le=3600)


class QueueState(QueueSettings):
    id: int
    kind: str
    name: str
    is_open: bool
    places: dict[str, int] = Field(..., description="By status, each counted to 1,001.")

    @classmethod
    def of(cls, queue: Queue, places: Progress) -> QueueState:
        plain = [name for name in QueueSettings.model_fields if name not in ("reward_model", "people")]
        return cls(
            id=queue.pk,
            kind=queue.kind,
            name=queue.name,
            is_open=queue.is_open,
            reward_model=queue.reward_model_id,
            people=list(queue.people.values_list("username", flat=True)),
            places=asdict(places),
            **{name: getattr(queue, name) for name in plain},
        )


class TaskOut(Schema):
    id: int
    prompt: int
    status: str
    overlap: int
    priority: int
    skill: str
    assignee: str | None

    @classmethod
    def of(cls, task: Task) -> TaskOut:
        return cls(
            id=task.pk,
            prompt=task.prompt_id,
            status=task.status,
            overlap=task.overlap,
            priority=task.priority,
            skill=task.skill,
            assignee=task.assignee.username if task.assignee else None,
        )


class TaskPage(Schema):
    items: list[TaskOut]
    next: int | None = Field(..., description="Send it as `after` for the next page; null on the last.")


class AnswerOut(Schema):
    id: str = Field(..., description="The answer's letter in this claim.")
    text: str
    cut: bool = Field(..., description="It stopped at its token limit, not by itself.")


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


class SubmitIn(Schema):
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


class ReleaseIn(Schema):
    reason: Text = Field("", max_length=200)
    skip: Literal["", "later", "others", "unusable"] = Field(
        "", description="later: to me again, last; others: not to me again; unusable: to nobody until a lead decides."
    )


class DraftIn(Schema):
    content: dict[Text, Any]


class DraftOut(Schema):
    saved_at: datetime


class PageIn(Schema):
    after: int = Field(0, ge=0, le=2**62, description="The `next` of the page before.")
    limit: int = Field(100, ge=1, le=1000)

    def cut(self, rows: QuerySet[Any]) -> tuple[list[Any], int | None]:
        """This page of the rows in the order of their ids, and what the next one follows."""
        found = list(rows.filter(pk__gt=self.after).order_by("pk")[: self.limit])
        return found, found[-1].pk if len(found) == self.limit else None


class RankedOut(Schema):
    id: int
    text: str
    model: int | None = Field(..., description="The artifact that wrote it, where that is told.")


class LabelBase(Schema):
    id: int
    prompt: int
    annotator: str
    created_at: datetime
    guideline_version: int | None
    revision: int
    surplus: bool
    withdrawn: bool
    seconds: float | None


class ComparisonOut(LabelBase):
    tiers: list[list[int]] = Field(..., description="Ids of completions, best tier first.")
    unrankable: list[int]
    shown_order: list[int]
    strength: int | None
    ratings: dict[str, int]
    flags: dict[str, list[str]]
    rationale: str
    completions: list[RankedOut]

    @classmethod
    def of(cls, label: Comparison, *, tells_models: bool) -> ComparisonOut:
        return cls(
            **_label_base(label),
            tiers=label.tiers,
            unrankable=label.unrankable,
            shown_order=label.shown_order,
            strength=label.strength,
            ratings=label.ratings,
            flags=label.flags,
            rationale=label.rationale,
            completions=[
                RankedOut(id=c.pk, text=c.text, model=c.model_id if tells_models else None)
                for c in label.completions.all()
            ],
        )


class DemonstrationOut(LabelBase):
    text: str
    reasoning: str

    @classmethod
    def of(cls, label: Demonstration) -> DemonstrationOut:
        return cls(**_label_base(label), text=label.completion.text, reasoning=label.reasoning)


class ComparisonPage(Schema):
    items: list[ComparisonOut]
    next: int | None = Field(..., description="Send it as `after` for the next page; null on the last.")


class DemonstrationPage(Schema):
    items: list[DemonstrationOut]
    next: int | None = Field(..., description="Send it as `after` for the next page; null on the last.")


def _label_base(label: Demonstration | Comparison) -> dict[str, Any]:
    return {
        "id": label.pk,
        "prompt": label.prompt_id,
        "annotator": label.annotator.username,
        "created_at": label.created_at,
        "guideline_version": label.guideline.version if label.guideline else None,
        "revision": label.revision,
        "surplus": label.surplus,
        "withdrawn": label.is_withdrawn,
        "seconds": label.seconds,
    }


class RevisionOut(Schema):
    number: int
    content: dict[str, Any]
    by: str
    at: datetime


class ReasonIn(Schema):
    reason: Text = Field(..., min_length=1, max_length=300)


class ImportOut(Schema):
    id: int
    name: str
    format: str
    status: str
    sha256: str
    rows_done: int
    rows_total: int | None
    counts: dict[str, Any]
    error: str


class DatasetOut(Schema):
    id: int
    name: str
    sha256: str
    metadata: dict[str, Any]
    created_at: datetime


class FailureClassOut(Schema):
    id: int
    name: str
    description: str
    severity: int
    examples: int


class FailureClassIn(Schema):
    name: Text
    description: Text = ""
    severity: int = 2


class FailureExampleIn(Schema):
    claim: Id | None = Field(None, description="Your claim, where the answer is known by its letter …")
    answer: Text | None = None
    completion: Id | None = Field(
        None, description="… or the completion's id, for SMEs and engineers outside blind work."
    )
    correction: Text
    reasoning: Text = ""


class FailureExampleOut(Schema):
    id: int
    failure_class: int


def queue_out(queue: Queue, waiting: int) -> QueueOut:
    return QueueOut(
        id=queue.pk,
        project=queue.project.slug,
        kind=queue.kind,
        name=queue.name,
        is_open=queue.is_open,
        waiting=waiting,
    )


def claim_out(claim: Claim, answers: dict[str, Completion]) -> ClaimOut:
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
    )


def label_out(label: Demonstration | Comparison) -> LabelOut:
    return LabelOut(
        claim=label.claim_id,
        kind=label.claim.task.kind,
        label=label.pk,
        surplus=label.surplus,
        guideline_version=label.guideline.version if label.guideline else None,
    )
