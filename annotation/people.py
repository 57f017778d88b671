"""Each person's work in figures: how much, how fast, how they agree with others and with gold, and their habits.

Habits are read from the newest judgements only, and say so; imported labels, which were never shown on our screen,
are left out of them. Who stands for an imported file alone is listed apart: nobody is behind such an account.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from statistics import median
from typing import Any

import numpy as np
from django.db.models import Avg, Count, Exists, OuterRef, Q
from django.db.models.functions import Length
from django.utils import timezone

from annotation.agreement import agreement_with_others
from annotation.models import Claim, Comparison, Completion, Demonstration, GoldResult, JournalEntry, Queue, Standing
from annotation.progress import BoundedCount
from annotation.standing import standing_of
from annotation.statistics.agreement import Agreement, measure_raters
from annotation.statistics.habits import Habits, Judged, habits, histogram
from annotation.statistics.intervals import Interval, wilson
from annotation.statistics.rankings import Ranking, tabulate
from studio.models import Membership, Project, User

WINDOW = 10_000  # newest judgements of a project that habits are read from …
OWN = 2000  # … and of one person, for their own page
WEEKS = 12
RESAMPLES = 200  # of agreement, one set a person
MANY = 1_000_000  # labels of one person are counted to here
CHUNK = 10_000  # completions whose lengths are asked for at a time
SLOWEST_HASTE = 0.25  # of the project's median time: what is faster counts as hasty
LEAST_HASTE = 2.0  # seconds; under it nobody has read anything


@dataclass(frozen=True)
class Person:
    """One row of the people page."""

    user: User
    membership: Membership | None  # None: has left the project, or is known by a pseudonym only
    standing: Standing
    comparisons: int
    demonstrations: int
    week: int  # labels in the last seven days
    skips: int
    handed_in: int  # claims that ended in a judgement
    agreement: Agreement | None
    gold: Interval | None  # mean accuracy
    habits: Habits

    @property
    def labels(self) -> int:
        return self.comparisons + self.demonstrations

    @property
    def skip_rate(self) -> Interval | None:
        """Skips among the claims that ended."""
        ended = self.skips + self.handed_in
        return wilson(self.skips, ended) if ended else None


@dataclass(frozen=True)
class Imported:
    """An account that stands for those behind an imported file."""

    user: User
    standing: Standing
    labels: int


@dataclass(frozen=True)
class Board:
    people: list[Person]
    imported: list[Imported]
    everybody: Habits  # of the whole project
    hasty_below: float  # seconds
    window: int  # judgements that habits were read from
    is_cut: bool  # there are older ones


def board(project: Project) -> Board:
    """Everybody who belongs to the project or has judged in it, those with most labels first. About ten queries.

    A vendor's people have claims, as those in Label Studio do, and stand among the others.

    Agreement is counted on the same newest rankings as habits are.
    """
    rows = read_judged(project, limit=WINDOW)
    everybody, lengths, hasty_below = _everybody(rows)
    of_person: dict[int, list[Judged]] = defaultdict(list)
    for row in rows:
        of_person[row.annotator].append(row.judged)
    counts = _counts(project)
    members = {m.user_id: m for m in project.memberships.select_related("user")}
    users = {m.user_id: m.user for m in members.values()}
    users |= User.objects.in_bulk([pk for pk in counts if pk not in users])
    standings = {s.user_id: s for s in project.standings.select_related("changed_by")}

    def standing(user: User) -> Standing:
        return standings.get(user.pk) or Standing(project=project, user=user)

    files = [user for pk, user in users.items() if user.is_pseudonym and not _has_worked(counts[pk])]
    imported = [Imported(user, standing(user), sum(counts[user.pk][name] for name in LABELS)) for user in files]
    for user in files:
        del users[user.pk]
    gold = _gold_accuracy(project, list(users))
    away = {pk for pk, s in standings.items() if s.status == s.Status.EXCLUDED or s.consent_withdrawn_at}
    agreement = _agreement([row for row in rows if row.annotator not in away])
    people = [
        Person(
            user=user,
            membership=members.get(pk),
            standing=standing(user),
            agreement=agreement.get(pk),
            gold=gold.get(pk),
            habits=habits(of_person[pk], lengths, hasty_below),
            **(counts.get(pk) or dict.fromkeys(COUNTED, 0)),
        )
        for pk, user in users.items()
    ]
    for shown in (people, imported):
        shown.sort(key=lambda each: (-each.labels, each.user.username))
    return Board(people, imported, everybody, hasty_below, len(rows), len(rows) >= WINDOW)


LABELS = {"comparisons": Comparison, "demonstrations": Demonstration}
COUNTED = (*LABELS, "week", "skips", "handed_in")
SKIPPED = Q(status=Claim.Status.RELEASED) & ~Q(skip="")
HANDED_IN = Q(status=Claim.Status.SUBMITTED)


def _counts(project: Project) -> dict[int, dict[str, int]]:
    """Labels, those of the last seven days, and claims that ended, by annotator. Three queries."""
    counts: dict[int, dict[str, int]] = defaultdict(lambda: dict.fromkeys(COUNTED, 0))
    for name, model in LABELS.items():
        labels = model.objects.filter(prompt__project=project, withdrawn_at=None).order_by()
        for row in labels.values("annotator").annotate(n=Count("pk"), week=Count("pk", filter=_this_week())):
            counts[row["annotator"]][name] = row["n"]
            counts[row["annotator"]]["week"] += row["week"]
    ended = Claim.objects.filter(project=project).order_by().values("annotator")
    for row in ended.annotate(skips=Count("pk", filter=SKIPPED), handed_in=Count("pk", filter=HANDED_IN)):
        if row["annotator"] in counts or _has_worked(row):  # not: a vendor's, still to be decided
            counts[row["annotator"]] |= {"skips": row["skips"], "handed_in": row["handed_in"]}
    return dict(counts)


def _has_worked(counts: dict[str, int]) -> bool:
    """Whether any claim of this person ended."""
    return bool(counts["handed_in"] or counts["skips"])


def _this_week() -> Q:
    return Q(created_at__gte=timezone.now() - timedelta(days=7))


def _gold_accuracy(project: Project, users: Sequence[int]) -> dict[int, Interval]:
    """Mean accuracy on gold of each person, trial rounds included. One query."""
    results = GoldResult.objects.filter(gold__task__queue__project=project, annotator__in=users).order_by()
    rows = results.values("annotator").annotate(n=Count("pk"), mean=Avg("accuracy"))
    return {row["annotator"]: wilson(min(row["mean"] * row["n"], row["n"]), row["n"]) for row in rows}


@dataclass(frozen=True)
class Row:
    """A ranking made on our screen."""

    annotator: int
    prompt: int
    unrankable: list[int]
    is_apart: bool  # gold or an adjudication: not compared with what others said
    judged: Judged

    @property
    def ranking(self) -> Ranking:
        found = Ranking((), self.prompt, self.annotator, self.judged.tiers, self.unrankable)
        return found._replace(item=(self.prompt, *found.answers))


def read_judged(project: Project, user: User | None = None, limit: int = WINDOW) -> list[Row]:
    """The newest rankings made on our screen (by one person). One query."""
    mine: dict[str, Any] = {"annotator": user} if user else {}
    found = Comparison.objects.filter(prompt__project=project, withdrawn_at=None, claim__isnull=False, **mine)
    columns = ("annotator", "prompt", "unrankable", "task__gold", "task__adjudicates")
    rows = found.order_by("-id").values_list(*columns, "tiers", "shown_order", "seconds", "unchanged")[:limit]
    return [
        Row(annotator, prompt, unrankable, bool(gold or adjudicates), Judged(*judged))
        for annotator, prompt, unrankable, gold, adjudicates, *judged in rows
    ]


def _agreement(rows: Sequence[Row]) -> dict[int, Agreement]:
    """How far each person agrees with the others who ranked the same answers."""
    table = tabulate([row.ranking for row in reversed(rows) if not row.is_apart])
    left, right = table.rater_R[table.left_P], table.rater_R[table.right_P]
    found = {}
    for code, annotator in enumerate(table.raters):
        pairs = np.flatnonzero((left == code) | (right == code))
        found[annotator] = measure_raters(table, pairs, right[pairs] == code, resamples=RESAMPLES)
    return found  # type: ignore[return-value]


def lengths_of(judged: Iterable[Judged]) -> dict[int, int]:
    """Characters of each completion in these rankings."""
    ids = list({pk for one in judged for pk in one.shown})
    lengths: dict[int, int] = {}
    for start in range(0, len(ids), CHUNK):
        found = Completion.everything.filter(pk__in=ids[start : start + CHUNK]).order_by()
        lengths.update(found.annotate(length=Length("text")).values_list("pk", "length"))
    return lengths


def _everybody(rows: Sequence[Row], more: Sequence[Judged] = ()) -> tuple[Habits, dict[int, int], float]:
    """Habits of the whole project, lengths of all answers (those of `more`, too), and what is hasty in seconds."""
    every = [row.judged for row in rows]
    lengths = lengths_of([*every, *more])
    times = [one.seconds for one in every if one.seconds is not None]
    hasty_below = max(LEAST_HASTE, SLOWEST_HASTE * median(times)) if times else LEAST_HASTE
    return habits(every, lengths, hasty_below), lengths, hasty_below


# One person


@dataclass(frozen=True)
class Week:
    """A week of one person's work; `start` is its Monday."""

    start: date
    labels: int
    seconds: float | None  # median
    gold: Interval | None


