"""How far a project's people agree, over its comparisons: in all, by slice, person, two people, time and item.

Left out are withdrawn and surplus judgements, gold items, adjudications (whoever settles has seen the others' answers)
and the labels of people who are excluded or took their consent back. What remains is compared where two people ranked
the same answers to the same prompt. `annotation.statistics.agreement` says how; here are the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
from django.core.cache import cache
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone
from redis.exceptions import ConnectionError as RedisUnreachable

from annotation.models import Comparison, Queue, Standing
from annotation.statistics.agreement import Agreement, measure, measure_raters
from annotation.statistics.rankings import BOTH_TIE, SAME, Ranking, Rankings, tabulate
from studio.models import Project, User

NEWEST = 50_000  # comparisons that are read at most
OWN = 300  # … of one person, for their own figure
SHOWN = 100  # slices, people, pairs of people and items that are listed at most: those with the most judgements
PERIODS = 60
KEPT_SECONDS = 600
MANY = 5_000  # comparisons from which on counting takes a while, so that figures are kept …
KEPT_WITH_MANY = 120  # … for so many seconds, whatever people do meanwhile


@dataclass(frozen=True)
class Slice:
    """Agreement within a part: a task cluster, a queue, a guideline version, one person against the others, …"""

    key: Any
    label: str
    agreement: Agreement

    def as_dict(self) -> dict[str, Any]:
        return {"key": self.key, "label": self.label, **self.agreement.as_dict()}


@dataclass(frozen=True)
class Period:
    start: date
    end: date  # the first day after it
    agreement: Agreement

    def as_dict(self) -> dict[str, Any]:
        return {"start": self.start.isoformat(), "end": self.end.isoformat(), **self.agreement.as_dict()}


@dataclass(frozen=True)
class Item:
    """One set of answers that several people ranked."""

    prompt: int
    answers: tuple[int, ...]
    judgements: int
    verdicts: int  # on two answers, compared between two people …
    percent: float  # … and the share of them that agree
    tau: float | None

    def as_dict(self) -> dict[str, Any]:
        return {
            "prompt": self.prompt, "answers": len(self.answers), "judgements": self.judgements,
            "percent_agreement": self.percent, "kendall_tau_b": self.tau, "n": self.verdicts,
        }  # fmt: skip


@dataclass(frozen=True)
class ProjectAgreement:
    overall: Agreement
    read: int  # comparisons of answers that more than one person ranked
    limit: int
    days: int | None
    queue: int | None
    step: str  # day, week or month: what a period is
    counted_at: datetime
    clusters: list[Slice] = field(default_factory=list)
    queues: list[Slice] = field(default_factory=list)
    guidelines: list[Slice] = field(default_factory=list)
    annotators: list[Slice] = field(default_factory=list)
    pairs: list[Slice] = field(default_factory=list)
    periods: list[Period] = field(default_factory=list)
    items: list[Item] = field(default_factory=list)  # those that people disagree on most

    @property
    def is_cut(self) -> bool:
        """There are older comparisons that were not read."""
        return self.read >= self.limit

    def of_annotator(self, user: User) -> Agreement | None:
        return next((s.agreement for s in self.annotators if s.key == user.pk), None)

    def as_dict(self) -> dict[str, Any]:
        """JSON-able. Intervals are 95 % bootstrap intervals over prompts; `n` says what a figure is counted on."""
        lists = ("clusters", "queues", "guidelines", "annotators", "pairs", "periods", "items")
        return {
            "comparisons": self.read,
            "newest_only": self.limit if self.is_cut else None,
            "days": self.days,
            "queue": self.queue,
            "counted_at": self.counted_at.isoformat(),
            "overall": self.overall.as_dict(),
            "step": self.step,
            **{name: [part.as_dict() for part in getattr(self, name)] for name in lists},
        }


def agreement_of(
    project: Project, *, queue: int | None = None, days: int | None = None, limit: int = NEWEST
) -> ProjectAgreement:
    """Agreement on the newest `limit` comparisons (of one queue, of the last `days`).

    Counted anew when something has happened to a label; of many comparisons at most every two minutes (`counted_at`
    says when). Raises ValueError for a queue of another project or days that are none.
    """
    if days is not None and not 1 <= days <= 36_500:
        raise ValueError("Days: a number between 1 and 36,500.")
    if queue is not None and not Queue.objects.filter(project=project, pk=queue).exists():
        raise ValueError("This project has no such queue.")
    key, state = f"agreement-{project.pk}-{queue}-{days}-{limit}", _state(project)
    kept = None
    with suppress(RedisUnreachable):  # without the cache it is counted each time
        kept = cache.get(key)
    if kept is not None:
        known_state, found = kept
        age = (timezone.now() - found.counted_at).total_seconds()
        if known_state == state or (found.read > MANY and age < KEPT_WITH_MANY):
            return found
    found = _compute(project, queue, days, limit)
    with suppress(RedisUnreachable):
        cache.set(key, (state, found), KEPT_SECONDS)
    return found


def agreement_with_others(project: Project, user: User) -> Agreement:
    """How far the newest comparisons of one person agree with everybody else's of the same answers.

    Its figures are None where nobody else has ranked what this person did.
    """
    own = counted(project).filter(annotator=user).order_by("-id").values_list("prompt", flat=True)[:OWN]
    rows = _read(counted(project).filter(prompt__in=list(own)), limit=OWN * 20)
    table = tabulate([row.ranking for row in rows])
    return _against_others(table, table.raters.index(user.pk) if user.pk in table.raters else -1)


def counted(project: Project) -> QuerySet[Comparison]:
    """The comparisons whose agreement counts."""
    away = Standing.objects.filter(
        Q(status=Standing.Status.EXCLUDED) | Q(consent_withdrawn_at__isnull=False),
        project=project,
        user=OuterRef("annotator"),
    )
    return Comparison.objects.filter(
        ~Exists(away),
        prompt__project=project,
        withdrawn_at=None,
        surplus=False,
        task__gold=None,
        task__adjudicates=None,
    )


def _state(project: Project) -> str:
    """Changes with every label and with everything that is done to one."""
    newest = Comparison.objects.filter(prompt__project=project).order_by("-id").values_list("pk", "created_at").first()
    entry = project.journal.values_list("pk", "at").first()
    standing = project.standings.order_by("-changed_at").values_list("pk", "changed_at").first()
    return "-".join(f"{pk}-{at.timestamp()}" for pk, at in filter(None, (newest, entry, standing))) or "nothing"


@dataclass(frozen=True)
class _Row:
    ranking: Ranking
    at: datetime
    cluster: str
    queue: int | None
    guideline: int | None


def _read(comparisons: QuerySet[Comparison], limit: int) -> list[_Row]:
    """The newest comparisons of prompts on which more than one person has judged, oldest first."""
    others = Comparison.everything.filter(prompt=OuterRef("prompt")).exclude(annotator=OuterRef("annotator"))
    columns = (
        "prompt", "annotator", "tiers", "unrankable", "created_at", "prompt__cluster", "task__queue",
        "guideline__version",
    )  # fmt: skip
    rows = comparisons.filter(Exists(others)).order_by("-id").values_list(*columns)[:limit]
    found = []
    for prompt, annotator, tiers, unrankable, at, cluster, queue, guideline in rows.iterator(chunk_size=5000):
        ranking = Ranking((), prompt, annotator, tiers, unrankable)
        found.append(_Row(ranking._replace(item=(prompt, *ranking.answers)), at, cluster, queue, guideline))
    return found[::-1]


def _compute(project: Project, queue: int | None, days: int | None, limit: int) -> ProjectAgreement:
    comparisons = counted(project)
    if queue is not None:
        comparisons = comparisons.filter(task__queue=queue)
    if days is not None:
        comparisons = comparisons.filter(created_at__gte=timezone.now() - timedelta(days=days))
    rows = _read(comparisons, limit)
    table = tabulate([row.ranking for row in rows])
    kept = [rows[i] for i in table.source_R]
    queues = dict(project.queues.values_list("pk", "name"))
    step, periods = _periods(table, kept)
    return ProjectAgreement(
        overall=measure(table),
        read=len(rows),
        limit=limit,
        days=days,
        queue=queue,
        step=step,
        counted_at=timezone.now(),
        clusters=_slices(table, [row.cluster for row in kept], lambda name: name or "No cluster"),
        queues=_slices(table, [row.queue for row in kept], lambda pk: queues.get(pk, "Imported, in no queue")),
        guidelines=_slices(
            table, [row.guideline for row in kept], lambda n: "No guideline" if n is None else f"Version {n}"
        ),
        annotators=_annotators(table),
        pairs=_pairs(table),
        periods=periods,
        items=_items(table),
    )


def _slices(table: Rankings, keys: list[Any], label: Callable[[Any], str]) -> list[Slice]:
    """Agreement among the rankings of each key, those with the most rankings first."""
    index = {key: code for code, key in enumerate(dict.fromkeys(keys))}
    codes = np.array([index[key] for key in keys], dtype=np.int64)
    sizes = np.bincount(codes, minlength=len(index))
    largest = sorted(index, key=lambda key: (-sizes[index[key]], label(key)))[:SHOWN]
    found = [Slice(key, label(key), measure(table, codes == index[key])) for key in largest]
    return [part for part in found if part.agreement.percent]


def _names(pks: Iterable[int]) -> dict[int, str]:
    return {user.pk: user.display_name for user in User.objects.filter(pk__in=list(pks))}


def _annotators(table: Rankings) -> list[Slice]:
    names = _names(table.raters)
    sizes = np.bincount(table.rater_R, minlength=len(table.raters))
    busiest = np.argsort(-sizes, kind="stable")[:SHOWN]
    found = [
        Slice(table.raters[code], names[table.raters[code]], _against_others(table, int(code))) for code in busiest
    ]
    return [part for part in found if part.agreement.percent]


def _against_others(table: Rankings, rater: int) -> Agreement:
    left = table.rater_R[table.left_P] == rater
    right = table.rater_R[table.right_P] == rater
    pairs = np.flatnonzero(left | right)
    return measure_raters(table, pairs, right[pairs])


def _pairs(table: Rankings) -> list[Slice]:
    """Two people each, those with the most in common first."""
    names = _names(table.raters)
    left, right = table.rater_R[table.left_P], table.rater_R[table.right_P]
    swapped = left > right
    both = np.where(swapped, right, left) * len(table.raters) + np.where(swapped, left, right)
    keys, sizes = np.unique(both, return_counts=True)
    found = []
    for key in keys[np.argsort(-sizes, kind="stable")][:SHOWN]:
        pairs = np.flatnonzero(both == key)
        people = sorted((table.raters[code] for code in divmod(int(key), len(table.raters))), key=names.__getitem__)
        agreement = measure_raters(table, pairs, swapped[pairs])
        found.append(Slice(people, " and ".join(names[pk] for pk in people), agreement))
    return [part for part in found if part.agreement.percent]


def _periods(table: Rankings, kept: list[_Row]) -> tuple[str, list[Period]]:
    """Agreement on the items that were finished in each day, week or month; the newest of them."""
    if not kept:
        return "week", []
    days = np.array([timezone.localtime(row.at).date().toordinal() for row in kept])
    finished = np.zeros(len(table.items), dtype=np.int64)
    np.maximum.at(finished, table.item_R, days)
    of_ranking = finished[table.item_R]
    span = int(of_ranking.max() - of_ranking.min()) + 1
    step = "day" if span <= 31 else "week" if span <= 7 * PERIODS else "month"
    starts = np.array([_start(date.fromordinal(int(day)), step).toordinal() for day in of_ranking])
    found = []
    for start in np.unique(starts)[-PERIODS:]:
        first = date.fromordinal(int(start))
        agreement = measure(table, starts == start)
        if agreement.percent:
            found.append(Period(first, _next(first, step), agreement))
    return step, found


def _start(day: date, step: str) -> date:
    if step == "month":
        return day.replace(day=1)
    return day - timedelta(days=day.weekday()) if step == "week" else day


def _next(start: date, step: str) -> date:
    if step == "month":
        return (start + timedelta(days=31)).replace(day=1)
    return start + timedelta(days=7 if step == "week" else 1)


def _items(table: Rankings) -> list[Item]:
    """Items on which people agree least."""
    if not len(table):
        return []
    of_pair = table.item_R[table.left_P]
    size = len(table.items)
    sums = np.column_stack([np.bincount(of_pair, weights=c, minlength=size) for c in table.pair_counts.T])
    verdicts = sums.sum(axis=1)
    with np.errstate(invalid="ignore"):
        percent = (sums[:, SAME] + sums[:, BOTH_TIE]) / verdicts
    judgements = np.bincount(table.item_R, minlength=size)
    order = np.lexsort((-judgements, percent))[:SHOWN]
    return [
        _item(table, int(code), int(judgements[code]), int(verdicts[code]), float(percent[code]))
        for code in order
        if verdicts[code] and percent[code] < 1
    ]


def _item(table: Rankings, code: int, judgements: int, verdicts: int, percent: float) -> Item:
    prompt, *answers = table.items[code]  # type: ignore[misc]
    tau = measure(table, table.item_R == code, resamples=0).tau
    return Item(prompt, tuple(answers), judgements, verdicts, percent, tau.value if tau else None)
