"""What new guidelines make stale, and asking for it again. Works / bad input / wrong role / wrong method."""

from __future__ import annotations

import pytest
from django.utils import timezone

from annotation import staleness
from annotation.models import Comparison, Demonstration, JournalEntry, Kind, Repeat, Standing, Task
from annotation.queue import claim_next
from annotation.submit import submit_demonstration, submit_ranking
from annotation.tasks import find_queue
from studio.models import Guideline
from tests.annotation.test_effects import compare

URL = "/projects/helpdesk/guidelines/stale/"


@pytest.fixture
def judged(guideline, rank_queue, write_queue, annotator, sme) -> list[Comparison]:
    """Under version 1: two rankings of one task, one of another, and one demonstration."""
    first = submit_ranking(claim_next(rank_queue, annotator), [["a"], ["b"], ["c"]])
    claim = claim_next(rank_queue, sme)
    while claim.task_id != first.task_id:
        claim = claim_next(rank_queue, sme)  # the same one is given back: what was begun is finished first
    second = submit_ranking(claim, [["c"], ["b"], ["a"]])
    third = submit_ranking(claim_next(rank_queue, annotator), [["a", "b"], ["c"]])
    submit_demonstration(claim_next(write_queue, sme), "Use reversed().")
    return [first, second, third]


def publish(project, owner, text: str, minor: bool = False) -> Guideline:
    return Guideline.publish(project, text, owner, is_minor=minor)


def groups(project) -> list[tuple]:
    guideline = staleness.decisive_version(project)
    return [(g.kind, g.version, g.labels, g.asked) for g in staleness.stale_groups(project, guideline)]


class TestWhatIsStale:
    def test_a_version_makes_stale_and_a_minor_one_does_not(self, project, judged, owner):
        assert groups(project) == []
        publish(project, owner, "Spelling", minor=True)
        assert groups(project) == [] and staleness.decisive_version(project).version == 1
        publish(project, owner, "Other rules")
        assert groups(project) == [("comparison", 1, 3, 0), ("demonstration", 1, 1, 0)]
        since = Comparison.objects.annotate(since=staleness.stale_since()).values_list("since", flat=True)
        assert set(since) == {3}  # the second was minor
        publish(project, owner, "Spelling again", minor=True)
        assert groups(project) == [("comparison", 1, 3, 0), ("demonstration", 1, 1, 0)]

    def test_the_first_version_is_never_minor(self, project, owner):
        assert not publish(project, owner, "First", minor=True).is_minor

    def test_what_does_not_count_is_not_stale(self, project, judged, owner, annotator):
        publish(project, owner, "Other rules")
        Comparison.objects.filter(pk=judged[2].pk).update(withdrawn_at=timezone.now())
        assert groups(project)[0] == ("comparison", 1, 2, 0)
        Standing.objects.create(project=project, user=annotator, status="excluded")
        assert groups(project)[0] == ("comparison", 1, 1, 0)

    def test_labels_of_no_version(self, project, rank_queue, answers, annotator, sme, owner):
        submit_ranking(claim_next(rank_queue, annotator), [["a"], ["b"], ["c"]])
        compare(sme, answers[0], "a>b")  # brought in from elsewhere: under whatever it was, not under ours
        publish(project, owner, "First rules")
        assert groups(project) == [("comparison", None, 1, 0)]