@dataclass(frozen=True)
class Portrait:
    """One person's page."""

    person: Person
    everybody: Habits
    hasty_below: float
    times: list[tuple[str, int]]  # histogram of the seconds a ranking took
    weeks: list[Week]
    trials: list[Trial]
    gold: list[GoldResult]  # newest first


def find_person(project: Project, user_id: int) -> User | None:
    """Somebody who belongs to the project or has judged in it."""
    judged = [
        Exists(model.objects.filter(annotator=OuterRef("pk"), prompt__project=project)) for model in LABELS.values()
    ]
    member = Exists(Membership.objects.filter(user=OuterRef("pk"), project=project))
    return User.objects.filter(member | judged[0] | judged[1], pk=user_id).first()


def portrait(project: Project, user: User, *, only_told: bool = False) -> Portrait:
    """Everything about one person; `only_told`: gold counts only where the person was told its result anyway."""
    rows, own = read_judged(project), [row.judged for row in read_judged(project, user, OWN)]
    everybody, lengths, hasty_below = _everybody(rows, own)
    results = GoldResult.objects.filter(annotator=user, gold__task__queue__project=project)
    if only_told:
        results = results.filter(Q(is_calibration=True) | Q(gold__task__queue__gold_feedback=True))
    scored = list(results.select_related("gold__task__queue", "gold__task__prompt").order_by("-id"))
    person = Person(
        user=user,
        membership=Membership.objects.filter(project=project, user=user).first(),
        standing=standing_of(project, user),
        agreement=agreement_with_others(project, user),
        gold=_mean([result.accuracy for result in scored]),
        habits=habits(own, lengths, hasty_below),
        **_counts_of(project, user),
    )
    return Portrait(
        person=person,
        everybody=everybody,
        hasty_below=hasty_below,
        times=histogram([one.seconds for one in own if one.seconds is not None]),
        weeks=_weeks(project, user, scored),
        trials=_trials_in(scored, user),
        gold=scored,
    )


