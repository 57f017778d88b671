"""How far queues are, and what waits in them, counted to a bound: a page about a million tasks costs what one about a
thousand does, and no counter has to be kept true.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from django.db.models import Case, Count, Exists, IntegerField, OuterRef, Q, QuerySet, Subquery, Value, When
from django.utils import timezone

from annotation.models import Claim, Gold, Kind, Queue, Skip, Slot
from studio.access import EXPERTS
from studio.models import Membership, Project, User

MANY = 1000  # counting ends here: MANY + 1 stands for "more than MANY"
PLACES = 2 * MANY  # free places looked at for the number of tasks that wait
IN_LINE = ("skill", "assignee_id", "-priority", "place")  # of one queue and status: as the index `slot_next` has them
NOT_AGAIN = (Skip.OTHERS, Skip.UNUSABLE)  # given back for good


class BoundedCount(Subquery):
    """How many rows the query has, of which it reads at most `bound`; or how many different values of `distinct`."""

    output_field = IntegerField()

    def __init__(self, queryset: QuerySet, bound: int = MANY + 1, distinct: str = ""):
        counted = f"DISTINCT counted.{distinct}" if distinct else "*"
        self.template = f"(SELECT COUNT({counted}) FROM (%(subquery)s) AS counted)"
        super().__init__(queryset.values(distinct or "pk")[:bound])


@dataclass(frozen=True)
class Progress:
    """Places of a queue's work by status, each counted to MANY + 1."""

    free: int = 0
    claimed: int = 0
    done: int = 0
    away: int = 0
    withdrawn: int = 0

    @property
    def total(self) -> int:
        return self.free + self.claimed + self.done + self.away

    @property
    def is_cut(self) -> bool:
        """More than was counted: `done` of `total` would mislead."""
        return max(self.free, self.claimed, self.done, self.away) > MANY


def _places_of_work() -> QuerySet[Slot]:
    """Without those of gold items: these are made as people meet them, so they would move the end as much as the work
    done, and tell people what they have just met."""
    return Slot.objects.exclude(task__in=Gold.objects.order_by().values("task"))


def progress(queue: Queue) -> dict[str, int]:
    """Places of the queue's work by status. Counts them all: not for pages about any queue."""
    counts = dict.fromkeys(Slot.Status.values, 0)
    found = _places_of_work().filter(queue=queue).order_by().values_list("status")
    counts.update(found.annotate(n=Count("id")))  # type: ignore[arg-type]
    return counts


def progress_of(queues: Iterable[Queue]) -> dict[int, Progress]:
    """For each queue id its work's places by status, to the bound. One query; a number reads MANY + 1 index entries,
    and those of gold that lie among them."""
    slots = _places_of_work().filter(queue=OuterRef("pk")).order_by(*IN_LINE)
    found = Queue.objects.filter(pk__in=[queue.pk for queue in queues]).order_by()
    counted = found.annotate(**{status: BoundedCount(slots.filter(status=status)) for status in Slot.Status.values})
    return {row.pop("pk"): Progress(**row) for row in counted.values("pk", *Slot.Status.values)}


def waiting_for(queues: Iterable[Queue], annotator: User) -> dict[int, int]:
    """For each queue id, how many tasks this annotator could still take, live claims included; MANY + 1: more.

    Counted over the first PLACES free places: many more with an overlap above 2 come out as fewer. Queues that are kept
    for others count what was begun alone. A gold item that was begun counts only where nothing else is left: the number
    would go up with it, and so tell it. Queues with nothing are left out. Two queries.
    """
    queues = list(queues)
    projects = {queue.project_id for queue in queues}
    member = Membership.objects.filter(user=annotator, project__in=projects)
    memberships = list(member.values_list("project", "role", "skills"))
    skills = {project: known for project, _, known in memberships}
    experts = {project for project, role, _ in memberships if role in EXPERTS}
    mine = Claim.objects.filter(task=OuterRef("task"), annotator=annotator)
    closed = mine.filter(Q(status__in=[Claim.Status.LIVE, Claim.Status.SUBMITTED]) | Q(skip__in=NOT_AGAIN))
    free = Slot.objects.filter(_for_person(annotator, skills), queue=OuterRef("pk"), status=Slot.Status.FREE)
    could = BoundedCount(free.filter(~Exists(closed)).order_by(*IN_LINE), PLACES, distinct="task_id")
    begun = Claim.objects.filter(task__queue=OuterRef("pk"), annotator=annotator, status=Claim.Status.LIVE)
    people = Queue.people.through.objects.filter(queue=OuterRef("pk"))
    for_them = [
        queue.pk
        for queue in queues
        if (not queue.skill or queue.skill in skills.get(queue.project_id, ()))
        and (queue.kind != Kind.ADJUDICATE or queue.project_id in experts)
    ]
    is_kept_from = Exists(people) & ~Exists(people.filter(user=annotator))
    found = Queue.objects.filter(pk__in=[queue.pk for queue in queues]).order_by()
    counted = found.annotate(
        could=Case(When(Q(pk__in=for_them) & ~is_kept_from, then=could), default=Value(0)),
        begun=BoundedCount(begun.order_by()),
        begun_work=BoundedCount(begun.filter(task__gold=None).order_by()),
    )
    rows = counted.values_list("pk", "could", "begun", "begun_work")
    sums = {pk: min(could + work or begun, MANY + 1) for pk, could, begun, work in rows}
    return {pk: n for pk, n in sums.items() if n}


def _for_person(annotator: User, skills: dict[int, Sequence[str]]) -> Q:
    """Free places that are kept for nobody else and ask for no skill that this person has not."""
    open_to = Q(skill="")
    for project, known in skills.items():
        if known:
            open_to |= Q(queue__project=project, skill__in=known)
    return Q(assignee=annotator) | Q(open_to, assignee=None)


def own_work(project: Project, user: User) -> dict[str, int]:
    """How much this person has handed in, in `all`, in the last `week` and in the last `day`, counted to MANY + 1."""
    mine = Claim.objects.filter(annotator=user, project=project, status=Claim.Status.SUBMITTED).order_by()
    now = timezone.now()
    wanted = {
        "all": mine,
        "week": mine.filter(finished_at__gte=now - timedelta(days=7)),
        "day": mine.filter(finished_at__gte=now - timedelta(days=1)),
    }
    counts = {name: BoundedCount(found) for name, found in wanted.items()}
    return User.objects.filter(pk=user.pk).values(**counts).get()
