"""The Quality room: people, gold, disagreements. Each view: works, bad input, wrong role, wrong method."""

from __future__ import annotations

import pytest

from annotation import gold
from annotation.gold_items import make_gold
from annotation.models import Comparison, Gold, GoldResult, Queue, Standing, Task
from annotation.queue import claim_next
from annotation.settling import judged_tasks, send_to_adjudication
from annotation.submit import submit_ranking
from tests.annotation.judging import judge_all

URL = "/projects/helpdesk/quality/"


@pytest.fixture
def item(disputed, engineer) -> Gold:
    """A gold item that the engineer failed."""
    task = disputed.tasks.first()
    made = make_gold(task, [[c.pk] for c in task.completions.order_by("pk")], engineer, explanation="It **runs**.")
    Queue.objects.filter(pk=disputed.pk).update(gold_rate=1)
    queue = Queue.objects.get(pk=disputed.pk)
    claim = gold.next_gold(queue, engineer)
    letters = sorted(claim.letters, key=claim.letters.get, reverse=True)
    gold.after_submit(claim, submit_ranking(claim, [[letter] for letter in letters]))
    return made


class TestPeople:
    def test_shows_everybody(self, client_for, engineer, item, django_assert_max_num_queries):
        client = client_for(engineer)
        with django_assert_max_num_queries(15):
            seen = client.get(URL).text
        for name in ("annotator", "sme", "engineer"):
            assert f">{name}</a>" in seen
        assert "Everybody" in seen and "Habits are read from all 9 rankings" in seen

    def test_empty_project(self, client_for, engineer, project):
        assert client_for(engineer).get(URL).status_code == 200

    def test_wrong_role_and_method(self, client_for, annotator, sme, outsider, engineer, project):
        for user, status in ((annotator, 403), (sme, 403), (outsider, 404)):
            assert client_for(user).get(URL).status_code == status
        assert client_for(engineer).post(URL).status_code == 405


class TestPerson:
    def test_shows_one_person(self, client_for, engineer, annotator, item, django_assert_max_num_queries):
        client = client_for(engineer)
        with django_assert_max_num_queries(15):
            seen = client.get(f"{URL}people/{engineer.pk}/").text
        assert "On gold items" in seen and "Reverse" not in seen
        assert "Nothing is held against this person" in client.get(f"{URL}people/{annotator.pk}/").text

    def test_nobody(self, client_for, engineer, outsider):
        assert client_for(engineer).get(f"{URL}people/{outsider.pk}/").status_code == 404
        assert client_for(engineer).get(f"{URL}people/999999/").status_code == 404

    def test_wrong_role_and_method(self, client_for, annotator, sme, engineer, project):
        url = f"{URL}people/{annotator.pk}/"
        assert client_for(annotator).get(url).status_code == 403  # not even one's own: that is quality/me/
        assert client_for(sme).get(url).status_code == 403
        assert client_for(engineer).post(url).status_code == 405


class TestStanding:
    def test_warns_and_reactivates(self, client_for, engineer, annotator, project):
        client, url = client_for(engineer), f"{URL}people/{annotator.pk}/standing/"
        answer = client.post(url, {"status": "paused", "reason": "Too fast"}, follow=True)
        assert "annotator is paused now" in answer.text and "Too fast" in answer.text
        assert Standing.objects.get(user=annotator).changed_by == engineer
        client.post(url, {"status": "active"})
        assert Standing.objects.get(user=annotator).status == "active"

    def test_bad_input(self, client_for, engineer, annotator, project):
        url = f"{URL}people/{annotator.pk}/standing/"
        for data, problem in (({"status": "gone", "reason": "x"}, "Choose what"), ({"status": "warned"}, "Give a rea")):
            assert problem in client_for(engineer).post(url, data, follow=True).text
        assert not Standing.objects.exclude(status="active").exists()

    def test_of_an_owner_only_by_an_owner(self, client_for, engineer, owner, project):
        url = f"{URL}people/{owner.pk}/"
        assert "standing-excluded" not in client_for(engineer).get(url).text
        assert "standing-excluded" in client_for(owner).get(url).text
        refused = client_for(engineer).post(f"{url}standing/", {"status": "excluded", "reason": "x"}, follow=True)
        assert "only an owner decides about an owner" in refused.text
        assert not Standing.objects.exclude(status="active").exists()

    def test_wrong_role_and_method(self, client_for, annotator, sme, engineer, project):
        url = f"{URL}people/{annotator.pk}/standing/"
        assert client_for(sme).post(url, {"status": "warned", "reason": "x"}).status_code == 403
        assert client_for(annotator).post(url, {"status": "active"}).status_code == 403
        assert client_for(engineer).get(url).status_code == 405


