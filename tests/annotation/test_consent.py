"""Consent taken back and given again, and what was made of the labels: works, bad input, wrong role, wrong method."""

from __future__ import annotations

import pytest

from annotation import consent
from annotation.datasets import freeze_comparisons
from annotation.models import Claim, DatasetItem, JournalEntry, Standing
from annotation.queue import claim_next
from annotation.revise import reopen
from annotation.standing import MayNotWork
from annotation.submit import submit_ranking
from studio.models import User
from studio.runs.models import Run, RunInput
from tests.annotation.test_effects import compare

OWN = "/projects/helpdesk/annotate/consent/"


def page_of(user: User) -> str:
    return f"/projects/helpdesk/quality/people/{user.pk}/consent/"


def acts() -> list[tuple[str, str, str, dict]]:
    found = JournalEntry.objects.filter(act__startswith="consent").order_by("id")
    return [(e.act, e.actor.username, e.person.username, e.detail) for e in found]


class TestAct:
    def test_labels_leave_the_next_dataset_and_come_back(self, project, answers, annotator, sme, engineer):
        own = compare(annotator, answers[0], "a>b>c")
        compare(sme, answers[1], "a>b>c")
        consent.take_back(project, annotator, annotator, " I changed\nmy mind ")
        without = freeze_comparisons(project, engineer, name="Without")
        assert not DatasetItem.objects.filter(artifact=without, comparison=own).exists()
        consent.give_again(project, annotator, annotator)
        again = freeze_comparisons(project, engineer, name="Again")
        assert DatasetItem.objects.filter(artifact=again, comparison=own).count() == 3
        counts = {"comparisons": 1, "demonstrations": 0, "failure_examples": 0}
        assert acts() == [
            ("consent withdrawn", "annotator", "annotator", {"reason": "I changed my mind", **counts}),
            ("consent given again", "annotator", "annotator", {"reason": ""}),
        ]

    def test_work_in_hand_goes_back_and_none_is_given(self, project, rank_queue, annotator):
        done = submit_ranking(claim_next(rank_queue, annotator), [["a"], ["b"], ["c"]])
        claim = claim_next(rank_queue, annotator)
        consent.take_back(project, annotator, annotator)
        claim.refresh_from_db()
        assert claim.status == Claim.Status.RELEASED and claim.task.slots.filter(status="free").count() == 2
        with pytest.raises(MayNotWork, match="withdrawn your consent"):
            claim_next(rank_queue, annotator)
        done.refresh_from_db()
        assert not done.is_withdrawn  # the label itself stays

    def test_twice_is_refused(self, project, annotator):
        with pytest.raises(ValueError, match="nothing to give again"):
            consent.give_again(project, annotator, annotator)
        consent.take_back(project, annotator, annotator)
        with pytest.raises(ValueError, match="taken back already"):
            consent.take_back(project, annotator, annotator)
        assert len(acts()) == 1

    def test_an_owner_does_it_on_request_and_says_how(self, project, annotator, engineer, owner):
        with pytest.raises(ValueError, match="Only the person themselves, or an owner"):
            consent.take_back(project, annotator, engineer, "Because")
        with pytest.raises(ValueError, match="Say how the person asked"):
            consent.take_back(project, annotator, owner)
        consent.take_back(project, annotator, owner, "Letter of 3 March")
        assert consent.taken_back_by(project, annotator) == owner
        consent.give_again(project, annotator, owner, "A mistake")
        consent.take_back(project, annotator, annotator)
        with pytest.raises(ValueError, match="only they can give it again"):
            consent.give_again(project, annotator, owner)
        with pytest.raises(ValueError, match="at most 300"):
            consent.give_again(project, annotator, annotator, "x" * 301)


def test_uses_count_each_label_once_a_dataset_and_model(project, answers, annotator, sme, engineer, make_artifact):
    """Two of the person's comparisons (three pairs each) are in the first dataset, three in the second."""
    for n in (0, 1):
        compare(annotator, answers[n], "a>b>c")
    compare(sme, answers[2], "a>b>c")
    first = freeze_comparisons(project, engineer, name="First")
    compare(annotator, answers[3], "a>b>c")
    second = freeze_comparisons(project, engineer, name="Second")
    models = []
    for number, datasets in enumerate(([first], [second, first])):
        run = Run.objects.create(
            project=project, recipe_name="reward_model", title="Train", queue="gpu", created_by=engineer
        )
        for position, dataset in enumerate(datasets):
            RunInput.objects.create(run=run, role="dataset", artifact=dataset, position=position)
        models.append(make_artifact("reward_model", f"Judge {number}", produced_by=run, role="reward_model"))
    found = consent.uses_of(project, annotator)
    assert [(u.artifact, u.labels) for u in found.datasets] == [(second, 3), (first, 2)]
    assert [(u.artifact, u.labels) for u in found.models] == [(models[1], 3), (models[0], 2)]
    assert [u.labels for u in consent.uses_of(project, sme).models] == [1, 1]
    assert consent.uses_of(project, engineer) == consent.Uses([], [])