class TestAskAgain:
    def test_one_task_of_as_many_places_and_once_a_version(self, project, judged, owner, engineer, rank_queue):
        guideline = publish(project, owner, "Other rules")
        keys = [g.key for g in staleness.stale_groups(project, guideline)]
        before = set(Task.objects.values_list("pk", flat=True))
        assert staleness.ask_again(project, guideline, keys, engineer) == (4, 3)
        made = {t.prompt_id: t for t in Task.objects.exclude(pk__in=before).filter(queue__kind=Kind.RANK)}
        both, one = made[judged[0].prompt_id], made[judged[2].prompt_id]
        assert (both.overlap, one.overlap, both.queue) == (2, 1, rank_queue)
        assert set(both.completions.all()) == set(judged[0].task.completions.all())
        assert {r.comparison for r in both.repeats.all()} == set(judged[:2])
        assert groups(project) == [("comparison", 1, 3, 3), ("demonstration", 1, 1, 1)]
        with pytest.raises(ValueError, match="Nothing is left"):
            staleness.ask_again(project, guideline, keys, engineer)
        assert JournalEntry.objects.filter(act="asked again").count() == 4
        newer = publish(project, owner, "And other ones")  # the old labels are stale for this one too
        assert staleness.ask_again(project, newer, keys, engineer)[0] == 4

    def test_old_labels_stay_and_their_makers_may_judge_again(self, project, judged, owner, engineer, annotator):
        guideline = publish(project, owner, "Other rules")
        queue = find_queue(project, Kind.RANK, "Under the new rules")
        key = next(g.key for g in staleness.stale_groups(project, guideline) if g.kind == "comparison")
        staleness.ask_again(project, guideline, [key], engineer, queue=queue)
        again = submit_ranking(claim_next(queue, annotator), [["c"], ["b"], ["a"]])
        assert again.guideline == guideline
        assert Comparison.objects.filter(withdrawn_at=None).count() == 4

    def test_kept_for_who_made_them(self, project, judged, owner, engineer, annotator, sme):
        guideline = publish(project, owner, "Other rules")
        queue = find_queue(project, Kind.RANK, "Under the new rules")
        key = next(g.key for g in staleness.stale_groups(project, guideline) if g.kind == "comparison")
        project.memberships.filter(user=sme).delete()  # who left cannot be asked: anybody may
        assert staleness.ask_again(project, guideline, [key], engineer, queue=queue, same_people=True) == (3, 3)
        assert sorted(str(t.assignee) for t in queue.tasks.all()) == ["None", "annotator", "annotator"]

    def test_a_limit_takes_whole_tasks_and_goes_on(self, project, judged, owner, engineer):
        guideline = publish(project, owner, "Other rules")
        key = next(g.key for g in staleness.stale_groups(project, guideline) if g.kind == "comparison")
        done = [staleness.ask_again(project, guideline, [key], engineer, limit=2)]
        while any(g.waiting for g in staleness.stale_groups(project, guideline) if g.kind == "comparison"):
            done.append(staleness.ask_again(project, guideline, [key], engineer, limit=2))
        assert sorted(done) == [(1, 1), (2, 1)]

    def test_queues_of_another_kind_are_refused(self, project, judged, owner, engineer, write_queue):
        guideline = publish(project, owner, "Other rules")
        keys = [g.key for g in staleness.stale_groups(project, guideline)]
        with pytest.raises(ValueError, match="does not take comparisons"):
            staleness.ask_again(project, guideline, keys, engineer, queue=write_queue)
        assert not Repeat.objects.exists()


class TestPage:
    def test_counts_and_asking(self, project, judged, owner, engineer, client_for):
        client = client_for(engineer)
        assert "Nothing is stale" in client.get(URL).text
        publish(project, owner, "Other rules")
        shown = client.get(URL)
        assert "4 labels that count were made under older ones; 4 have not" in " ".join(shown.text.split())
        key = shown.context["groups"][0].key
        said = client.post(URL, {"groups": [key], "people": "anybody"}, follow=True).text
        assert "3 labels will be asked for again, in 2 tasks" in said
        assert URL in client.get("/projects/helpdesk/guidelines/").text

    def test_a_labels_page_says_since_when_it_is_stale(self, project, judged, owner, sme, client_for):
        publish(project, owner, "Other rules")
        page = client_for(sme).get(f"/projects/helpdesk/comparisons/{judged[0].pk}/").text
        assert "since version 2" in page and "?version=2&amp;against=1" in page

    def test_without_guidelines(self, project, engineer, client_for):
        assert "No guidelines yet" in client_for(engineer).get(URL).text
        assert client_for(engineer).post(URL, {"groups": ["comparison-1-1"]}).status_code == 422

    @pytest.mark.parametrize(
        ("data", "sentence"),
        [
            ({"people": "anybody"}, "Choose at least one group"),
            ({"groups": ["comparison-9-9"], "people": "anybody"}, "is not one of the available choices"),
            ({"groups": ["comparison-1-{queue}"], "people": "robots"}, "is not one of the available choices"),
            ({"groups": ["comparison-1-{queue}"], "people": "anybody", "queue": "999"}, "Select a valid choice"),
        ],
    )
    def test_bad_input(self, project, judged, owner, engineer, rank_queue, client_for, data, sentence):
        publish(project, owner, "Other rules")
        sent = {k: [v.format(queue=rank_queue.pk) for v in vs] if k == "groups" else vs for k, vs in data.items()}
        answer = client_for(engineer).post(URL, sent)
        assert answer.status_code == 422 and sentence in answer.text
        assert not Repeat.objects.exists()

    def test_wrong_role_and_method(self, project, sme, annotator, outsider, engineer, client_for):
        for user, status in ((sme, 403), (annotator, 403), (outsider, 404)):
            assert client_for(user).get(URL).status_code == status
            assert client_for(user).post(URL).status_code == status
        assert client_for(engineer).put(URL).status_code == 405

    def test_queries(self, project, judged, owner, engineer, client_for, django_assert_max_num_queries):
        publish(project, owner, "Other rules")
        client = client_for(engineer)
        with django_assert_max_num_queries(15):
            client.get(URL)


def test_an_expert_publishes_a_minor_version(project, guideline, sme, client_for):
    client = client_for(sme)
    edit = "/projects/helpdesk/guidelines/edit/"
    assert "A minor change" in client.get(edit).text
    data = {"text": guideline.text + " Really.", "change_note": "Emphasis", "after": 1, "is_minor": "on"}
    shown = client.post(edit, data, follow=True).text
    assert project.guideline.is_minor and "Minor" in shown
    assert not Demonstration.objects.exists()
