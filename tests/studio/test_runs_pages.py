"""The list of runs, a run's page and what it shows while live, comparisons. Works / bad input / wrong role / method."""

import json

import pytest
from django.urls import reverse

from studio.models import Project
from studio.runs.models import Run
from tests.studio.conftest import opened

PAGES = [("runs:list", ()), ("runs:states", ()), ("runs:compare", ())]
RUN_PAGES = ["runs:detail", "runs:live", "runs:metrics", "runs:samples", "runs:log"]
ACTS = ["runs:cancel", "runs:resume", "runs:repeat"]


@pytest.fixture
def run(project, engineer, make_run) -> Run:
    run = make_run(project, engineer)
    directory = opened(run)
    for step in range(1, 6):
        directory.log_metrics(step, loss=1 / step, learning_rate=1e-5)
    directory.log_sample(5, prompt="Why?", text="Because <b>it counts</b>.", reward=0.25)
    directory.progress(5, 10, "steps", "counting")
    (run.directory / "log.txt").write_text("starting\nstep 1\rstep 5\n\x1b[31mred\x1b[0m\n")
    return run


# Who may


@pytest.mark.parametrize("name", RUN_PAGES)
def test_members_with_a_trained_eye_see_a_run(name, run, sme, client_for):
    assert client_for(sme).get(reverse(name, args=["helpdesk", run.pk])).status_code in (200, 286)


@pytest.mark.parametrize("name", RUN_PAGES)
def test_annotators_judge_blind_so_runs_are_hidden_from_them(name, run, annotator, client_for):
    assert client_for(annotator).get(reverse(name, args=["helpdesk", run.pk])).status_code == 403


@pytest.mark.parametrize("name", RUN_PAGES)
def test_outsiders_learn_nothing(name, run, outsider, client_for):
    assert client_for(outsider).get(reverse(name, args=["helpdesk", run.pk])).status_code == 404


@pytest.mark.parametrize("name", RUN_PAGES + ACTS)
def test_a_run_is_found_only_in_its_own_project(name, run, engineer, client_for):
    other = Project.objects.create(slug="other", name="Other")
    other.memberships.create(user=engineer, role="engineer")
    client = client_for(engineer)
    url = reverse(name, args=["other", run.pk])
    assert (client.post(url) if name in ACTS else client.get(url)).status_code == 404


@pytest.mark.parametrize("name", RUN_PAGES)
def test_pages_are_only_read(name, run, engineer, client_for):
    assert client_for(engineer).post(reverse(name, args=["helpdesk", run.pk])).status_code == 405


@pytest.mark.parametrize("name", [name for name, _ in PAGES])
def test_project_wide_pages(name, run, sme, annotator, client_for):
    url = reverse(name, args=["helpdesk"])
    assert client_for(sme).get(url).status_code == 200
    assert client_for(sme).post(url).status_code == 405
    assert client_for(annotator).get(url).status_code == 403


@pytest.mark.parametrize("name", ACTS)
def test_acts_are_for_engineers_and_only_posted(name, run, sme, engineer, client_for):
    url = reverse(name, args=["helpdesk", run.pk])
    assert client_for(sme).post(url).status_code == 403
    assert client_for(engineer).get(url).status_code == 405


# What they show


def test_a_run_page_shows_progress_metrics_samples_log_and_settings(
    run, engineer, client_for, django_assert_max_num_queries
):
    client = client_for(engineer)
    with django_assert_max_num_queries(15):
        page = client.get(reverse("runs:detail", args=["helpdesk", run.pk])).content.decode()
    assert "5 of 10 steps" in page and "counting" in page
    assert 'value="0.5000"' in page
    assert "Because &lt;b&gt;it counts&lt;/b&gt;." in page and "Reward" in page
    assert "step 5\nred" in page and "step 1" not in page  # as a terminal shows it
    assert "Checkpoint every" in page
    assert 'data-chart="Loss"' in page and 'data-chart="Learning rate"' in page
    assert "cancel-dialog" in page
    assert " style=" not in page and "<script>" not in page  # the content security policy