def _counts_of(project: Project, user: User) -> dict[str, int]:
    """`_counts` of one person. One query."""
    claims = Claim.objects.filter(annotator=user, project=project)
    wanted = {"n_skips": claims.filter(SKIPPED), "n_handed_in": claims.filter(HANDED_IN)}
    for name, model in LABELS.items():
        labels = model.objects.filter(annotator=user, prompt__project=project, withdrawn_at=None)
        wanted |= {f"n_{name}": labels, f"week_{name}": labels.filter(_this_week())}
    counts = {name: BoundedCount(found, MANY) for name, found in wanted.items()}
    found = User.objects.filter(pk=user.pk).annotate(**counts).values(*counts).get()
    return {
        "week": sum(found[f"week_{name}"] for name in LABELS),
        **{name: found[f"n_{name}"] for name in (*LABELS, "skips", "handed_in")},
    }


def _mean(accuracies: Sequence[float]) -> Interval | None:
    return wilson(min(sum(accuracies), len(accuracies)), len(accuracies)) if accuracies else None


def _weeks(project: Project, user: User, scored: Sequence[GoldResult]) -> list[Week]:
    """The last `WEEKS` weeks, oldest first, empty ones included. One query."""
    monday = _monday(timezone.now())
    starts = [monday - timedelta(weeks=n) for n in reversed(range(WEEKS))]
    since = timezone.make_aware(datetime.combine(starts[0], time.min))
    mine = {"annotator": user, "prompt__project": project, "withdrawn_at": None, "created_at__gte": since}
    made: dict[date, list[float | None]] = defaultdict(list)
    labels = [model.objects.filter(**mine).order_by().values_list("created_at", "seconds") for model in LABELS.values()]
    for at, seconds in labels[0].union(labels[1], all=True):
        made[_monday(at)].append(seconds)
    gold: dict[date, list[float]] = defaultdict(list)
    for result in scored:
        gold[_monday(result.created_at)].append(result.accuracy)
    return [
        Week(
            start=start,
            labels=len(made[start]),
            seconds=median(times) if (times := [s for s in made[start] if s is not None]) else None,
            gold=_mean(gold[start]),
        )
        for start in starts
    ]


