"""The HTTP API that scripts and tools use: /api/v1, described by its openapi.json.

A program sends `Authorization: Bearer <token of a person>`; the pages use their session with a CSRF token. Each
endpoint looks at membership first (404 outside), then at the role (403).
"""

from __future__ import annotations

from typing import Any

from django.core.exceptions import PermissionDenied
from django.db.models import Count, OuterRef, Subquery
from django.http import Http404, HttpRequest, HttpResponse
from ninja import Header, NinjaAPI, Query
from ninja.security import HttpBearer, SessionAuth

from annotation import failures, queue, submit
from annotation.models import Claim, Completion, FailureClass, Kind, Prompt, Queue
from annotation.prompts import import_prompts
from annotation.schemas import (
    ClaimOut,
    DraftIn,
    DraftOut,
    ErrorOut,
    FailureClassIn,
    FailureClassOut,
    FailureExampleIn,
    FailureExampleOut,
    LabelOut,
    ProjectOut,
    PromptPage,
    PromptsImported,
    PromptsIn,
    QueueOut,
    ReleaseIn,
    SubmitIn,
    Text,
    claim_out,
    label_out,
    queue_out,
)
from studio.access import ENGINEERS, EXPERTS, find_membership
from studio.models import ApiToken, Guideline, Membership, Project, Role, User


class TokenAuth(HttpBearer):
    openapi_name = "token"

    def authenticate(self, request: HttpRequest, token: str) -> User | None:
        user = ApiToken.authenticate(token)
        if user is not None:
            request.user = user
        return user


class PageAuth(SessionAuth):
    """The pages' session, with a CSRF token. Without a session there is nothing to protect: 401, not 403."""

    def _get_key(self, request: HttpRequest) -> str | None:
        return super()._get_key(request) if request.user.is_authenticated else None


api = NinjaAPI(
    title="Studio",
    version="1",
    description=__doc__ or "",
    urls_namespace="api-v1",
    docs_url=None,  # its page needs inline styles, which our content security policy refuses
    auth=[TokenAuth(), PageAuth()],
)
REFUSED = {401: ErrorOut, 403: ErrorOut, 404: ErrorOut, 422: ErrorOut}


@api.exception_handler(ValueError)
def bad_input(request: HttpRequest, error: ValueError) -> HttpResponse:
    status = 409 if isinstance(error, submit.AlreadySubmitted) else 422
    return api.create_response(request, {"detail": str(error)}, status=status)


@api.exception_handler(PermissionDenied)
def refused(request: HttpRequest, error: PermissionDenied) -> HttpResponse:
    return api.create_response(request, {"detail": str(error)}, status=403)


def member(request: HttpRequest, project: Project | str, roles: tuple[Role, ...] = ()) -> Membership:
    """The caller's membership. Raises Http404 outside the project and PermissionDenied without one of the roles."""
    slug = project if isinstance(project, str) else project.slug
    membership = find_membership(request.user, slug)
    if membership is None:
        raise Http404("There is no such project, or you are not a member of it.")
    if roles and membership.role not in roles:
        raise PermissionDenied(f"This is for: {', '.join(Role(r).label for r in roles)}.")
    return membership


# Projects and prompts


@api.get("/projects", response={200: list[ProjectOut], 401: ErrorOut}, tags=["projects"])
def list_projects(request: HttpRequest) -> Any:
    """The projects that you are a member of, with your role."""
    newest = Guideline.objects.filter(project=OuterRef("project")).order_by("-version").values("version")[:1]
    memberships = Membership.objects.filter(user=request.user).select_related("project").order_by("project__name")
    return [
        ProjectOut(
            slug=m.project.slug,
            name=m.project.name,
            description=m.project.description,
            role=m.role,
            guideline_version=m.guideline_version,
        )
        for m in memberships.annotate(guideline_version=Subquery(newest))
    ]


@api.get("/projects/{slug}/guideline", response={200: dict[str, Any], **REFUSED}, tags=["projects"])
def read_guideline(request: HttpRequest, slug: Text) -> Any:
    """The guideline in force, in Markdown."""
    guideline = member(request, slug).project.guideline
    if guideline is None:
        raise Http404("This project has no guideline yet.")
    return {"version": guideline.version, "text": guideline.text}