def test_the_live_part_polls_until_the_run_is_over(run, engineer, client_for):
    client = client_for(engineer)
    url = reverse("runs:live", args=["helpdesk", run.pk])
    going = client.get(url, {"shown": "running"}).content.decode()
    assert 'hx-trigger="every 2s"' in going and "0.2" in going and "run-outcome" not in going
    Run.objects.filter(pk=run.pk).update(status="failed", error="ValueError: the disk is full")
    over = client.get(url, {"shown": "running"}).content.decode()
    assert "hx-trigger" not in over
    assert "the disk is full" in over and "no checkpoint had been written" in over and "Start again" in over


def test_a_failed_run_says_what_was_kept(run, engineer, client_for):
    with opened(run).checkpoint(4) as path:
        (path / "total.json").write_text("10")
    Run.objects.filter(pk=run.pk).update(status="failed", error="killed")
    page = client_for(engineer).get(reverse("runs:detail", args=["helpdesk", run.pk])).content.decode()
    assert "Kept: the checkpoint of step 4" in page and "Resume" in page and "killed" in page


def test_a_queued_run_knows_its_place(run, project, engineer, make_run, client_for):
    first, second = make_run(project, engineer, "queued"), make_run(project, engineer, "queued")
    client = client_for(engineer)
    assert "Next on the cpu queue" in client.get(reverse("runs:live", args=["helpdesk", first.pk])).content.decode()
    assert (
        "Number 2 on the cpu queue" in client.get(reverse("runs:live", args=["helpdesk", second.pk])).content.decode()
    )


def test_metrics_since_a_cursor_are_the_new_ones(run, engineer, client_for):
    client = client_for(engineer)
    url = reverse("runs:metrics", args=["helpdesk", run.pk])
    everything = client.get(url).json()
    assert everything["live"] and everything["reset"]
    assert [chart["title"] for chart in everything["charts"]] == ["Loss", "Learning rate"]
    assert everything["charts"][0]["series"][0]["steps"] == [1, 2, 3, 4, 5]
    opened(run).log_metrics(6, loss=0.125)
    new = client.get(url, {"since": everything["cursor"]}).json()
    assert not new["reset"]
    assert new["charts"][0]["series"][0]["steps"] == [6] and new["charts"][0]["series"][0]["values"] == [0.125]
    assert client.get(url, {"since": "nonsense:x"}).json()["reset"]


def test_polled_parts_say_stop_when_the_run_is_over(run, engineer, client_for):
    client = client_for(engineer)
    for name in ("runs:log", "runs:samples"):
        url = reverse(name, args=["helpdesk", run.pk])
        assert client.get(url, headers={"HX-Request": "true"}).status_code == 200
    Run.objects.filter(pk=run.pk).update(status="succeeded")
    for name in ("runs:log", "runs:samples"):
        url = reverse(name, args=["helpdesk", run.pk])
        assert client.get(url, headers={"HX-Request": "true"}).status_code == 286  # htmx: stop polling


def test_the_whole_log_is_a_download(run, engineer, client_for):
    answer = client_for(engineer).get(reverse("runs:log", args=["helpdesk", run.pk]), {"download": ""})
    assert b"".join(answer.streaming_content) == (run.directory / "log.txt").read_bytes()
    assert answer["Content-Disposition"] == f'attachment; filename="run-{run.pk}.log.txt"'
    (run.directory / "log.txt").unlink()
    assert client_for(engineer).get(reverse("runs:log", args=["helpdesk", run.pk]), {"download": ""}).status_code == 404


def test_an_unreadable_run_directory_is_no_error(project, engineer, make_run, client_for):
    run = make_run(project, engineer, "succeeded", result={"total": 55})
    (run.directory / "config.json").unlink()
    (run.directory / "metrics.jsonl").write_bytes(b'{"step": 1, "time": 1.0, "loss": 2}\n{"step": 2, "ti')
    (run.directory / "samples.jsonl").write_bytes(b'[1]\n{"step": 1, "text": null}\n{"st')
    (run.directory / "log.txt").write_bytes(b"\xff\xfe broken\n")
    page = client_for(engineer).get(reverse("runs:detail", args=["helpdesk", run.pk]))
    assert page.status_code == 200 and "broken" in page.content.decode()


def test_a_run_of_a_recipe_that_is_gone(project, engineer, make_run, client_for):
    run = make_run(project, engineer, "failed")
    Run.objects.filter(pk=run.pk).update(recipe_name="abacus")
    client = client_for(engineer)
    assert "abacus" in client.get(reverse("runs:detail", args=["helpdesk", run.pk])).content.decode()
    assert "abacus" in client.get(reverse("runs:list", args=["helpdesk"])).content.decode()
    answer = client.post(reverse("runs:repeat", args=["helpdesk", run.pk]), follow=True).content.decode()
    assert "no longer installed" in answer