class TestTrial:
    def url(self, item, user) -> str:
        return f"{URL}people/{user.pk}/trials/{item.task.queue_id}/"

    def test_lets_repeat(self, client_for, owner, engineer, item):
        Queue.objects.update(calibration_items=1)
        GoldResult.objects.update(is_calibration=True)
        assert "Not passed" in client_for(owner).get(URL).text
        assert "Let repeat" in client_for(owner).get(f"{URL}people/{engineer.pk}/").text
        answer = client_for(owner).post(self.url(item, engineer), follow=True)
        assert "starts the trial round" in answer.text

    def test_nothing_to_repeat(self, client_for, owner, annotator, item):
        assert "not begun" in client_for(owner).post(self.url(item, annotator), follow=True).text
        assert client_for(owner).post(f"{URL}people/{annotator.pk}/trials/99999/").status_code == 404

    def test_wrong_role_and_method(self, client_for, owner, annotator, item):
        assert client_for(annotator).post(self.url(item, annotator)).status_code == 403
        assert client_for(owner).get(self.url(item, annotator)).status_code == 405


class TestMe:
    def test_own_figures_without_silent_gold(self, client_for, annotator, engineer, outsider, item):
        seen = client_for(annotator).get(f"{URL}me/").text
        assert "My figures" in seen and "Only you and the leads" in seen
        own = client_for(engineer).get(f"{URL}me/").text
        assert "On gold items" not in own and "Gold item" not in own and "1 item" not in own
        assert client_for(outsider).get(f"{URL}me/").status_code == 404
        assert client_for(annotator).post(f"{URL}me/").status_code == 405

    def test_says_why_one_is_paused(self, client_for, annotator, project):
        Standing.objects.create(project=project, user=annotator, status="paused", reason="Let us talk")
        assert "Let us talk" in client_for(annotator).get(f"{URL}me/").text


class TestGold:
    def test_list_and_candidates(self, client_for, engineer, item, disputed, django_assert_max_num_queries):
        Queue.objects.update(calibration_items=3, pause_below=0.5)
        client = client_for(engineer)
        with django_assert_max_num_queries(15):
            seen = client.get(f"{URL}gold/").text
        assert item.task.prompt.text in seen and "Too few items" in seen and "pause below 50" in seen
        assert client.get(f"{URL}gold/?queue={disputed.pk}&page=7").status_code == 200
        assert "No gold item yet" in client.get(f"{URL}gold/?queue=99999").text

    def test_an_item_that_most_fail_is_pointed_out(self, client_for, engineer, item, disputed, sme, annotator, owner):
        for user in (sme, annotator, owner):
            claim = item.task.claims.create(
                annotator=user, project=disputed.project, status="released", expires_at="2027-01-01T00:00Z"
            )
            GoldResult.objects.create(gold=item, claim=claim, annotator=user, accuracy=0.2)
        assert "Most fail it: is it right?" in client_for(engineer).get(f"{URL}gold/").text

    def test_one_item(self, client_for, engineer, item):
        seen = client_for(engineer).get(f"{URL}gold/{item.pk}/").text
        assert "A › B › C" in seen and "C › B › A" in seen and "<strong>runs</strong>" in seen

    def test_wrong_role_and_method(self, client_for, engineer, sme, item):
        for url in (f"{URL}gold/", f"{URL}gold/{item.pk}/"):
            assert client_for(sme).get(url).status_code == 403
            assert client_for(engineer).post(url).status_code == 405
        assert client_for(engineer).get(f"{URL}gold/99999/").status_code == 404


