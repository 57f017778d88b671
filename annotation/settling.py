"""Tasks on which people disagree, and settling them: one more ranking, by somebody who has not judged the task.

The adjudicated comparison is the one whose task `adjudicates` another; the originals stay as they are.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from django.db import IntegrityError, transaction
from django.db.models import Count, Exists, OuterRef, Q, QuerySet, Subquery

from annotation.comparisons import Tiers, outcome
from annotation.journal import record
from annotation.models import Claim, Comparison, Completion, Gold, Kind, Queue, Task, TaskCompletion
from annotation.standing import is_shut_out
from annotation.tasks import add_tasks, find_queue
from studio.models import Project, User

WINDOW = 5000  # judged tasks that are looked through at a time, newest first


def disagreement(rankings: Sequence[Tiers]) -> float | None:
    """How far rankings of the same answers are apart: 0 the same, 1 each the reverse of the other.

    The mean, over pairs of rankings and pairs of answers that both rank, of 1 for opposite orders and ½ where one sees
    a tie and the other does not: Kendall's distance with penalty ½ (Fagin et al. 2004), normalised. None: no such pair.

    >>> disagreement([[[1], [2]], [[1], [2]], [[2], [1]]])  # of three pairs of people, two differ
    0.6666666666666666
    """
    distances = []
    for one, other in combinations(rankings, 2):
        answers = sorted({a for tier in one for a in tier} & {a for tier in other for a in tier})
        distances += [abs(_order(one, a, b) - _order(other, a, b)) for a, b in combinations(answers, 2)]
    return sum(distances) / len(distances) if distances else None


def _order(tiers: Tiers, a: int, b: int) -> float:
    order = outcome(tiers, a, b)
    assert order is not None
    return order


@dataclass
class Dispute:
    """A task whose judgements are not the same."""

    task: Task
    value: float  # of `disagreement`
    judgements: list[Comparison] = field(default_factory=list)
    adjudication: Task | None = None  # open or done

    @property
    def settled(self) -> Comparison | None:
        """The comparison that settled it."""
        if self.adjudication is None:
            return None
        return next((c for c in self.adjudication.comparisons.all() if not c.is_withdrawn), None)


def counted(project: Project | None = None) -> QuerySet[Comparison]:
    """The judgements that say whether people disagree, as in `annotation.agreement`."""
    away = is_shut_out(project or OuterRef("prompt__project"))
    return Comparison.objects.filter(~away, withdrawn_at=None, surplus=False)


def judged_tasks(project: Project, before: int | None = None, limit: int = WINDOW) -> list[int]:
    """Ids of the newest ranking tasks (below id `before`) that have two judgements or more.

    A walk back along the tasks that ends at `limit`: what it costs does not grow with the tasks behind.
    """
    given = counted(project).filter(task=OuterRef("pk")).order_by("pk")
    found = Task.objects.filter(
        ~Exists(Gold.objects.filter(task=OuterRef("pk"))),
        queue__in=list(project.queues.filter(kind=Kind.RANK).values_list("pk", flat=True)),
        adjudicates=None,
    )
    if before is not None:
        found = found.filter(pk__lt=before)
    several = found.annotate(second=Subquery(given.values("pk")[1:2])).filter(second__isnull=False)
    return list(several.order_by("-pk").values_list("pk", flat=True)[:limit])


@dataclass(frozen=True)
class Measured:
    """How far apart the judgements of one task are, without loading them."""

    task: int
    cluster: str
    value: float
    judgements: int
    is_sent: bool  # to adjudication


def measure(tasks: Sequence[int]) -> list[Measured]:
    """The disagreement of each of these tasks, the largest first; tasks without a common pair are left out.

    One query; only ids and tiers are read. At most `WINDOW` tasks.
    """
    rankings: dict[int, list[Tiers]] = defaultdict(list)
    facts: dict[int, tuple[str, bool]] = {}
    sent = Exists(Task.objects.filter(adjudicates=OuterRef("task")).exclude(status=Task.Status.WITHDRAWN))
    rows = counted().filter(task__in=tasks).order_by().annotate(sent=sent)
    for task, tiers, cluster, is_sent in rows.values_list("task", "tiers", "prompt__cluster", "sent"):
        rankings[task].append(tiers)
        facts[task] = (cluster, is_sent)
    measured = [
        Measured(task, facts[task][0], value, len(given), facts[task][1])
        for task, given in rankings.items()
        if (value := disagreement(given)) is not None
    ]
    return sorted(measured, key=lambda m: (-m.value, -m.task))


@dataclass(frozen=True)
class Slice:
    """The judged tasks of one cluster of prompts."""

    cluster: str
    tasks: int
    disputed: int  # not unanimous
    mean: float


def slices(measured: Iterable[Measured]) -> list[Slice]:
    """Disagreement by cluster, the largest mean first."""
    by_cluster: dict[str, list[float]] = defaultdict(list)
    for each in measured:
        by_cluster[each.cluster].append(each.value)
    found = [
        Slice(cluster, len(values), sum(v > 0 for v in values), sum(values) / len(values))
        for cluster, values in by_cluster.items()
    ]
    return sorted(found, key=lambda s: (-s.mean, s.cluster))


def disputes(measured: Sequence[Measured]) -> list[Dispute]:
    """The tasks with their judgements and adjudication, in the given order. Five queries."""
    ids = [m.task for m in measured]
    tasks = Task.objects.filter(pk__in=ids).select_related("prompt", "queue").in_bulk()
    given: dict[int, list[Comparison]] = defaultdict(list)
    rows = counted().filter(task__in=ids).select_related("annotator")
    for comparison in rows.order_by("id"):
        given[comparison.task_id].append(comparison)
    again = Task.objects.filter(adjudicates__in=ids).exclude(status=Task.Status.WITHDRAWN)
    adjudications = {t.adjudicates_id: t for t in again.prefetch_related("comparisons__annotator")}
    return [Dispute(tasks[m.task], m.value, given[m.task], adjudications.get(m.task)) for m in measured]


# Sending them on


@transaction.atomic
def send_to_adjudication(
    project: Project, tasks: Sequence[int], by: User, *, priority: int = 0, at_least: int = 2
) -> list[Task]:
    """One task to settle each of these, in the project's queue for it; the answers will be shuffled anew.

    `at_least` says how many judgements a task must have: one, where its own maker doubts it. Raises ValueError when a
    task has fewer, or is being settled already.
    """
    if not tasks:
        raise ValueError("Choose at least one task to send to adjudication.")
    found = {
        task.pk: task
        for task in Task.objects.filter(pk__in=set(tasks), queue__project=project, queue__kind=Kind.RANK, gold=None)
        .annotate(judgements=Count("comparisons", filter=Q(comparisons__withdrawn_at=None)))
        .filter(judgements__gte=at_least)
        .select_related("prompt", "round")
    }
    missing = set(tasks) - set(found)
    if missing:
        raise ValueError(f"Task {min(missing)} has no two judgements that could disagree.")
    if Task.objects.filter(adjudicates__in=found).exclude(status=Task.Status.WITHDRAWN).exists():
        raise ValueError("One of these tasks has been sent to adjudication already. Reload and choose again.")
    originals = [found[pk] for pk in dict.fromkeys(tasks)]
    queue = adjudication_queue(project)
    completions = _answers(originals)
    made = add_tasks(queue, [(task.prompt, completions[task.pk]) for task in originals], priority=priority)
    try:
        for new, original in zip(made, originals, strict=True):
            Task.objects.filter(pk=new.pk).update(adjudicates=original, round=original.round)
            new.adjudicates = original
            record(project, by, "sent to adjudication", original, adjudication=new.pk)
    except IntegrityError as error:
        raise ValueError("Somebody sent one of these tasks to adjudication at the same moment.") from error
    return made


def adjudication_queue(project: Project) -> Queue:
    return find_queue(project, Kind.ADJUDICATE)


def _answers(tasks: Sequence[Task]) -> dict[int, list[Completion]]:
    answers: dict[int, list[Completion]] = defaultdict(list)
    rows = TaskCompletion.objects.filter(task__in=[t.pk for t in tasks]).select_related("completion")
    for offered in rows.order_by("task", "position"):
        answers[offered.task_id].append(offered.completion)
    return answers


# What the one who settles sees


@dataclass(frozen=True)
class EarlierJudgement:
    """A judgement of the task being settled, without its maker: in the letters of the one who looks."""

    words: str  # "B › A = C"
    strength: str
    rationale: str  # Markdown


def earlier_judgements(claim: Claim) -> list[EarlierJudgement]:
    """The judgements that this claim settles, in no order that tells who made them; empty for other work."""
    original = claim.task.adjudicates_id
    if original is None:
        return []
    letter = {pk: name.upper() for name, pk in claim.letters.items()}
    given = Comparison.objects.filter(task=original, withdrawn_at=None).order_by("-surplus")
    found = [
        EarlierJudgement(
            words=words_of(comparison, letter),
            strength=comparison.get_strength_display() or "",
            rationale=comparison.rationale,
        )
        for comparison in given
    ]
    return sorted(found, key=lambda judgement: (judgement.words, judgement.rationale))


def words_of(comparison: Comparison, letter: Mapping[int, str]) -> str:
    """A ranking in the given letters of its answers: "B › A = C (D not rankable)"."""
    words = " › ".join(" = ".join(sorted(letter[pk] for pk in tier)) for tier in comparison.tiers)
    left_out = ", ".join(sorted(letter[pk] for pk in comparison.unrankable))
    return f"{words or 'none'} ({left_out} not rankable)" if left_out else words
