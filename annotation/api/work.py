"""Queues, claims, drafts and answers: what an annotating program needs."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from django.http import Http404, HttpRequest
from ninja import Header, Router

from annotation import gold, queue, submit
from annotation.api.auth import READ_OR_WORK, WORK, member
from annotation.api.schemas.shared import REFUSED, ErrorOut, Text
from annotation.api.schemas.work import (
    AnswerIn,
    ClaimOut,
    DraftIn,
    DraftOut,
    FeedbackOut,
    LabelOut,
    QueueOut,
    ReleaseIn,
    SubmitIn,
    claim_out,
    label_out,
    queue_out,
)
from annotation.instrument import draft_for, instrument_of
from annotation.models import Claim, Draft, Gold, Instrument, Kind, Prompt, Queue, Task
from annotation.progress import waiting_for
from annotation.revise import reopen, revise
from annotation.standing import MayNotWork
from studio import statements
from studio.access import ENGINEERS, EXPERTS
from studio.models import Guideline, Membership, Project, Role
from studio.statements import Part

router = Router(tags=["work"])
RANKING = ("tiers", "unrankable", "strength", "ratings", "flags", "rationale")  # what is said of a ranking


@router.get("/queues", auth=READ_OR_WORK, response={200: list[QueueOut], **REFUSED})
def list_queues(request: HttpRequest, project: Text = "", closed: bool = False) -> Any:
    """The open queues of your projects (or of one, by its slug); with `closed`, where you lead, the closed ones."""
    roles = ENGINEERS if closed else tuple(Role)
    if project:
        projects = [member(request, project, roles).project.pk]
    else:
        projects = list(Membership.objects.filter(user=request.user, role__in=roles).values_list("project", flat=True))
    queues = list(Queue.objects.filter(project__in=projects, is_open=not closed).select_related("project"))
    waiting = waiting_for(queues, request.user)
    return [queue_out(q, waiting.get(q.pk, 0)) for q in queues]


@router.post("/queues/{queue_id}/claim", auth=WORK, response={200: ClaimOut, 204: None, **REFUSED})
def claim(request: HttpRequest, queue_id: int) -> Any:
    """Your next task, held for you until `expires_at`; the one you have begun comes first. 204: nothing for you now."""
    found = find_queue(request, queue_id)
    claimed = queue.claim_next(found, request.user)
    return (204, None) if claimed is None else (200, _out(claimed))


@router.get("/claims/{claim_id}", auth=READ_OR_WORK, response={200: ClaimOut, **REFUSED})
def show_claim(request: HttpRequest, claim_id: int) -> Any:
    """One of your claims with its task and your draft."""
    mine = find_claim(request, claim_id)
    return _out(mine)


@router.post("/claims/{claim_id}/submit", auth=WORK, response={201: LabelOut, 409: ErrorOut, **REFUSED})
def submit_claim(
    request: HttpRequest,
    claim_id: int,
    body: SubmitIn,
    idempotency_key: str = Header(..., alias="Idempotency-Key", min_length=1, max_length=100),
) -> Any:
    """Hand in your answer. The same key gives the same label again, and is refused with another answer.

    After the claim expired the answer still counts while the task has a free place, and is kept as surplus after that.
    With `next` the queue's next task comes back in the same answer, or `next_refused` says why there is none.
    """
    mine = find_claim(request, claim_id)
    given = _answer(mine, body) | {"second_look": body.second_look, "key": idempotency_key}
    if mine.task.kind == Kind.DEMONSTRATE:
        label = submit.submit_demonstration(mine, draft_of=body.draft_of, **given)
    else:
        label = submit.submit_ranking(mine, **given)
    answer = label_out(label)
    if body.next:
        try:
            claimed = queue.claim_next(mine.task.queue, request.user)
            answer.next = None if claimed is None else _out(claimed)
        except MayNotWork as refusal:
            answer.next_refused = str(refusal)
    if told := gold.feedback(mine):
        answer.feedback = FeedbackOut(**asdict(told))
    return 201, answer


@router.put("/claims/{claim_id}/answer", auth=WORK, response={200: LabelOut, **REFUSED})
def change_answer(request: HttpRequest, claim_id: int, body: AnswerIn) -> Any:
    """Put another answer in the place of the one you handed in, also later; what it said before stays as a revision."""
    mine = find_claim(request, claim_id)
    if mine.status != Claim.Status.SUBMITTED:
        raise ValueError("There is no answer to change: hand one in.")
    label = submit.label_of(mine)
    revise(label, request.user, second_look=body.second_look, **_answer(mine, body))
    return label_out(label)


@router.post("/claims/{claim_id}/undo", auth=WORK, response={200: ClaimOut, **REFUSED})
def undo(request: HttpRequest, claim_id: int) -> Any:
    """Take back what you handed in, until the task is closed: the claim is live, its label out of the count."""
    return _out(reopen(find_claim(request, claim_id), request.user))


@router.post("/claims/{claim_id}/release", auth=WORK, response={204: None, 409: ErrorOut, **REFUSED})
def release_claim(request: HttpRequest, claim_id: int, body: ReleaseIn | None = None) -> Any:
    """Give the task back. 409 when it is not yours any more or has your answer."""
    body = body or ReleaseIn()
    if not queue.release(find_claim(request, claim_id), reason=body.reason, skip=body.skip):
        return 409, {"detail": "This claim is over already."}
    return 204, None


@router.put("/claims/{claim_id}/draft", auth=WORK, response={200: DraftOut, 409: ErrorOut, **REFUSED})
def save_draft(request: HttpRequest, claim_id: int, body: DraftIn) -> Any:
    """Keep what was typed so far; any object will do."""
    return submit.save_draft(find_claim(request, claim_id), body.content)


def _answer(mine: Claim, body: AnswerIn) -> dict[str, Any]:
    """What the body says to a task of this kind. Raises ValueError when it is an answer to another kind."""
    if mine.task.kind == Kind.DEMONSTRATE:
        if body.text is None:
            raise ValueError("A demonstration needs 'text'.")
        return {"text": body.text, "reasoning": body.reasoning}
    if body.tiers is None:
        raise ValueError('A ranking needs \'tiers\', for example [["b"], ["a"]].')
    return {name: getattr(body, name) for name in RANKING}


def _out(found: Claim) -> ClaimOut:
    start = None
    if found.task.kind == Kind.DEMONSTRATE:
        start = draft_for(found.task.prompt, instrument_of(found.task.queue.project))
    return claim_out(found, queue.shown_answers(found), start)


def find_queue(request: HttpRequest, queue_id: int) -> Queue:
    facts = {"queue": statements.key(queue_id), "user": request.user.pk}
    row = statements.first(_FIND_QUEUE, facts, _QUEUE, _PROJECT)
    if row is None:
        raise Http404("There is no such queue, or you are not a member of its project.")
    found, found.project = row
    return found


def find_claim(request: HttpRequest, claim_id: int) -> Claim:
    """The caller's own claim in a project that they are still a member of, with all that an answer to it asks for."""
    facts = {"claim": statements.key(claim_id), "user": request.user.pk}
    row = statements.first(_FIND_CLAIM, facts, *_CLAIMED)
    if row is None:
        raise Http404("There is no such claim of yours.")
    found, task, task.prompt, task.queue, project, instrument, found.guideline, draft, gold_item = row
    task.queue.project = task.prompt.project = project
    if task.queue.kind == Kind.ADJUDICATE:  # it shows what others said, also to whoever was an expert when they took it
        member(request, project, EXPERTS)
    found.task, found.annotator = task, request.user
    if gold_item is not None:
        gold_item.task = task
    # Also where there is none: what is known to be missing is not asked for again.
    Project.instrument.related.set_cached_value(project, instrument)  # type: ignore[attr-defined]
    Claim.draft.related.set_cached_value(found, draft)  # type: ignore[attr-defined]
    Task.gold.related.set_cached_value(task, gold_item)  # type: ignore[attr-defined]
    return found


