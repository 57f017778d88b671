"""Queues in a real Label Studio: sent there, worked on, fetched back, once and for all."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from annotation.label_studio.links import link_queue, unlink
from annotation.label_studio.pull import pull
from annotation.label_studio.push import push
from annotation.models import (
    Claim,
    Comparison,
    Demonstration,
    JournalEntry,
    Kind,
    LabelStudioAnnotation,
    Revision,
    Slot,
    Standing,
    Task,
)
from annotation.queue import claim_next
from annotation.submit import submit_ranking
from annotation.tasks import add_tasks, find_queue
from studio.models import User
from tests.annotation.label_studio import configured, interface, label_studio_server, worker  # noqa: F401  (fixtures)

pytestmark = pytest.mark.slow


@pytest.fixture
def ann(annotator) -> User:
    annotator.email = "Ann@example.org"  # addresses have no case
    annotator.save()
    return annotator


@pytest.fixture
def link(configured, rank_queue, ann, engineer, guideline):  # noqa: F811
    """Four rankings of three answers, two judgements each, sent."""
    made = link_queue(rank_queue, engineer)
    report = push(made, engineer)
    assert "error" not in report, report["error"]
    return made


@pytest.fixture
def there(link, worker):  # noqa: F811
    """(Ann, Bob, the tasks there by our id)"""
    ann, bob = worker("ann@example.org"), worker("bob@example.org")
    tasks = {int(task["data"]["studio_task"]): task for task in ann.tasks(link.remote_project)}
    return ann, bob, tasks


def slots(queue) -> dict[str, int]:
    counted: dict[str, int] = {}
    for status in Slot.objects.filter(queue=queue).values_list("status", flat=True):
        counted[status] = counted.get(status, 0) + 1
    return counted


class TestPush:
    def test_a_project_with_tasks(self, link, there, configured, rank_queue, ann, guideline):  # noqa: F811
        worker_there, _, tasks = there
        project = worker_there.http.get(f"/api/projects/{link.remote_project}").json()
        assert project["maximum_annotations"] == 2
        assert "<strong>runs</strong>" in project["expert_instruction"] and project["show_instruction"]
        assert project["label_config"].count("<Bucket") == 4  # three places and "not rankable"
        assert link.guideline == guideline
        assert set(tasks) == set(Task.objects.values_list("pk", flat=True))
        for task in link.tasks.select_related("task__prompt"):
            data = tasks[task.task_id]["data"]
            assert data["prompt"] == task.task.prompt.text
            texts = {c.pk: c.text for c in task.task.completions.all()}
            assert [item["body"] for item in data["items"]] == [texts[pk] for pk in task.shown_order]
            assert [item["id"] for item in data["items"]] == ["a", "b", "c"]
            assert tasks[task.task_id]["overlap"] == 2
        written = json.dumps(tasks)
        assert not any(name in written for name in ("Tortoise", "Hare", "Fox")), "blind"
        assert slots(rank_queue) == {"away": 8}
        assert claim_next(rank_queue, ann) is None

    def test_again_adds_what_is_missing(self, link, there, engineer, rank_queue, prompts, answers):
        worker_there, _, tasks = there
        report = push(link, engineer)
        assert (report["known"], report["sent"], report["places"]) == (4, 0, 0)
        add_tasks(rank_queue, [(prompts[4], answers[4])], overlap=1)
        worker_there.http.delete(f"/api/tasks/{next(iter(tasks.values()))['id']}").raise_for_status()
        report = push(link, engineer)
        assert (report["known"], report["sent"], report["places"], report["adjusted"]) == (3, 2, 1, 1)
        found = worker_there.tasks(link.remote_project)
        assert sorted(task["overlap"] for task in found) == [1, 2, 2, 2, 2]
        assert len({task["data"]["studio_task"] for task in found}) == 5

    def test_what_people_work_on_here_stays(self, configured, rank_queue, ann, engineer):  # noqa: F811
        claim = claim_next(rank_queue, ann)
        made = link_queue(rank_queue, engineer)
        push(made, engineer)
        assert slots(rank_queue) == {"away": 7, "claimed": 1}
        submit_ranking(claim, [["a"], ["b"], ["c"]])
        assert slots(rank_queue) == {"away": 7, "done": 1}

    def test_a_project_deleted_there_is_made_anew(self, link, there, engineer):
        worker_there, _, _ = there
        before = link.remote_project
        worker_there.delete_project(before)
        report = push(link, engineer)
        assert (report["known"], report["sent"]) == (0, 4) and "was deleted there" in report["complaints"][0]["text"]
        assert link.remote_project != before and len(worker_there.tasks(link.remote_project)) == 4

    def test_sentences(self, link, engineer, settings):
        settings.LABEL_STUDIO_API_KEY = "0" * 40
        assert "refuses the key" in push(link, engineer)["error"]
        assert "refuses the key" in pull(link)["error"]
        settings.LABEL_STUDIO_API_KEY = ""
        assert "Set LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY" in pull(link)["error"]
        settings.LABEL_STUDIO_URL = "http://127.0.0.1:9"
        assert "was linked to" in push(link, engineer)["error"]
        link.server = "http://127.0.0.1:9"
        link.save()
        settings.LABEL_STUDIO_API_KEY = "0" * 40
        assert "does not answer" in pull(link)["error"]
        link.refresh_from_db()
        assert link.act == "" and "does not answer" in link.last_report["error"]


class TestPull:
    def test_labels_by_member_and_stranger(self, link, there, ann, guideline):
        ann_there, bob_there, tasks = there
        task, remote = next(iter(tasks.items()))
        ann_there.rank(remote["id"], [["b"], ["a", "c"]], lead_time=7.25)
        bob_there.rank(remote["id"], [["c"], ["b"]] + [["a"]])
        report = pull(link)
        assert (report["labels"], report["refused"], report["seen"]) == (2, 0, 2)
        a, b, c = link.tasks.get(task=task).shown_order
        own = Comparison.objects.get(annotator=ann)
        assert own.tiers == [[b], [a, c]] and own.shown_order == [a, b, c] and own.task_id == task
        assert (own.seconds, own.guideline, own.surplus) == (7.25, guideline, False)
        assert own.source.startswith("Label Studio, annotation ")
        other = Comparison.objects.exclude(annotator=ann).get()
        assert other.annotator.is_pseudonym and "bob" not in other.annotator.username + other.annotator.display_name
        assert other.tiers == [[c], [b], [a]]
        assert report["people"] == [
            f"bob@example.org is no member here: their work is kept under “{other.annotator.display_name}”."
        ]
        assert Task.objects.get(pk=task).status == Task.Status.CLOSED
        assert set(Slot.objects.filter(task=task).values_list("status", flat=True)) == {"done"}
        acts = list(JournalEntry.objects.filter(comparison=own).values_list("act", flat=True))
        assert acts == ["pulled", "submitted"]

    def test_twice_is_once(self, link, there):
        ann_there, _, tasks = there
        for remote in tasks.values():
            ann_there.rank(remote["id"], [["a"], ["b"], ["c"]])
        assert pull(link)["labels"] == 4
        again = pull(link)  # with a minute to spare, all are seen again
        assert (again["seen"], again["labels"], again["revised"]) == (4, 0, 0)
        link.pulled_until = None
        link.save()
        assert pull(link)["labels"] == 0
        assert Comparison.objects.count() == 4 == LabelStudioAnnotation.objects.count()

    def test_only_what_changed_is_fetched(self, link, there, monkeypatch):
        ann_there, _, tasks = there
        monkeypatch.setattr("annotation.label_studio.pull.SPARE", timedelta(0))
        first, second, *_ = tasks.values()
        ann_there.rank(first["id"], [["a"], ["b"], ["c"]])
        assert pull(link)["seen"] == 1
        ann_there.rank(second["id"], [["a"], ["b"], ["c"]])
        report = pull(link)
        assert (report["seen"], report["labels"]) == (1, 1)

    def test_one_more_than_asked_for_is_surplus(self, link, there, worker):  # noqa: F811
        ann_there, bob_there, tasks = there
        remote = next(iter(tasks.values()))
        for each in (ann_there, bob_there, worker("eve@example.org")):
            each.rank(remote["id"], [["a"], ["b"], ["c"]])
        assert pull(link)["labels"] == 3
        assert sorted(Comparison.objects.values_list("surplus", flat=True)) == [False, False, True]

    def test_a_change_is_a_revision(self, link, there, ann):
        ann_there, _, tasks = there
        task, remote = next(iter(tasks.items()))
        annotation = ann_there.rank(remote["id"], [["a"], ["b"], ["c"]])
        pull(link)
        result = ann_there.tasks(link.remote_project)[0]["annotations"][0]["result"]
        result[0]["value"]["ranker"] = {"_": [], "r1": ["c"], "r2": ["a", "b"], "r3": []}
        ann_there.change(annotation, result=result, lead_time=30)
        assert pull(link)["revised"] == 1
        a, b, c = link.tasks.get(task=task).shown_order
        label = Comparison.objects.get()
        assert (label.tiers, label.revision, label.seconds) == ([[c], [a, b]], 2, 30)
        assert Revision.objects.get().content["tiers"] == [[a], [b], [c]]
        row = LabelStudioAnnotation.objects.get()
        assert len(row.earlier) == 1 and row.earlier[0]["lead_time"] == 12.5

    def test_a_skip_goes_to_others(self, link, there, ann):
        ann_there, _, tasks = there
        task, remote = next(iter(tasks.items()))
        ann_there.skip(remote["id"])
        assert pull(link)["skipped"] == 1
        claim = Claim.objects.get()
        assert (claim.annotator, claim.status, claim.skip) == (ann, "released", "others")
        assert set(Slot.objects.filter(task=task).values_list("status", flat=True)) == {"away"}

    def test_an_answer_turned_into_a_skip_and_back(self, link, there, ann, rank_queue):
        ann_there, _, tasks = there
        _, remote = next(iter(tasks.items()))
        annotation = ann_there.rank(remote["id"], [["a"], ["b"], ["c"]])
        pull(link)
        ann_there.change(annotation, was_cancelled=True)
        assert pull(link)["skipped"] == 1
        assert Comparison.objects.get().is_withdrawn and slots(rank_queue) == {"away": 8}
        ann_there.change(annotation, was_cancelled=False)
        assert pull(link)["labels"] == 1
        assert Comparison.objects.filter(withdrawn_at=None).count() == 1
        assert slots(rank_queue) == {"away": 7, "done": 1}

    def test_unfinished_is_refused_until_it_is_finished(self, link, there):
        ann_there, _, tasks = there
        remote = next(iter(tasks.values()))
        result = [
            {
                "from_name": "tiers", "to_name": "answers", "type": "ranker",
                "value": {"ranker": {"_": ["b", "c"], "r1": ["a"], "r2": [], "r3": []}},
            }
        ]  # fmt: skip
        annotation = ann_there.annotate(remote["id"], result)
        report = pull(link)
        assert (report["labels"], report["refused"], report["waiting"]) == (0, 1, 1)
        assert report["complaints"] == [
            {"annotation": annotation, "task": remote["id"], "text": "Still to be ranked: answer B, answer C."}
        ]
        report = pull(link)
        assert (report["refused"], report["waiting"]) == (0, 1), "told again, not counted again"
        result[0]["value"]["ranker"] = {"_": [], "r1": ["a"], "r2": ["b", "c"], "r3": []}
        ann_there.change(annotation, result=result)
        report = pull(link)
        assert (report["labels"], report["waiting"], report["complaints"]) == (1, 0, [])

    def test_who_is_at_it_here_is_not_overrun(self, link, there, ann, rank_queue, engineer):
        ann_there, _, tasks = there
        unlink(link, engineer)
        claim = claim_next(rank_queue, ann)
        link_queue(rank_queue, engineer)
        link.refresh_from_db()
        push(link, engineer)
        ann_there.rank(tasks[claim.task_id]["id"], [["a"], ["b"], ["c"]])
        report = pull(link)
        assert report["refused"] == 1 and "is working on this task here" in report["complaints"][0]["text"]
        submit_ranking(claim, [["a"], ["b"], ["c"]])
        assert "has judged this task already" in pull(link)["complaints"][0]["text"]

    def test_a_deleted_annotation_is_reported(self, link, there):
        ann_there, _, tasks = there
        annotation = ann_there.rank(next(iter(tasks.values()))["id"], [["a"], ["b"], ["c"]])
        pull(link)
        ann_there.delete(annotation)
        report = pull(link)
        assert report["deleted"] == 1 and "was deleted in Label Studio" in report["complaints"][0]["text"]
        assert not Comparison.objects.get().is_withdrawn
        assert pull(link)["deleted"] == 0

    def test_tasks_made_there_are_left_alone(self, link, there):
        ann_there, _, _ = there
        ann_there.http.post(
            f"/api/projects/{link.remote_project}/import", json=[{"data": {"prompt": "Mine", "items": []}}]
        ).raise_for_status()
        extra = next(t for t in ann_there.tasks(link.remote_project) if "studio_task" not in t["data"])
        ann_there.annotate(extra["id"], [])
        report = pull(link)
        assert (report["foreign"], report["labels"], report["refused"]) == (1, 0, 0)

    def test_consent(self, link, there, ann, engineer):
        ann_there, _, tasks = there
        Standing.objects.create(project=link.project, user=ann, consent_withdrawn_at="2026-01-01T00:00Z")
        ann_there.rank(next(iter(tasks.values()))["id"], [["a"], ["b"], ["c"]])
        assert "withdrawn their consent" in pull(link)["complaints"][0]["text"]
        assert not Comparison.objects.exists()


class TestOtherKinds:
    def test_demonstrations(self, configured, write_queue, ann, engineer, worker):  # noqa: F811
        made = link_queue(write_queue, engineer)
        push(made, engineer)
        ann_there = worker("ann@example.org")
        task = ann_there.next_task(made.remote_project)
        ann_there.write(task["id"], "Use reversed().", "A view is enough.", lead_time=40)
        assert pull(made)["labels"] == 1
        label = Demonstration.objects.get()
        assert (label.completion.text, label.reasoning, label.seconds) == ("Use reversed().", "A view is enough.", 40)
        assert (label.annotator, label.prompt_id) == (
            ann,
            Task.objects.get(pk=int(task["data"]["studio_task"])).prompt_id,
        )

    def test_pairs_and_their_ties(self, configured, project, prompts, answers, ann, engineer, worker):  # noqa: F811
        queue = find_queue(project, Kind.RANK, "Pairs")
        add_tasks(queue, [(p, a[:2]) for p, a in zip(prompts[:2], answers[:2], strict=True)])
        made = link_queue(queue, engineer)
        push(made, engineer)
        ann_there = worker("ann@example.org")
        first, second = ann_there.tasks(made.remote_project)
        ann_there.annotate(
            first["id"],
            [  # as its interface saves it: pairwise is about itself, and choices carry the alias
                {"id": "x1", "from_name": "preference", "to_name": "preference", "type": "pairwise",
                 "value": {"selected": "right"}},
                {"id": "x2", "from_name": "strength", "to_name": "prompt", "type": "choices", "origin": "manual",
                 "value": {"choices": ["3"]}},
                {"id": "x3", "from_name": "rationale", "to_name": "prompt", "type": "textarea",
                 "value": {"text": ["It runs."]}},
            ],
        )  # fmt: skip
        ann_there.annotate(
            second["id"],
            [{"from_name": "strength", "to_name": "prompt", "type": "choices", "value": {"choices": ["0"]}}],
        )
        assert pull(made)["labels"] == 2
        decided, tied = Comparison.objects.order_by("task")
        a, b = decided.shown_order
        assert (decided.tiers, decided.strength, decided.rationale) == ([[b], [a]], 3, "It runs.")
        assert (len(tied.tiers), tied.strength) == (1, None)


def test_unlinked_the_places_come_back(link, there, rank_queue, ann, engineer):
    ann_there, _, tasks = there
    ann_there.rank(next(iter(tasks.values()))["id"], [["a"], ["b"], ["c"]])
    pull(link)
    assert unlink(link, engineer) == 7
    assert slots(rank_queue) == {"done": 1, "free": 7}
    assert claim_next(rank_queue, ann) is not None
    with pytest.raises(ValueError, match="not linked any more"):
        unlink(link, engineer)
    with pytest.raises(ValueError, match="not linked any more"):
        pull(link)


@pytest.mark.browser
def test_in_its_own_interface(configured, project, prompts, answers, write_queue, ann, engineer, interface, worker):  # noqa: F811
    """What its pages save is what we take it for: a ranking with a tie, a pair, a demonstration."""
    rankings, pairs = find_queue(project, Kind.RANK, "Rankings"), find_queue(project, Kind.RANK, "Pairs")
    add_tasks(rankings, [(prompts[0], answers[0])])
    add_tasks(pairs, [(prompts[0], answers[0][:2])])
    made = [link_queue(queue, engineer) for queue in (rankings, pairs, write_queue)]
    for each in made:
        assert "error" not in push(each, engineer)
    there, pages = worker("ann@example.org"), interface("ann@example.org")
    first = [there.tasks(each.remote_project)[0] for each in made]

    pages.open(made[0].remote_project, first[0]["id"])
    pages.drag("Answer C", "r1")
    pages.drag("Answer A", "r2")
    pages.drag("Answer B", "r2")
    pages.submit()
    pages.open(made[1].remote_project, first[1]["id"])
    pages.page.locator(".lsf-richtext__line", has_text=first[1]["data"]["answer_b"]).click()
    pages.page.get_by_text("B is much better").click()
    pages.write(0, "It runs.")
    pages.submit()
    pages.open(made[2].remote_project, first[2]["id"])
    pages.write(1, "Use reversed().")
    pages.write(0, "A view is enough.")
    pages.submit()

    assert [pull(each)["labels"] for each in made] == [1, 1, 1]
    ranking, pair = (Comparison.objects.get(task__queue=queue) for queue in (rankings, pairs))
    a, b, c = ranking.shown_order
    assert [sorted(tier) for tier in ranking.tiers] == [[c], sorted([a, b])]
    a, b = pair.shown_order
    assert (pair.tiers, pair.strength, pair.rationale) == ([[b], [a]], 3, "It runs.")
    written = Demonstration.objects.get()
    assert (written.completion.text, written.reasoning) == ("Use reversed().", "A view is enough.")
    assert ranking.seconds > 0 and {ranking.annotator, pair.annotator, written.annotator} == {ann}
