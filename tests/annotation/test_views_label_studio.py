"""Label Studio's page, with no server behind it: linking, sending, fetching, unlinking."""

from __future__ import annotations

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from annotation.label_studio import links
from annotation.label_studio.pull import pull
from annotation.label_studio.push import push
from annotation.models import JournalEntry, LabelStudioAnnotation, LabelStudioLink, LabelStudioTask, Slot
from annotation.tasks import find_queue

URL = "/projects/helpdesk/exchange/label-studio/"
pytestmark = pytest.mark.usefixtures("unreachable_label_studio")


@pytest.fixture
def link(rank_queue, engineer) -> LabelStudioLink:
    return links.link_queue(rank_queue, engineer)


class TestPage:
    def test_without_a_server(self, client_for, engineer, project, settings):
        settings.LABEL_STUDIO_API_KEY = ""
        seen = client_for(engineer).get(URL).text
        assert "Set LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY" in seen and "<select" not in seen

    def test_what_could_be_linked(self, client_for, engineer, rank_queue, write_queue):
        find_queue(rank_queue.project, "adjudicate")
        write_queue.skill = "asyncio"
        write_queue.save()
        seen = client_for(engineer).get(URL).text
        assert seen.count("<option") == 1 and "Rank answers" in seen

    def test_what_is_linked(self, client_for, engineer, link):
        mine = LabelStudioTask.objects.create(link=link, task=link.queue.tasks.first(), remote_task=7)
        common = {"link": link, "task": mine, "remote_updated_at": timezone.now(), "digest": "x", "raw": {}}
        LabelStudioAnnotation.objects.create(remote_annotation=1, refused="No <b>answer</b> is ranked.", **common)
        LabelStudioLink.objects.update(
            remote_project=3,
            last_report={
                "act": "pull", "at": timezone.now().isoformat(), "labels": 5, "revised": 1, "skipped": 2, "refused": 1,
                "complaints": [{"annotation": 1, "task": 7, "text": "No <b>answer</b> is ranked."}], "waiting": 1,
                "people": ["x@example.org is no member here."],
            },
        )  # fmt: skip
        seen = client_for(engineer).get(URL).text
        assert "http://127.0.0.1:9/projects/3/data" in seen
        assert "5 new labels, 1 changed, 2 skipped, 1 not taken" in seen
        assert "No &lt;b&gt;answer&lt;/b&gt; is ranked." in seen and "x@example.org is no member here." in seen

    def test_queries_do_not_grow(self, client_for, engineer, project, django_assert_max_num_queries):
        for n in range(6):
            links.link_queue(find_queue(project, "rank", f"Queue {n}"), engineer)
        browser = client_for(engineer)
        with django_assert_max_num_queries(12):
            assert browser.get(URL).status_code == 200

    def test_wrong_role_and_method(self, client_for, sme, outsider, engineer, project):
        assert client_for(sme).get(URL).status_code == 403
        assert client_for(outsider).get(URL).status_code == 404
        assert client_for(engineer).post(URL).status_code == 405


class TestStatus:
    def test_nothing_until_something_changes(self, client_for, engineer, link):
        browser, htmx = client_for(engineer), {"HX-Request": "true"}
        url = f"{URL}{link.pk}/"
        seen = browser.get(url, headers=htmx)
        state = seen.text.split("?seen=")[1].split('"')[0]
        assert browser.get(f"{url}?seen={state}", headers=htmx).status_code == 204
        assert links.begin(link, LabelStudioLink.Act.PULL)
        links.beat(link, 3, 9)
        now = browser.get(f"{url}?seen={state}", headers=htmx).text
        assert "Fetching annotations" in now and 'max="9" value="3"' in now

    def test_not_found_roles_and_method(self, client_for, sme, engineer, link):
        assert client_for(engineer).get(f"{URL}999/").status_code == 404
        assert client_for(engineer).get(f"{URL}{link.pk}/").url == URL
        assert client_for(sme).get(f"{URL}{link.pk}/").status_code == 403
        assert client_for(engineer).post(f"{URL}{link.pk}/").status_code == 405


class TestLink:
    url = f"{URL}link/"

    def test_works(self, client_for, engineer, rank_queue, sent, django_capture_on_commit_callbacks):
        with django_capture_on_commit_callbacks(execute=True):
            answer = client_for(engineer).post(self.url, {"queue": rank_queue.pk})
        made = LabelStudioLink.objects.get()
        assert answer.url == URL and (made.queue, made.created_by, made.is_active) == (rank_queue, engineer, True)
        assert sent == [("push", made.pk, engineer.pk)]
        assert JournalEntry.objects.get().act == "linked to Label Studio"

    @pytest.mark.parametrize("chosen", ["", "x", "999"])
    def test_no_such_queue(self, client_for, engineer, rank_queue, sent, chosen):
        seen = client_for(engineer).post(self.url, {"queue": chosen}, follow=True).text
        assert "Choose the queue" in seen and not LabelStudioLink.objects.exists() and not sent

    def test_twice(self, client_for, engineer, link, sent):
        seen = client_for(engineer).post(self.url, {"queue": link.queue_id}, follow=True).text
        assert "is linked already" in seen and not sent

    def test_queues_for_certain_people(self, client_for, engineer, sme, rank_queue):
        rank_queue.people.add(sme)
        seen = client_for(engineer).post(self.url, {"queue": rank_queue.pk}, follow=True).text
        assert "kept for certain people" in seen and not LabelStudioLink.objects.exists()

    def test_another_server(self, client_for, engineer, link, settings):
        links.unlink(link, engineer)
        settings.LABEL_STUDIO_URL = "http://other.example"
        seen = client_for(engineer).post(self.url, {"queue": link.queue_id}, follow=True).text
        assert "Its annotations came from http://127.0.0.1:9" in seen

    def test_wrong_role_and_method(self, client_for, sme, engineer, rank_queue):
        assert client_for(sme).post(self.url, {"queue": rank_queue.pk}).status_code == 403
        assert client_for(engineer).get(self.url).status_code == 405