@api.get("/projects/{slug}/prompts", response={200: PromptPage, **REFUSED}, tags=["prompts"])
def list_prompts(
    request: HttpRequest,
    slug: Text,
    limit: int = Query(100, ge=1, le=1000),
    offset: int = Query(0, ge=0, le=10_000_000),
    split: Text = "",
    cluster: Text = "",
) -> Any:
    """The project's prompts in the order they came."""
    membership = member(request, slug)
    told = membership.role in EXPERTS
    found = Prompt.objects.filter(project=membership.project)
    if split:
        if not told:
            raise PermissionDenied("Which prompts are held out is not told to annotators.")
        found = found.filter(split=split)
    if cluster:
        found = found.filter(cluster=cluster)
    items = list(found[offset : offset + limit])
    if not told:
        for prompt in items:  # not saved
            prompt.reference = prompt.split = None
    return {"count": found.count(), "items": items}


@api.post("/projects/{slug}/prompts", response={201: PromptsImported, **REFUSED}, tags=["prompts"])
def add_prompts(request: HttpRequest, slug: Text, body: PromptsIn) -> Any:
    """Add prompts, all or none; those that are there already are counted as known."""
    project = member(request, slug, ENGINEERS).project
    done = import_prompts(project, body.prompts, request.user, source=body.source, test_fraction=body.test_fraction)
    return 201, {"created": done.created, "known": done.known, "ids": [p.pk for p in done.prompts]}


# Work


@api.get("/queues", response={200: list[QueueOut], **REFUSED}, tags=["work"])
def list_queues(request: HttpRequest, project: Text = "") -> Any:
    """The open queues of your projects (or of one, by its slug)."""
    projects = [member(request, project).project] if project else list(request.user.projects.all())
    queues = list(Queue.objects.filter(project__in=projects, is_open=True).select_related("project"))
    waiting = queue.waiting_for(queues, request.user)
    return [queue_out(q, waiting.get(q.pk, 0)) for q in queues]


@api.post("/queues/{queue_id}/claim", response={200: ClaimOut, 204: None, **REFUSED}, tags=["work"])
def claim(request: HttpRequest, queue_id: int) -> Any:
    """Your next task, held for you until `expires_at`; the one you have begun comes first. 204: nothing for you now."""
    found = find_queue(request, queue_id)
    claimed = queue.claim_next(found, request.user)
    return (204, None) if claimed is None else (200, read_claim(claimed.pk))


@api.get("/claims/{claim_id}", response={200: ClaimOut, **REFUSED}, tags=["work"])
def show_claim(request: HttpRequest, claim_id: int) -> Any:
    """One of your claims with its task and your draft."""
    return read_claim(find_claim(request, claim_id).pk)


@api.post("/claims/{claim_id}/submit", response={201: LabelOut, 409: ErrorOut, **REFUSED}, tags=["work"])
def submit_claim(
    request: HttpRequest,
    claim_id: int,
    body: SubmitIn,
    idempotency_key: str = Header(..., alias="Idempotency-Key", min_length=1, max_length=100),
) -> Any:
    """Hand in your answer. The same key gives the same label again, and is refused with another answer.

    After the claim expired the answer still counts while the task has a free place, and is kept as surplus after that.
    """
    mine = find_claim(request, claim_id)
    if mine.task.kind == Kind.DEMONSTRATE:
        if body.text is None:
            raise ValueError("A demonstration needs 'text'.")
        label = submit.submit_demonstration(mine, body.text, reasoning=body.reasoning, key=idempotency_key)
    else:
        if body.tiers is None:
            raise ValueError('A ranking needs \'tiers\', for example [["b"], ["a"]].')
        label = submit.submit_ranking(
            mine,
            body.tiers,
            unrankable=body.unrankable,
            strength=body.strength,
            ratings=body.ratings,
            flags=body.flags,
            rationale=body.rationale,
            key=idempotency_key,
        )
    return 201, label_out(label)


