"""People of a project: where they stand, how they do, and their consent."""

from __future__ import annotations

from dataclasses import asdict
from datetime import date, datetime
from typing import Any, Literal

from ninja import Field, Schema

from annotation.api.schemas.shared import Body, IntervalOut, Text
from annotation.consent import Use
from annotation.models import Standing
from annotation.people import Board, Person, Portrait, Trial, Week
from annotation.statistics.habits import Habits

SHARES = ("longer", "first", "ties", "unchanged", "hasty")


class StandingOut(Schema):
    status: str = Field(..., description="active, warned, paused or excluded")
    reason: str
    changed_by: str | None = Field(..., description="Nobody: nobody has changed it, or a threshold did.")
    changed_at: datetime | None
    consent_withdrawn_at: datetime | None

    @classmethod
    def of(cls, standing: Standing) -> StandingOut:
        return cls(
            status=standing.status,
            reason=standing.reason,
            changed_by=standing.changed_by.username if standing.changed_by else None,
            changed_at=standing.changed_at if standing.pk else None,
            consent_withdrawn_at=standing.consent_withdrawn_at,
        )


class HabitsOut(Schema):
    """Shares of pairs or rankings, on the newest judgements."""

    rankings: int
    longer: IntervalOut | None = Field(..., description="Pairs won by the longer answer.")
    first: IntervalOut | None = Field(..., description="Pairs won by the answer shown first.")
    ties: IntervalOut | None
    unchanged: IntervalOut | None = Field(..., description="Rankings handed in in the order in which they were shown.")
    hasty: IntervalOut | None = Field(..., description="Rankings made in less than `hasty_below` seconds.")
    quartiles: list[float] | None = Field(..., description="Seconds: a quarter, half, three quarters are faster.")

    @classmethod
    def of(cls, habits: Habits) -> HabitsOut:
        shares = {name: IntervalOut.of(getattr(habits, name)) for name in SHARES}
        return cls(rankings=habits.rankings, quartiles=habits.quartiles and list(habits.quartiles), **shares)


class PersonOut(Schema):
    username: str
    name: str
    role: str | None = Field(..., description="Null: has left the project, or is known by a pseudonym only.")
    standing: StandingOut
    comparisons: int
    demonstrations: int
    week: int = Field(..., description="Labels in the last seven days.")
    skips: int
    handed_in: int = Field(..., description="Claims that ended in a judgement.")
    agreement: dict[str, Any] | None = Field(..., description="With others who ranked the same answers.")
    gold: IntervalOut | None = Field(..., description="Mean accuracy on items whose right order is known.")
    habits: HabitsOut

    @classmethod
    def of(cls, person: Person) -> PersonOut:
        return cls(
            username=person.user.username,
            name=person.user.display_name,
            role=person.membership.role if person.membership else None,
            standing=StandingOut.of(person.standing),
            agreement=person.agreement.as_dict() if person.agreement else None,
            gold=IntervalOut.of(person.gold),
            habits=HabitsOut.of(person.habits),
            **{name: getattr(person, name) for name in COUNTS},
        )


COUNTS = ("comparisons", "demonstrations", "week", "skips", "handed_in")


class PeopleOut(Schema):
    people: list[PersonOut]
    imported_accounts: int = Field(..., description="Accounts that stand for imported files; not among `people`.")
    imported_labels: int
    everybody: HabitsOut = Field(..., description="Of the whole project.")
    hasty_below: float
    judgements: int = Field(..., description="From how many of the newest judgements habits and agreement are read.")
    is_cut: bool = Field(..., description="There are older ones.")

    @classmethod
    def of(cls, board: Board) -> PeopleOut:
        return cls(
            people=[PersonOut.of(person) for person in board.people],
            imported_accounts=len(board.imported),
            imported_labels=sum(each.labels for each in board.imported),
            everybody=HabitsOut.of(board.everybody),
            hasty_below=board.hasty_below,
            judgements=board.window,
            is_cut=board.is_cut,
        )


class WeekOut(Schema):
    start: date = Field(..., description="A Monday.")
    labels: int
    seconds: float | None = Field(..., description="The median of a label.")
    gold: IntervalOut | None

    @classmethod
    def of(cls, week: Week) -> WeekOut:
        return cls(**{**asdict(week), "gold": IntervalOut.of(week.gold)})


class TrialOut(Schema):
    queue: int
    done: int
    mean: float
    state: str = Field(..., description="failed, under way or passed")

    @classmethod
    def of(cls, trial: Trial) -> TrialOut:
        return cls(queue=trial.queue.pk, done=trial.done, mean=trial.mean, state=trial.state)


class PortraitOut(Schema):
    person: PersonOut
    everybody: HabitsOut
    hasty_below: float
    weeks: list[WeekOut]
    trials: list[TrialOut] = Field(..., description="Trial rounds that the person has begun.")

    @classmethod
    def of(cls, portrait: Portrait) -> PortraitOut:
        return cls(
            person=PersonOut.of(portrait.person),
            everybody=HabitsOut.of(portrait.everybody),
            hasty_below=portrait.hasty_below,
            weeks=[WeekOut.of(week) for week in portrait.weeks],
            trials=[TrialOut.of(trial) for trial in portrait.trials],
        )


class StandingIn(Body):
    status: Literal["active", "warned", "paused", "excluded"]
    reason: Text = Field("", max_length=300, description="The person reads it; only `active` needs none.")


class UseOut(Schema):
    id: int
    kind: str
    name: str | None = Field(..., description="Of a model: told to engineers and owners only.")
    labels: int = Field(..., description="How many of the person's labels went into it.")

    @classmethod
    def of(cls, use: Use, *, tells_name: bool = True) -> UseOut:
        artifact = use.artifact
        name = artifact.name if tells_name else None
        return cls(id=artifact.pk, kind=artifact.kind, name=name, labels=use.labels)


class ConsentOut(Schema):
    username: str
    withdrawn_at: datetime | None = Field(..., description="Null: the consent stands.")
    reason: str
    labels: dict[str, int] = Field(..., description="By kind; withdrawn ones are not counted.")
    datasets: list[UseOut]
    models: list[UseOut]


class ConsentIn(Body):
    reason: Text = Field("", max_length=300, description="Owners say how the person asked for it.")
