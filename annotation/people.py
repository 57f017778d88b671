"""Each person's work in figures: how much, how fast, how they agree with others and with gold, and their habits.

Habits are read from the newest judgements only, and say so; imported labels, which were never shown on our screen,
are left out of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from statistics import median
from typing import Any

from django.db.models import Avg, Count, Q
from django.db.models.functions import Length
from django.utils import timezone

from annotation.agreement import agreement_of, agreement_with_others
from annotation.models import Claim, Comparison, Completion, Demonstration, GoldResult, JournalEntry, Standing
from annotation.statistics.agreement import Agreement
from annotation.statistics.habits import Habits, Judged, habits, histogram
from annotation.statistics.intervals import Interval, wilson
from studio.models import Membership, Project, User

WINDOW = 10_000  # newest judgements of a project that habits are read from …
OWN = 2000  # … and of one person, for their own page
WEEKS = 12
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
class Board:
    people: list[Person]
    everybody: Habits  # of the whole project
    hasty_below: float  # seconds
    window: int  # judgements that habits were read from
    is_cut: bool  # there are older ones


def board(project: Project) -> Board:
    """Everybody who belongs to the project or has judged in it, those with most labels first. About ten queries."""
    judged = read_judged(project, limit=WINDOW)
    everybody, lengths, hasty_below = _everybody(judged)
    of_person: dict[int, list[Judged]] = defaultdict(list)
    for annotator, one in judged:
        of_person[annotator].append(one)
    counts = _counts(project)
    members = {m.user_id: m for m in project.memberships.select_related("user")}
    users = {m.user_id: m.user for m in members.values()}
    users |= User.objects.in_bulk([pk for pk in counts if pk not in users])
    standings = {s.user_id: s for s in project.standings.select_related("changed_by")}
    gold = _gold_accuracy(project, list(users))
    agreement = {part.key: part.agreement for part in agreement_of(project).annotators}
    people = [
        Person(
            user=user,
            membership=members.get(pk),
            standing=standings.get(pk) or Standing(project=project, user=user),
            agreement=agreement.get(pk),
            gold=gold.get(pk),
            habits=habits(of_person[pk], lengths, hasty_below),
            **(counts.get(pk) or dict.fromkeys(COUNTED, 0)),
        )
        for pk, user in users.items()
    ]
    people.sort(key=lambda p: (-p.labels, p.user.username))
    return Board(people, everybody, hasty_below, len(judged), len(judged) >= WINDOW)


COUNTED = ("comparisons", "demonstrations", "week", "skips", "handed_in")


def _counts(project: Project, user: User | None = None) -> dict[int, dict[str, int]]:
    """Labels, those of the last seven days, and claims that ended, by annotator. Three queries."""
    mine: dict[str, Any] = {"annotator": user} if user else {}
    week = Q(created_at__gte=timezone.now() - timedelta(days=7))
    counts: dict[int, dict[str, int]] = defaultdict(lambda: dict.fromkeys(COUNTED, 0))
    for name, model in (("comparisons", Comparison), ("demonstrations", Demonstration)):
        labels = model.objects.filter(prompt__project=project, withdrawn_at=None, **mine).order_by()
        for row in labels.values("annotator").annotate(n=Count("pk"), week=Count("pk", filter=week)):
            counts[row["annotator"]][name] = row["n"]
            counts[row["annotator"]]["week"] += row["week"]
    claims = Claim.objects.filter(task__queue__project=project, **mine).order_by()
    skipped, submitted = Q(status=Claim.Status.RELEASED) & ~Q(skip=""), Q(status=Claim.Status.SUBMITTED)
    ended = claims.values("annotator").annotate(
        skips=Count("pk", filter=skipped), handed_in=Count("pk", filter=submitted)
    )
    for row in ended:
        counts[row["annotator"]] |= {"skips": row["skips"], "handed_in": row["handed_in"]}
    return dict(counts)


def _gold_accuracy(project: Project, users: Sequence[int]) -> dict[int, Interval]:
    """Mean accuracy on gold of each person, trial rounds included. One query."""
    results = GoldResult.objects.filter(gold__task__queue__project=project, annotator__in=users).order_by()
    rows = results.values("annotator").annotate(n=Count("pk"), mean=Avg("accuracy"))
    return {row["annotator"]: wilson(min(row["mean"] * row["n"], row["n"]), row["n"]) for row in rows}


def read_judged(project: Project, user: User | None = None, limit: int = WINDOW) -> list[tuple[int, Judged]]:
    """The newest rankings made on our screen (of one person), with who made each. One query."""
    mine: dict[str, Any] = {"annotator": user} if user else {}
    found = Comparison.objects.filter(prompt__project=project, withdrawn_at=None, claim__isnull=False, **mine)
    rows = found.order_by("-id").values_list("annotator", "tiers", "shown_order", "seconds", "unchanged")[:limit]
    return [
        (annotator, Judged(tiers, shown, seconds, unchanged)) for annotator, tiers, shown, seconds, unchanged in rows
    ]


def lengths_of(judged: Iterable[Judged]) -> dict[int, int]:
    """Characters of each completion in these rankings."""
    ids = list({pk for one in judged for pk in one.shown})
    lengths: dict[int, int] = {}
    for start in range(0, len(ids), CHUNK):
        found = Completion.everything.filter(pk__in=ids[start : start + CHUNK]).order_by()
        lengths.update(found.annotate(length=Length("text")).values_list("pk", "length"))
    return lengths


def _everybody(judged: Sequence[tuple[int, Judged]]) -> tuple[Habits, dict[int, int], float]:
    """Habits of the whole project, the lengths they were read with, and below how many seconds is hasty."""
    every = [one for _, one in judged]
    lengths = lengths_of(every)
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


def portrait(project: Project, user: User, *, only_told: bool = False) -> Portrait:
    """Everything about one person; `only_told`: gold counts only where the person was told its result anyway."""
    everybody, _, hasty_below = _everybody(read_judged(project))
    own = [one for _, one in read_judged(project, user, OWN)]
    results = GoldResult.objects.filter(annotator=user, gold__task__queue__project=project)
    if only_told:
        results = results.filter(Q(is_calibration=True) | Q(gold__task__queue__gold_feedback=True))
    scores = list(results.order_by("id").values_list("created_at", "accuracy"))
    person = Person(
        user=user,
        membership=Membership.objects.filter(project=project, user=user).first(),
        standing=Standing.objects.filter(project=project, user=user).select_related("changed_by").first()
        or Standing(project=project, user=user),
        agreement=agreement_with_others(project, user),
        gold=_mean([accuracy for _, accuracy in scores]),
        habits=habits(own, lengths_of(own), hasty_below),
        **(_counts(project, user).get(user.pk) or dict.fromkeys(COUNTED, 0)),
    )
    return Portrait(
        person=person,
        everybody=everybody,
        hasty_below=hasty_below,
        times=histogram([one.seconds for one in own if one.seconds is not None]),
        weeks=_weeks(project, user, scores),
        trials=trials(project, user),
    )


def _mean(accuracies: Sequence[float]) -> Interval | None:
    return wilson(min(sum(accuracies), len(accuracies)), len(accuracies)) if accuracies else None


def _weeks(project: Project, user: User, scores: Sequence[tuple[Any, float]]) -> list[Week]:
    """The last `WEEKS` weeks, oldest first, empty ones included."""
    monday = timezone.localdate() - timedelta(days=timezone.localdate().weekday())
    starts = [monday - timedelta(weeks=n) for n in reversed(range(WEEKS))]
    made: dict[date, list[float | None]] = defaultdict(list)
    for model in (Comparison, Demonstration):
        labels = model.objects.filter(
            annotator=user, prompt__project=project, withdrawn_at=None, created_at__date__gte=starts[0]
        )
        for at, seconds in labels.order_by().values_list("created_at", "seconds"):
            made[_monday(at)].append(seconds)
    gold: dict[date, list[float]] = defaultdict(list)
    for at, accuracy in scores:
        gold[_monday(at)].append(accuracy)
    return [
        Week(
            start=start,
            labels=len(made[start]),
            seconds=median(times) if (times := [s for s in made[start] if s is not None]) else None,
            gold=_mean(gold[start]),
        )
        for start in starts
    ]


def _monday(at: Any) -> date:
    day = timezone.localtime(at).date()
    return day - timedelta(days=day.weekday())


def decisions_about(project: Project, user: User) -> list[JournalEntry]:
    """What was decided about a person, newest first."""
    return list(JournalEntry.objects.filter(project=project, person=user).select_related("actor")[:20])


# Trial rounds


@dataclass(frozen=True)
class Trial:
    """How far one person is with the trial round of one queue."""

    queue: Any
    user: User
    done: int
    mean: float

    @property
    def state(self) -> str:
        if self.done < self.queue.calibration_items:
            return "under way"
        return "passed" if self.mean >= self.queue.calibration_pass else "failed"


def trials(project: Project, user: User | None = None) -> list[Trial]:
    """Trial rounds that were begun, those that failed first. Three queries at most."""
    queues = {queue.pk: queue for queue in project.queues.filter(calibration_items__gt=0)}
    if not queues:
        return []
    results = GoldResult.objects.filter(gold__task__queue__in=queues, is_calibration=True).order_by()
    if user:
        results = results.filter(annotator=user)
    rows = list(results.values("gold__task__queue", "annotator").annotate(n=Count("pk"), mean=Avg("accuracy")))
    users = User.objects.in_bulk([row["annotator"] for row in rows])
    found = [Trial(queues[r["gold__task__queue"]], users[r["annotator"]], r["n"], r["mean"]) for r in rows]
    order = {"failed": 0, "under way": 1, "passed": 2}
    return sorted(found, key=lambda t: (order[t.state], t.queue.name, t.user.username))
