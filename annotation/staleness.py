"""Labels that newer guidelines made stale, and asking for them again.

A label is stale when a version that is not minor was published after the one it was made under. It stays as it is and
stays usable; what a lead may do is put the same prompt and answers before people again, once a label and version.
Left out are withdrawn and surplus labels, those of people who are excluded or took their consent back, blind reviews
(they are over), gold items (their answer is known) and imported labels (whose guidelines were others).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Count, Exists, OuterRef, Q, QuerySet, Subquery

from annotation.journal import record
from annotation.models import Comparison, Completion, Demonstration, Kind, Queue, Repeat
from annotation.standing import is_shut_out
from annotation.tasks import add_tasks, find_queue
from studio.models import Guideline, Project, User

AT_ONCE = 2000  # labels that one request asks for again
BATCH = 200  # tasks a transaction
MOST_PLACES = 100  # of one task
KINDS: dict[str, type[Comparison] | type[Demonstration]] = {
    "comparison": Comparison,
    "demonstration": Demonstration,
}


@dataclass(frozen=True)
class Stale:
    """Stale labels of one kind, version and queue."""

    kind: str
    version: int | None  # None: made before there were guidelines
    queue: int | None  # None: made outside of a queue
    queue_name: str
    labels: int
    asked: int  # of them, how many people were asked for again because of the version in force

    @property
    def waiting(self) -> int:
        return self.labels - self.asked

    @property
    def key(self) -> str:
        """Names the group in a form: kind, version, queue."""
        return f"{self.kind}-{self.version or 0}-{self.queue or 0}"


def decisive_version(project: Project) -> Guideline | None:
    """The newest version that is not minor: labels of older ones are stale."""
    return project.guidelines.filter(is_minor=False).order_by("-version").first()


def stale_since() -> Subquery:
    """An expression on labels: the number of the first version that made each stale."""
    later = Guideline.objects.filter(
        project=OuterRef("guideline__project"), is_minor=False, version__gt=OuterRef("guideline__version")
    )
    return Subquery(later.order_by("version").values("version")[:1])


def stale_labels(project: Project, kind: str, guideline: Guideline) -> QuerySet[Any]:
    """The labels of a kind that `guideline` (a `decisive_version`) and those before it made stale."""
    own = Q(prompt__project=project, withdrawn_at=None, surplus=False, batch=None)
    older = Q(guideline__version__lt=guideline.version) | Q(guideline=None, claim__isnull=False)
    found = KINDS[kind].objects.filter(own, older, ~is_shut_out(project))
    if kind == "comparison":
        found = found.filter(review=None, task__gold=None)
    return found.order_by()


def stale_groups(project: Project, guideline: Guideline) -> list[Stale]:
    """Every group of stale labels, oldest version first."""
    groups = []
    for kind in KINDS:
        queue = _queue_of(kind)
        asked = Repeat.objects.filter(guideline=guideline, **{kind: OuterRef("pk")})
        rows = (
            stale_labels(project, kind, guideline)
            .annotate(is_asked=Exists(asked))
            .values("guideline__version", queue, f"{queue}__name")
            .annotate(labels=Count("pk"), asked=Count("pk", filter=Q(is_asked=True)))
        )
        groups += [
            Stale(kind, r["guideline__version"], r[queue], r[f"{queue}__name"] or "", r["labels"], r["asked"])
            for r in rows
        ]
    return sorted(groups, key=lambda g: (g.version or 0, g.kind, g.queue or 0))


def _queue_of(kind: str) -> str:
    """The path from a label to the queue that it was made in."""
    return "claim__task__queue" if kind == "demonstration" else "task__queue"


def ask_again(
    project: Project,
    guideline: Guideline,
    keys: Iterable[str],
    user: User,
    *,
    queue: Queue | None = None,
    same_people: bool = False,
    limit: int = AT_ONCE,
) -> tuple[int, int]:
    """Ask for the stale labels of these groups again: (labels, tasks) that were; at most `limit` labels.

    Into `queue`, or each into the one it came from. Labels of one task make one task of as many places; with
    `same_people` each makes a task kept for who made it. A label is asked for once because of a version, however often
    this is called. Raises ValueError when nothing is left or the queue is of another kind.
    """
    groups = {g.key: g for g in stale_groups(project, guideline)}
    chosen = [groups[key] for key in keys if key in groups]
    if not any(group.waiting for group in chosen):
        raise ValueError("Nothing is left to be asked for again in what you chose.")
    for group in chosen:
        _check_queue(project, group, queue)
    labels = tasks = 0
    for group in chosen:
        for batch in _batches(project, guideline, group, limit - labels, same_people):
            target = queue or _own_queue(project, group)
            try:
                tasks += _ask(guideline, group.kind, batch, target, user, same_people)
            except IntegrityError as error:
                raise ValueError("Somebody else asks for the same labels at this moment. Look again.") from error
            labels += sum(map(len, batch))
    return labels, tasks


def _check_queue(project: Project, group: Stale, queue: Queue | None) -> None:
    wanted = Kind.DEMONSTRATE if group.kind == "demonstration" else Kind.RANK
    if queue is not None and (queue.kind != wanted or queue.project_id != project.pk):
        raise ValueError(
            f"“{queue.name}” does not take {group.kind}s: choose another queue, or the ones they came from."
        )


def _own_queue(project: Project, group: Stale) -> Queue:
    """Where the labels came from; what was settled or made outside of a queue goes to the kind's own."""
    wanted = Kind.DEMONSTRATE if group.kind == "demonstration" else Kind.RANK
    found = Queue.objects.filter(pk=group.queue, kind=wanted).first() if group.queue else None
    return found or find_queue(project, wanted)


