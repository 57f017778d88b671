"""Journal, stale labels, consent, second looks and effects on PostgreSQL, several people at once."""

from __future__ import annotations

import json

import pytest
from django.conf import settings

from annotation import consent, effects, journal, second_looks, staleness
from annotation.models import Comparison, JournalEntry, Repeat, RewardScore, Standing, Task
from annotation.queue import claim_next
from annotation.submit import submit_ranking
from studio.models import Guideline, Membership, PolicyChoice, Role
from studio.policy import set_policy
from studio.runs.models import Artifact
from tests.annotation.test_concurrency import in_threads, make_work

pytestmark = pytest.mark.postgres


def attempt(act) -> str:
    """ "done", or the sentence of what was refused."""
    try:
        act()
    except ValueError as refused:
        return str(refused)
    return "done"


def test_of_several_who_decide_at_once_one_does(on_postgres, tmp_path, monkeypatch):
    monkeypatch.setattr(settings, "VAR", tmp_path)
    queue, users = make_work(tasks=6, overlap=2, people=3)
    project, (lead, one, two) = queue.project, users
    Membership.objects.filter(user=lead).update(role=Role.OWNER)
    Guideline.publish(project, "First", lead)
    for user in (one, two):
        while claim := claim_next(queue, user):
            submit_ranking(claim, [["a"], ["b"]], second_look="Sure?")
    newer = Guideline.publish(project, "Second", lead)

    (group,) = staleness.stale_groups(project, newer)
    assert (group.kind, group.version, group.labels, group.asked) == ("comparison", 1, 12, 0)
    said = in_threads(lambda _: attempt(lambda: staleness.ask_again(project, newer, [group.key], lead)), range(3))
    assert said.count("done") == 1, said
    assert Repeat.objects.count() == 12 and Task.objects.count() == 12  # six tasks, each asked again once

    assert second_looks.flagged(project).count() == 12
    label = second_looks.look_up(list(second_looks.flagged(project)[:1]))[0]
    said = in_threads(lambda _: attempt(lambda: second_looks.mark_done(label, lead)), range(3))
    assert said.count("done") == 1, said

    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights").write_text("judge")
    model = Artifact.register(project, "reward_model", "Judge", tmp_path / "model", lead)
    for comparison in Comparison.objects.prefetch_related("completions"):
        for number, completion in enumerate(comparison.completions.all()):
            RewardScore.objects.get_or_create(model=model, completion=completion, defaults={"value": number})
    found = effects.effects_of(model)
    assert found.held_out == 12 and found.overall.accuracy.n == 12
    disputed = [j.pk for j in found.disputed]
    if disputed:
        said = in_threads(lambda _: attempt(lambda: effects.ask_again(model, disputed, lead)), range(3))
        assert said.count("done") == 1, said
        assert Repeat.objects.filter(reward_model=model).count() == len(disputed)

    said = in_threads(lambda _: attempt(lambda: consent.take_back(project, one, one)), range(3))
    assert said.count("done") == 1, said
    assert Standing.objects.get(user=one).consent_withdrawn_at is not None
    assert JournalEntry.objects.filter(act=consent.WITHDRAWN).count() == 1
    assert staleness.stale_groups(project, newer)[0].labels == 6

    policies = [Artifact.register(project, "model", f"Policy {n}", tmp_path / "model", lead) for n in range(3)]
    said = in_threads(lambda policy: attempt(lambda: set_policy(project, policy, None, lead)), policies)
    assert said.count("done") == 1 and PolicyChoice.objects.count() == 1

    lines = list(journal.jsonl_lines(journal.entries(project).iterator(chunk_size=5)))
    assert len(lines) == JournalEntry.objects.count()
    assert json.loads(lines[0])["act"] == consent.WITHDRAWN