def _monday(at: datetime) -> date:
    day = timezone.localtime(at).date()
    return day - timedelta(days=day.weekday())


def decisions_about(project: Project, user: User) -> list[JournalEntry]:
    """What was decided about a person, newest first."""
    return list(JournalEntry.objects.filter(project=project, person=user).select_related("actor")[:20])


# Trial rounds

STATES = ("failed", "under way", "passed")


@dataclass(frozen=True)
class Trial:
    """How far one person is with the trial round of one queue."""

    queue: Queue
    user: User
    done: int
    mean: float

    @property
    def state(self) -> str:
        if self.done < self.queue.calibration_items:
            return "under way"
        return "passed" if self.mean >= self.queue.calibration_pass else "failed"


def trials(project: Project) -> list[Trial]:
    """Trial rounds that were begun, those that failed first. One query, three when there are any."""
    results = GoldResult.objects.filter(
        gold__task__queue__project=project, gold__task__queue__calibration_items__gt=0, is_calibration=True
    ).order_by()
    rows = list(results.values("gold__task__queue", "annotator").annotate(n=Count("pk"), mean=Avg("accuracy")))
    if not rows:
        return []
    queues = Queue.objects.in_bulk([row["gold__task__queue"] for row in rows])
    users = User.objects.in_bulk([row["annotator"] for row in rows])
    found = [Trial(queues[r["gold__task__queue"]], users[r["annotator"]], r["n"], r["mean"]) for r in rows]
    return sorted(found, key=lambda t: (STATES.index(t.state), t.queue.name, t.user.username))


def _trials_in(scored: Sequence[GoldResult], user: User) -> list[Trial]:
    """The same for one person, from their results."""
    by_queue: dict[int, list[GoldResult]] = defaultdict(list)
    for result in scored:
        if result.is_calibration and result.gold.task.queue.calibration_items:
            by_queue[result.gold.task.queue_id].append(result)
    return [
        Trial(results[0].gold.task.queue, user, len(results), sum(r.accuracy for r in results) / len(results))
        for results in by_queue.values()
    ]