@api.post("/claims/{claim_id}/release", response={204: None, 409: ErrorOut, **REFUSED}, tags=["work"])
def release_claim(request: HttpRequest, claim_id: int, body: ReleaseIn | None = None) -> Any:
    """Give the task back. 409 when it is not yours any more or has your answer."""
    body = body or ReleaseIn()
    if not queue.release(find_claim(request, claim_id), reason=body.reason, skip=body.skip):
        return 409, {"detail": "This claim is over already."}
    return 204, None


@api.put("/claims/{claim_id}/draft", response={200: DraftOut, 409: ErrorOut, **REFUSED}, tags=["work"])
def save_draft(request: HttpRequest, claim_id: int, body: DraftIn) -> Any:
    """Keep what was typed so far; any object will do."""
    return submit.save_draft(find_claim(request, claim_id), body.content)


def find_queue(request: HttpRequest, queue_id: int) -> Queue:
    found = Queue.objects.select_related("project").filter(pk=queue_id, project__members=request.user).first()
    if found is None:
        raise Http404("There is no such queue, or you are not a member of its project.")
    return found


def find_claim(request: HttpRequest, claim_id: int) -> Claim:
    """The caller's own claim in a project that they are still a member of."""
    mine = Claim.objects.filter(pk=claim_id, annotator=request.user, task__queue__project__members=request.user)
    found = mine.select_related("task__queue", "task__prompt", "guideline", "annotator").first()
    if found is None:
        raise Http404("There is no such claim of yours.")
    return found


def read_claim(claim_id: int) -> ClaimOut:
    found = Claim.objects.select_related("task__queue", "task__prompt", "guideline", "draft").get(pk=claim_id)
    return claim_out(found, queue.shown_answers(found))


# Failure classes


@api.get("/projects/{slug}/failure-classes", response={200: list[FailureClassOut], **REFUSED}, tags=["failures"])
def list_failure_classes(request: HttpRequest, slug: Text) -> Any:
    """The failure classes of the project with the number of their examples."""
    found = FailureClass.objects.filter(project=member(request, slug).project)
    return list(found.values("id", "name", "description", "severity").annotate(examples=Count("examples")))


@api.post("/projects/{slug}/failure-classes", response={201: FailureClassOut, **REFUSED}, tags=["failures"])
def add_failure_class(request: HttpRequest, slug: Text, body: FailureClassIn) -> Any:
    """A new failure class. For SMEs and engineers."""
    project = member(request, slug, EXPERTS).project
    made = failures.add_class(project, body.name, request.user, description=body.description, severity=body.severity)
    return 201, {
        "id": made.pk, "name": made.name, "description": made.description, "severity": made.severity, "examples": 0,
    }  # fmt: skip


@api.post("/failure-classes/{class_id}/examples", response={201: FailureExampleOut, **REFUSED}, tags=["failures"])
def add_failure_example(request: HttpRequest, class_id: int, body: FailureExampleIn) -> Any:
    """File a failing completion under a class, with what it should have said. For SMEs and engineers."""
    found = FailureClass.objects.select_related("project").filter(pk=class_id, project__members=request.user).first()
    if found is None:
        raise Http404("There is no such failure class, or you are not a member of its project.")
    member(request, found.project, EXPERTS)
    completion = find_failing_completion(request, found.project, body)
    made = failures.add_example(found, completion, request.user, correction=body.correction, reasoning=body.reasoning)
    return 201, {"id": made.pk, "failure_class": found.pk}


def find_failing_completion(request: HttpRequest, project: Project, body: FailureExampleIn) -> Completion:
    if body.claim is not None and body.answer is not None:
        letters = find_claim(request, body.claim).letters
        if body.answer not in letters:
            raise ValueError(f"There is no answer '{body.answer}': they are called {', '.join(letters)}.")
        wanted = letters[body.answer]
    elif body.completion is not None:
        wanted = body.completion
    else:
        raise ValueError("Name the completion: by 'claim' and 'answer' (its letter), or by 'completion' (its id).")
    found = Completion.objects.select_related("prompt").filter(pk=wanted, prompt__project=project).first()
    if found is None:
        raise Http404("There is no such completion in this project.")
    return found