def _batches(
    project: Project, guideline: Guideline, group: Stale, limit: int, same_people: bool
) -> Iterator[list[list[Any]]]:
    """Batches of tasks-to-be, each the list of labels that it asks for again; at most `limit` labels in all."""
    asked = Repeat.objects.filter(guideline=guideline, **{group.kind: OuterRef("pk")})
    found = (
        stale_labels(project, group.kind, guideline)
        .filter(~Exists(asked), guideline__version=group.version, **{_queue_of(group.kind): group.queue})
        .select_related("prompt", "annotator")
        .order_by("prompt" if group.kind == "demonstration" else "task", "pk")
    )
    if group.kind == "comparison":
        found = found.prefetch_related("completions")
    labels = list(found[: max(0, limit)])
    works = [list(each) for _, each in groupby(labels, key=lambda label: label.pk if same_people else _work_of(label))]
    if len(labels) == limit and len(works) > 1:
        works.pop()  # it may have been cut in two; the next request takes it whole
    for start in range(0, len(works), BATCH):
        yield works[start : start + BATCH]


def _work_of(label: Any) -> tuple[str, int]:
    """Labels of one work are asked for by one task."""
    if isinstance(label, Demonstration):
        return "prompt", label.prompt_id
    return ("task", label.task_id) if label.task_id else ("label", label.pk)


@transaction.atomic
def _ask(
    guideline: Guideline, kind: str, works: Sequence[list[Any]], queue: Queue, user: User, same_people: bool
) -> int:
    """Make the tasks of one batch, with what they ask for again; how many there are."""
    members = set(guideline.project.memberships.values_list("user", flat=True)) if same_people else set()
    made = 0
    for (places, person), alike in _alike(works, members):
        tasks = add_tasks(
            queue, [(work[0].prompt, _answers(work[0])) for work in alike], overlap=places, assignee=person
        )
        made += len(tasks)
        for task, work in zip(tasks, alike, strict=True):
            for label in work:
                Repeat.objects.create(task=task, guideline=guideline, created_by=user, **{kind: label})
                record(guideline.project_id, user, "asked again", label, guideline=guideline.version, task=task.pk)
    return made


def _alike(works: Sequence[list[Any]], members: set[int]) -> Iterator[tuple[tuple[int, User | None], list[list[Any]]]]:
    """The works by how many places their tasks have and whom these are kept for: of those in `members`."""
    groups: dict[tuple[int, User | None], list[list[Any]]] = {}
    for work in works:
        person = work[0].annotator if work[0].annotator_id in members else None
        groups.setdefault((min(len(work), MOST_PLACES), person), []).append(work)
    yield from groups.items()


def _answers(label: Any) -> list[Completion]:
    if isinstance(label, Demonstration):
        return []
    return sorted(label.completions.all(), key=lambda completion: completion.pk)