class TestPages:
    def test_a_labels_page_says_that_it_is_used_no_more(self, project, answers, annotator, sme, client_for):
        own = compare(annotator, answers[0], "a>b>c")
        page = f"/projects/helpdesk/comparisons/{own.pk}/"
        assert "leaves datasets frozen from now on" not in client_for(sme).get(page).text
        consent.take_back(project, annotator, annotator)
        assert "leaves datasets frozen from now on" in client_for(sme).get(page).text

    def test_ones_own(self, project, answers, annotator, engineer, client_for):
        compare(annotator, answers[0], "a>b>c")
        compare(annotator, answers[1], "a>b>c")
        dataset = freeze_comparisons(project, engineer, name="Frozen before")
        client = client_for(annotator)
        shown = client.get(OWN).text
        assert "Frozen before" in shown and "2 labels" in shown
        assert f"/artifacts/{dataset.pk}/" not in shown  # annotators do not open artifacts
        done = client.post(OWN, {"act": "take-back", "reason": "Mine"}, follow=True).text
        assert "Taken back" in done and "Consent was taken back" in done and "by you" in done
        assert Standing.objects.get(user=annotator).consent_reason == "Mine"
        given = client.post(OWN, {"act": "give-again"}, follow=True).text
        assert "Given again" in given and "Consent was taken back" not in given
        assert "your labels and your consent" in client.get("/projects/helpdesk/annotate/").text
        assert OWN in client.get("/account/").text

    def test_an_owners_page_about_somebody(self, project, answers, annotator, owner, client_for):
        client = client_for(owner)
        assert "The labels of annotator" in client.get(page_of(annotator)).text
        refused = client.post(page_of(annotator), {"act": "take-back"})
        assert refused.status_code == 422 and "Say how the person asked" in refused.text
        client.post(page_of(annotator), {"act": "take-back", "reason": "A call"})
        assert "by you" in client.get(page_of(annotator)).text
        client.post(page_of(annotator), {"act": "give-again"})
        consent.take_back(project, annotator, annotator)
        assert "only they can give it again" in client.get(page_of(annotator)).text

    def test_a_pseudonym_with_labels_has_a_page(self, project, answers, owner, outsider, client_for):
        assert client_for(owner).get(page_of(outsider)).status_code == 404
        compare(outsider, answers[0], "a>b")
        assert client_for(owner).get(page_of(outsider)).status_code == 200

    def test_bad_input(self, project, annotator, owner, client_for):
        client = client_for(annotator)
        for data, sentence in (
            ({}, "Choose what to do"),
            ({"act": "erase"}, "Choose what to do"),
            ({"act": "give-again"}, "nothing to give again"),
            ({"act": "take-back", "reason": "x" * 301}, "at most 300"),
        ):
            answer = client.post(OWN, data)
            assert answer.status_code == 422 and sentence in answer.text
        assert client_for(owner).get("/projects/helpdesk/quality/people/999999/consent/").status_code == 404

    def test_wrong_role_and_method(self, project, annotator, sme, engineer, owner, outsider, client_for):
        for user, status in ((annotator, 403), (sme, 403), (engineer, 403), (outsider, 404)):
            assert client_for(user).post(page_of(sme), {"act": "take-back", "reason": "x"}).status_code == status
        assert client_for(outsider).get(OWN).status_code == 404
        assert client_for(owner).put(OWN).status_code == 405
        assert client_for(owner).delete(page_of(sme)).status_code == 405
        assert not Standing.objects.exists()

    def test_queries(self, project, answers, annotator, engineer, client_for, django_assert_max_num_queries):
        for n in range(4):
            compare(annotator, answers[n], "a>b>c")
            if n:
                freeze_comparisons(project, engineer, name=f"{n}")
        client = client_for(annotator)
        with django_assert_max_num_queries(15):
            assert client.get(OWN).status_code == 200


class TestLate:
    def test_the_answer_takes_no_place_from_others(self, project, rank_queue, annotator, sme):
        claim = claim_next(rank_queue, annotator)
        consent.take_back(project, annotator, annotator)
        late = submit_ranking(Claim.objects.get(pk=claim.pk), [["a"], ["b"], ["c"]])
        assert late.surplus
        taken = []
        while other := claim_next(rank_queue, sme):
            submit_ranking(other, [["a"], ["b"], ["c"]])
            taken.append(other.task_id)
        assert claim.task_id in taken and len(taken) == 4

    def test_nothing_is_opened_again(self, project, rank_queue, annotator):
        claim = claim_next(rank_queue, annotator)
        submit_ranking(claim, [["a"], ["b"], ["c"]])
        consent.take_back(project, annotator, annotator)
        with pytest.raises(ValueError, match="withdrawn your consent"):
            reopen(claim, annotator)
