"""Acts of leads on queues and tasks: what is held or judged stays, what is free changes, all is written down."""

from __future__ import annotations

import pytest

from annotation import lead
from annotation.models import Claim, Draft, JournalEntry, Kind, Queue, Slot, Task
from annotation.queue import claim_next, claim_task, release
from annotation.submit import submit_ranking


def acts() -> list[str]:
    return list(JournalEntry.objects.order_by("id").values_list("act", flat=True))


def statuses(task: Task) -> list[str]:
    return sorted(Slot.objects.filter(task=task).values_list("status", flat=True))


def test_a_queue_with_its_settings(project, owner, sme):
    made = lead.create_queue(
        project, owner, kind=Kind.RANK, name="Decorators", skill="python", people=[sme], gold_rate=0.1, warn_below=0.7
    )
    assert (made.skill, made.gold_rate, list(made.people.all())) == ("python", 0.1, [sme])
    lead.change_queue(made, owner, skill="", people=[])
    assert (Queue.objects.get().skill, made.people.count()) == ("", 0)
    assert acts() == ["queue made", "queue changed"]
    assert JournalEntry.objects.first().detail["changed"] == ["skill"]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"name": " "}, "Give the queue a name"),
        ({"kind": "review"}, "for demonstrations or rankings"),
        ({"lease_minutes": 0}, "1 minute to 7 days"),
        ({"gold_rate": 0.6}, "0 to 0.5"),
        ({"calibration_pass": 1.1}, "trial round"),
        ({"warn_below": 0.5, "pause_below": 0.6}, "warn below the highest"),
        ({"exclude_below": -1}, "shares from 0 to 1"),
        ({"order": "uncertain"}, "choose the reward model"),
    ],
)
def test_settings_that_do_not_fit(project, owner, settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        lead.create_queue(project, owner, **{"kind": Kind.RANK, "name": "Decorators"} | settings)
    assert not Queue.objects.exists()


def test_names_and_people(project, owner, outsider):
    lead.create_queue(project, owner, kind=Kind.RANK, name="Decorators")
    with pytest.raises(ValueError, match="already"):
        lead.create_queue(project, owner, kind=Kind.RANK, name="Decorators")
    with pytest.raises(ValueError, match="not a member"):
        lead.create_queue(project, owner, kind=Kind.RANK, name="Generators", people=[outsider])
    assert Queue.objects.count() == 1


def test_releasing_what_somebody_holds(rank_queue, annotator, owner):
    claim = claim_next(rank_queue, annotator)
    Draft.objects.create(claim=claim, content={"fields": {}})
    lead.release_claim(claim, owner, "On leave")
    claim.refresh_from_db()
    assert (claim.status, claim.reason) == ("released", "On leave")
    assert statuses(claim.task) == ["free", "free"]
    assert Draft.objects.filter(claim=claim).exists()
    entry = JournalEntry.objects.get(act="released")
    assert (entry.actor, entry.person, entry.task) == (owner, annotator, claim.task)
    with pytest.raises(ValueError, match="over already"):
        lead.release_claim(claim, owner)


def test_keeping_a_place_for_somebody(rank_queue, annotator, sme, engineer, owner):
    """Overlap 2: one place is kept for the SME, the other is everybody's, and a third person gets nothing."""
    task = rank_queue.tasks.first()
    lead.assign(task, sme, owner)
    assert claim_task(task, annotator) is not None
    assert claim_task(task, engineer) is None
    assert claim_next(rank_queue, sme).task == task  # what is kept for a person comes first
    with pytest.raises(ValueError, match="works on this task"):
        lead.assign(task, sme, owner)
    with pytest.raises(ValueError, match="No place of this task is free"):
        lead.assign(task, engineer, owner)


def test_what_was_kept_is_opened_again(rank_queue, annotator, sme, outsider, owner):
    task = rank_queue.tasks.first()
    lead.assign(task, sme, owner)
    lead.assign(task, None, owner)
    assert not Slot.objects.exclude(assignee=None).exists()
    assert Task.objects.get(pk=task.pk).assignee is None
    with pytest.raises(ValueError, match="not a member"):
        lead.assign(task, outsider, owner)


def test_set_aside_and_put_back(rank_queue, annotator, sme, owner):
    claim = claim_next(rank_queue, annotator)
    release(claim, skip="unusable", reason="Both answers are empty")
    task = Task.objects.get(pk=claim.task_id)
    assert (task.status, statuses(task)) == ("held", ["withdrawn", "withdrawn"])
    lead.put_back(task, owner)
    assert (Task.objects.get(pk=task.pk).status, statuses(task)) == ("open", ["free", "free"])
    assert claim_task(task, sme) is not None
    with pytest.raises(ValueError, match="not set aside"):
        lead.put_back(task, owner)


def test_taking_out_keeps_what_was_judged(rank_queue, annotator, owner):
    claim = claim_next(rank_queue, annotator)
    submit_ranking(claim, [["a"], ["b"], ["c"]])
    lead.take_out(claim.task, owner, "Duplicate")
    assert (Task.objects.get(pk=claim.task_id).status, statuses(claim.task)) == ("withdrawn", ["done", "withdrawn"])
    assert Claim.objects.get(pk=claim.pk).status == "submitted"
    with pytest.raises(ValueError, match="over already"):
        lead.take_out(claim.task, owner)


def test_priority_comes_first(rank_queue, annotator, owner):
    last = rank_queue.tasks.last()
    lead.set_priority(last, 7, owner)
    assert claim_next(rank_queue, annotator).task == last
    assert JournalEntry.objects.get(act="priority set").detail == {"before": 0, "priority": 7}
    with pytest.raises(ValueError, match="-1,000 to 1,000"):
        lead.set_priority(last, 5000, owner)