@pytest.mark.parametrize("act", ["push", "pull"])
class TestPushAndPull:
    def test_works(self, client_for, engineer, link, sent, act, django_capture_on_commit_callbacks):
        with django_capture_on_commit_callbacks(execute=True):
            assert client_for(engineer).post(f"{URL}{link.pk}/{act}/").url == URL
        assert sent == [(act, link.pk, engineer.pk)]

    def test_busy_or_unlinked(self, client_for, engineer, link, sent, act, django_capture_on_commit_callbacks):
        links.begin(link, LabelStudioLink.Act.PULL)
        with django_capture_on_commit_callbacks(execute=True):
            assert "at it already" in client_for(engineer).post(f"{URL}{link.pk}/{act}/", follow=True).text
            links.finish(link, {})
            links.unlink(link, engineer)
            assert "not linked any more" in client_for(engineer).post(f"{URL}{link.pk}/{act}/", follow=True).text
        assert not sent

    def test_not_found_wrong_role_and_method(self, client_for, sme, engineer, link, act):
        assert client_for(engineer).post(f"{URL}999/{act}/").status_code == 404
        assert client_for(sme).post(f"{URL}{link.pk}/{act}/").status_code == 403
        assert client_for(engineer).get(f"{URL}{link.pk}/{act}/").status_code == 405


class TestUnlink:
    def test_works(self, client_for, engineer, link):
        push(link, engineer)  # nobody answers, but the places are away
        assert set(Slot.objects.values_list("status", flat=True)) == {"away"}
        seen = client_for(engineer).post(f"{URL}{link.pk}/unlink/", follow=True).text
        assert "8 places came back" in seen and "Link again" in seen
        assert set(Slot.objects.values_list("status", flat=True)) == {"free"}

    def test_a_task_withdrawn_meanwhile_stays_out(self, client_for, engineer, link):
        push(link, engineer)
        gone = link.queue.tasks.first()
        link.queue.tasks.filter(pk=gone.pk).update(status="withdrawn")
        client_for(engineer).post(f"{URL}{link.pk}/unlink/")
        assert set(gone.slots.values_list("status", flat=True)) == {"withdrawn"}
        assert set(Slot.objects.exclude(task=gone).values_list("status", flat=True)) == {"free"}

    def test_not_while_it_is_at_work(self, client_for, engineer, link):
        links.begin(link, LabelStudioLink.Act.PULL)
        seen = client_for(engineer).post(f"{URL}{link.pk}/unlink/", follow=True).text
        assert "It is at work just now" in seen and LabelStudioLink.objects.get().is_active

    def test_wrong_role_and_method(self, client_for, sme, engineer, link):
        assert client_for(sme).post(f"{URL}{link.pk}/unlink/").status_code == 403
        assert client_for(engineer).get(f"{URL}{link.pk}/unlink/").status_code == 405


class TestAtWork:
    def test_one_at_a_time(self, link, engineer):
        assert links.begin(link, LabelStudioLink.Act.PULL)
        assert not links.begin(link, LabelStudioLink.Act.PUSH)
        with pytest.raises(ValueError, match="Another push or pull"):
            pull(link)
        LabelStudioLink.objects.update(heartbeat_at=timezone.now() - 2 * links.SILENCE)  # its worker died
        assert links.begin(link, LabelStudioLink.Act.PUSH)

    def test_no_server_is_a_sentence(self, link, engineer):
        assert "does not answer" in push(link, engineer)["error"]
        link.refresh_from_db()
        assert link.act == "" and "does not answer" in link.last_report["error"]
        assert pull(link)["error"] == "There is no project there yet: send the tasks first."

    def test_beat_fetches_for_every_link(self, link, monkeypatch, settings):
        from annotation.label_studio.tasks import pull_all, pull_link

        calls = []
        monkeypatch.setattr(pull_link, "delay", calls.append)
        pull_all()
        LabelStudioLink.objects.update(remote_project=3)
        pull_all()
        settings.LABEL_STUDIO_URL = ""
        pull_all()
        assert calls == [link.pk]


class TestCommand:
    def test_says_what_is_wrong(self, rank_queue, engineer):
        with pytest.raises(CommandError, match="There is no queue 999"):
            call_command("label_studio", "push", "999", "--as", "engineer")
        with pytest.raises(CommandError, match="There is no user 'x'"):
            call_command("label_studio", "push", str(rank_queue.pk), "--as", "x")
        with pytest.raises(CommandError, match="does not answer"):
            call_command("label_studio", "push", str(rank_queue.pk), "--as", "engineer")
        with pytest.raises(CommandError, match="no project there yet"):
            call_command("label_studio", "pull", str(rank_queue.pk))

    def test_not_linked(self, rank_queue):
        with pytest.raises(CommandError, match="is not linked"):
            call_command("label_studio", "pull", str(rank_queue.pk))