class TestNewGold:
    def data(self, task, *places) -> dict:
        ids = task.offered.order_by("position").values_list("completion", flat=True)
        chosen = {f"place_{pk}": place for pk, place in zip(ids, places, strict=True)}
        return chosen | {"queue": task.queue_id, "explanation": "So.", "is_attention": "on"}

    def test_makes_one(self, client_for, engineer, disputed):
        task = disputed.tasks.first()
        assert "Place 3" in client_for(engineer).get(f"{URL}gold/of/{task.pk}/").text
        answer = client_for(engineer).post(f"{URL}gold/of/{task.pk}/", self.data(task, "2", "1", "x"))
        made = Gold.objects.get()
        a, b, _ = task.offered.order_by("position").values_list("completion", flat=True)
        assert answer.url == f"{URL}gold/{made.pk}/" and made.tiers == [[b], [a]] and made.is_attention
        assert made.task_id != task.pk and Comparison.objects.filter(task=task).count() == 2

    def test_bad_input(self, client_for, engineer, disputed):
        task = disputed.tasks.first()
        for data, problem in (
            (self.data(task, "1", "1", "1"), "at least one answer above another"),
            (self.data(task, "9", "1", "x"), "Select a valid choice"),
            (self.data(task, "1", "2", "x") | {"queue": 10**6}, "Select a valid choice"),
        ):
            answer = client_for(engineer).post(f"{URL}gold/of/{task.pk}/", data)
            assert answer.status_code == 422 and problem in answer.text
        assert client_for(engineer).get(f"{URL}gold/of/99999/").status_code == 404
        assert not Gold.objects.exists()

    def test_wrong_role_and_method(self, client_for, sme, engineer, disputed):
        url = f"{URL}gold/of/{disputed.tasks.first().pk}/"
        assert client_for(sme).get(url).status_code == 403
        assert client_for(engineer).delete(url).status_code == 405


class TestRetire:
    def test_retires_once(self, client_for, engineer, item):
        url = f"{URL}gold/{item.pk}/retire/"
        assert "Retired" in client_for(engineer).post(url, follow=True).text
        assert "retired already" in client_for(engineer).post(url, follow=True).text

    def test_wrong_role_and_method(self, client_for, engineer, sme, item):
        assert client_for(sme).post(f"{URL}gold/{item.pk}/retire/").status_code == 403
        assert client_for(engineer).get(f"{URL}gold/{item.pk}/retire/").status_code == 405


class TestDisagreements:
    url = f"{URL}disagreements/"

    def test_lists_and_sends(self, client_for, engineer, disputed, project, django_assert_max_num_queries):
        client = client_for(engineer)
        with django_assert_max_num_queries(15):
            seen = client.get(self.url).text
        assert "4 of" in seen and "A › B › C" in seen and "C › B › A" in seen and "100" in seen
        first, second = judged_tasks(project)[:2]
        answer = client.post(self.url, {"task": [first, second]}, follow=True)
        assert "2 tasks wait for somebody" in answer.text
        assert Task.objects.filter(adjudicates__in=[first, second]).count() == 2
        assert f'value="{first}"' not in client.get(self.url).text
        assert "Waits to be settled" in client.get(f"{self.url}?show=sent").text

    def test_a_settled_one_is_marked(self, client_for, engineer, owner, disputed, project):
        (task,) = send_to_adjudication(project, judged_tasks(project)[:1], engineer)
        claim = claim_next(task.queue, owner)
        label = submit_ranking(claim, [["a"], ["b"], ["c"]])
        seen = client_for(engineer).get(f"{self.url}?show=all").text
        assert "Adjudicated" in seen and f"/comparisons/{label.pk}/" in seen
        assert "Adjudicated" in client_for(engineer).get("/projects/helpdesk/comparisons/").text
        assert "Adjudicated" in client_for(engineer).get(f"/projects/helpdesk/comparisons/{label.pk}/").text

    def test_bad_input(self, client_for, engineer, disputed, project):
        client = client_for(engineer)
        assert "Choose at least one task" in client.post(self.url, follow=True).text
        assert "no two judgements" in client.post(self.url, {"task": ["x", "99999"]}, follow=True).text
        for query in ("slice=%3Dnone", "show=x", "before=1", "before=x", "page=99"):
            assert client.get(f"{self.url}?{query}").status_code == 200

    def test_nothing_judged_and_nothing_disputed(self, client_for, engineer, rank_queue, annotator, sme):
        assert "Nothing to compare yet" in client_for(engineer).get(self.url).text
        for user in (annotator, sme):
            judge_all(rank_queue, user)
        assert "Everybody agrees" in client_for(engineer).get(self.url).text

    def test_wrong_role_and_method(self, client_for, engineer, sme, disputed):
        assert client_for(sme).get(self.url).status_code == 403
        assert client_for(sme).post(self.url).status_code == 403
        assert client_for(engineer).put(self.url).status_code == 405
