"""Prompts: list, detail, import, and queueing work from them."""

from __future__ import annotations

import pytest

from annotation import queue, submit
from annotation.models import Completion, Kind, Queue, Task
from annotation.prompts import import_prompts
from studio.models import Project

URL = "/projects/helpdesk/prompts/"


class TestList:
    def test_counts_what_there_is(self, client_for, sme, rank_queue, write_queue):
        submit.submit_demonstration(queue.claim_next(write_queue, sme), "Slice it.")
        seen = client_for(sme).get(URL).text
        assert seen.count('<td class="num" data-label="Answers">3</td>') == 6
        assert seen.count('<td class="num" data-label="Demonstrations">1</td>') == 1
        assert seen.count("Held out</span>") == 2

    @pytest.mark.parametrize(
        ("query", "numbers"),
        [("split=test", [4, 5]), ("q=number 3", [3]), ("cluster=lists&split=train&q=NUMBER 2", [2]), ("q=tuple", [])],
    )
    def test_filters(self, client_for, sme, prompts, query, numbers):
        seen = client_for(sme).get(f"{URL}?{query}").text
        assert [n for n in range(6) if f"list number {n}?" in seen] == numbers

    def test_finds_text_that_json_escapes(self, client_for, sme, project, engineer):
        import_prompts(project, [{"prompt": 'Was heißt "Tupel"?'}], engineer)
        assert "Was heißt" in client_for(sme).get(f"{URL}?q=heißt").text
        assert "Was heißt" in client_for(sme).get(URL, {"q": '"Tupel"'}).text

    def test_filters_that_make_no_sense_show_all(self, client_for, sme, prompts):
        assert client_for(sme).get(f"{URL}?split=nowhere&cluster=none&page=99").text.count("list number") == 6

    def test_empty_page_teaches(self, client_for, engineer, sme, project):
        assert "Import prompts" in client_for(engineer).get(URL).text
        assert "An engineer imports them" in client_for(sme).get(URL).text

    def test_wrong_role_and_method(self, client_for, annotator, outsider, sme, project):
        assert client_for(annotator).get(URL).status_code == 403
        assert client_for(outsider).get(URL).status_code == 404
        assert client_for(sme).post(URL).status_code == 405

    def test_queries_do_not_grow_with_prompts(
        self, client_for, sme, project, engineer, answers, django_assert_max_num_queries
    ):
        import_prompts(project, [{"prompt": f"Question {n}"} for n in range(40)], engineer)
        browser = client_for(sme)
        with django_assert_max_num_queries(12):
            browser.get(URL)


class TestDetail:
    def test_shows_models_and_judgements_once_judged(self, client_for, engineer, sme, rank_queue, prompts):
        made = [submit.submit_ranking(queue.claim_next(rank_queue, sme), [["a"], ["b", "c"]]) for _ in range(4)]
        seen = client_for(engineer).get(f"{URL}{made[0].prompt_id}/").text
        assert "Tortoise" in seen
        assert "A › B = C" in seen

    def test_stays_blind_while_a_judgement_is_due(self, client_for, annotator, sme, engineer, rank_queue):
        made = submit.submit_ranking(queue.claim_next(rank_queue, annotator), [["a"], ["b"], ["c"]])
        url = f"{URL}{made.prompt_id}/"
        blind = client_for(sme).get(url).text  # may still be given this task: its overlap is 2
        assert "Tortoise" not in blind
        assert "A › B › C" not in blind
        assert "Tortoise" in client_for(engineer).get(url).text
        task = Task.objects.get(pk=made.task_id)
        mine = queue.claim_task(task, engineer)
        assert "Tortoise" not in client_for(engineer).get(url).text
        submit.submit_ranking(mine, [["a", "b", "c"]])
        assert "Tortoise" in client_for(engineer).get(url).text
        assert "Tortoise" in client_for(sme).get(url).text  # all places are taken: nothing is due any more

    def test_of_another_project_is_not_found(self, client_for, sme, engineer, prompts):
        other = Project.objects.create(slug="other", name="Other")
        theirs = import_prompts(other, [{"prompt": "Theirs"}], engineer).prompts[0]
        assert client_for(sme).get(f"{URL}{theirs.pk}/").status_code == 404

    def test_wrong_role_and_method(self, client_for, annotator, sme, prompts):
        assert client_for(annotator).get(f"{URL}{prompts[0].pk}/").status_code == 403
        assert client_for(sme).post(f"{URL}{prompts[0].pk}/").status_code == 405


class TestQueueWork:
    url = f"{URL}queue/"
    demonstrations = {"kind": "demonstrate", "split": "train", "fresh": "on", "limit": 3, "overlap": 1, "priority": 0}

    def test_demonstrations_of_prompts_that_nobody_was_asked_for(self, client_for, engineer, prompts):
        browser = client_for(engineer)
        first = browser.post(self.url, self.demonstrations)
        assert first.url == f"/projects/helpdesk/annotate/queues/{Queue.objects.get().pk}/tasks/"
        browser.post(self.url, self.demonstrations)
        tasks = Task.objects.filter(queue__kind=Kind.DEMONSTRATE)
        assert [task.prompt_id for task in tasks] == [p.pk for p in prompts[:4]]  # 3, then the one that was left
        refused = browser.post(self.url, self.demonstrations)
        assert refused.status_code == 422
        assert "No prompt is left under these conditions" in refused.text

    def test_rankings_of_what_was_sampled(self, client_for, engineer, answers, make_artifact):
        drawn = make_artifact("completions", "Samples")
        for row in answers:
            for line, completion in enumerate(row):
                Completion.objects.filter(pk=completion.pk).update(artifact=drawn, line=completion.pk * 10 + line)
        data = {"kind": "rank", "artifact": drawn.pk, "answers": 3, "per_prompt": 1, "overlap": 2, "priority": 5,
                "split": "train"}  # fmt: skip
        client_for(engineer).post(self.url, data)
        tasks = Task.objects.all()
        assert [(t.completions.count(), t.overlap, t.priority) for t in tasks] == [(3, 2, 5)] * 4
        too_many = client_for(engineer).post(self.url, data | {"answers": 4})
        assert "No prompt has 4 different completions to rank" in too_many.text

    @pytest.mark.parametrize(
        ("data", "sentence"),
        [
            ({"overlap": 0}, "greater than or equal to 1"),
            ({"limit": "many"}, "Enter a whole number"),
            ({"cluster": "no such"}, "not one of the available choices"),
            ({"kind": "rank"}, "This field is required"),
        ],
    )
    def test_bad_input(self, client_for, engineer, prompts, data, sentence):
        answer = client_for(engineer).post(self.url, self.demonstrations | data)
        assert answer.status_code == 422
        assert sentence in answer.text
        assert not Task.objects.exists()

    def test_form_takes_over_the_filters_of_the_list(self, client_for, engineer, prompts):
        seen = client_for(engineer).get(f"{self.url}?split=test&cluster=lists&q=number").text
        assert '<option value="test" selected>' in seen
        assert '<option value="lists" selected>' in seen

    def test_wrong_role_and_method(self, client_for, sme, engineer, prompts):
        assert client_for(sme).post(self.url, self.demonstrations).status_code == 403
        assert client_for(engineer).put(self.url).status_code == 405
        assert not Task.objects.exists()