def test_the_list_filters_and_pages(project, engineer, make_run, client_for, django_assert_max_num_queries):
    for number in range(26):
        make_run(project, engineer, "succeeded" if number else "failed", title=f"Number {number}")
    client, url = client_for(engineer), reverse("runs:list", args=["helpdesk"])
    with django_assert_max_num_queries(15):
        first = client.get(url).content.decode()
    assert "Number 25" in first and "Number 0" not in first and "1–25 of 26" in first
    assert "Number 0" in client.get(url, {"page": 2}).content.decode()
    failed = client.get(url, {"status": "failed"}).content.decode()
    assert "Number 0" in failed and "Number 25" not in failed
    assert "No run matches" in client.get(url, {"status": "cancelled"}).content.decode()
    assert client.get(url, {"status": "nonsense", "page": "x"}).status_code == 200


def test_an_empty_list_teaches(project, engineer, sme, known_recipes, client_for):
    url = reverse("runs:list", args=["helpdesk"])
    assert reverse("runs:new", args=["helpdesk"]) in client_for(engineer).get(url).content.decode()
    assert "engineers start runs" in client_for(sme).get(url).content.decode()


def test_live_rows_are_asked_for_together(run, engineer, client_for):
    answer = client_for(engineer).get(reverse("runs:states", args=["helpdesk"]), {"run": [run.pk, "x", "9" * 30]})
    assert f'id="run-{run.pk}-state"' in answer.content.decode() and "every 3s" in answer.content.decode()
    Run.objects.filter(pk=run.pk).update(status="succeeded")
    over = client_for(engineer).get(reverse("runs:states", args=["helpdesk"]), {"run": run.pk}).content.decode()
    assert "every 3s" not in over and "Succeeded" in over


def test_runs_side_by_side(project, engineer, make_run, client_for, django_assert_max_num_queries):
    runs = [make_run(project, engineer, "succeeded", config={"steps": n}, result={"total": n}) for n in (10, 20)]
    for run in runs:
        opened(run).log_metrics(1, loss=1.0)
    client, url = client_for(engineer), reverse("runs:compare", args=["helpdesk"])
    with django_assert_max_num_queries(15):
        page = client.get(url, {"run": [r.pk for r in runs]}).content.decode()
    assert page.count(f"/runs/{runs[0].pk}/metrics.json") == 1 and f"/runs/{runs[1].pk}/metrics.json" in page
    assert page.count('class="changed"') == 1  # only the steps differ
    assert "Nothing to compare" in client.get(url, {"run": "nonsense"}).content.decode()


# What they do


def test_cancel_resume_and_repeat(run, engineer, client_for, unsent):
    client = client_for(engineer)
    detail = reverse("runs:detail", args=["helpdesk", run.pk])
    assert client.post(reverse("runs:cancel", args=["helpdesk", run.pk])).url == detail
    run.refresh_from_db()
    assert run.cancel_requested
    refused = client.post(reverse("runs:resume", args=["helpdesk", run.pk]), follow=True).content.decode()
    assert "Only a failed or cancelled run can be resumed." in refused
    Run.objects.filter(pk=run.pk).update(status="cancelled")
    client.post(reverse("runs:resume", args=["helpdesk", run.pk]))
    run.refresh_from_db()
    assert run.status == "queued"
    again = client.post(reverse("runs:repeat", args=["helpdesk", run.pk]))
    assert again.url == reverse("runs:start", args=["helpdesk", "count"]) + f"?repeat={run.pk}"


def test_a_run_that_is_over_cannot_be_cancelled(project, engineer, make_run, client_for):
    run = make_run(project, engineer, "succeeded")
    answer = client_for(engineer).post(reverse("runs:cancel", args=["helpdesk", run.pk]), follow=True)
    assert "there is nothing left to cancel" in answer.content.decode()


def test_no_run_with_that_number(project, engineer, known_recipes, client_for):
    assert client_for(engineer).get(reverse("runs:detail", args=["helpdesk", 999])).status_code == 404


def test_config_of_the_run_is_what_its_recipe_reads(run):
    assert json.loads((run.directory / "config.json").read_text())["config"] == run.config