_QUEUE, _PROJECT = Part(Queue, "q"), Part(Project, "p")
_MEMBER = "EXISTS(SELECT 1 FROM studio_membership m WHERE m.project_id = q.project_id AND m.user_id = %(user)s)"
_FIND_QUEUE = f"""
SELECT {_QUEUE}, {_PROJECT} FROM annotation_queue q JOIN studio_project p ON p.id = q.project_id
WHERE q.id = %(queue)s AND {_MEMBER}
"""
_CLAIMED = (
    Part(Claim, "c"), Part(Task, "t"), Part(Prompt, "pr"), _QUEUE, _PROJECT, Part(Instrument, "i"),
    Part(Guideline, "g", "id", "project", "version"), Part(Draft, "d"), Part(Gold, "gold"),
)  # fmt: skip
_FIND_CLAIM = f"""
SELECT {", ".join(map(str, _CLAIMED))}
FROM annotation_claim c
JOIN annotation_task t ON t.id = c.task_id
JOIN annotation_prompt pr ON pr.id = t.prompt_id
JOIN annotation_queue q ON q.id = t.queue_id
JOIN studio_project p ON p.id = q.project_id
LEFT JOIN annotation_instrument i ON i.project_id = p.id
LEFT JOIN studio_guideline g ON g.id = c.guideline_id
LEFT JOIN annotation_draft d ON d.claim_id = c.id
LEFT JOIN annotation_gold gold ON gold.task_id = t.id
WHERE c.id = %(claim)s AND c.annotator_id = %(user)s AND {_MEMBER}
"""
