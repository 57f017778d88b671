"""Run and artifact pages in a real browser: live updates without a reload, charts, keyboard, accessibility."""

from __future__ import annotations

import math

import pytest
from django.urls import reverse
from playwright.sync_api import expect

from studio.runs.models import Run
from tests.studio.conftest import opened

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def log_steps(run: Run, first: int, last: int) -> None:
    directory = opened(run)
    for step in range(first, last + 1):
        validation = {"val_loss": 2.5 + 2 * math.exp(-step / 40)} if step % 10 == 0 else {}
        directory.log_metrics(step, loss=2.4 + 2 * math.exp(-step / 40), learning_rate=1e-3 / step, **validation)
    directory.log_sample(last, prompt="The with statement", text=f"wraps a block, step {last}")
    directory.progress(last, 200, "steps")
    with open(run.directory / "log.txt", "a") as log:
        log.writelines(f"step {step} of 200\n" for step in range(first, last + 1))


def detail(run: Run) -> str:
    return reverse("runs:detail", args=["helpdesk", run.pk])


@pytest.fixture
def run(project, engineer, make_run) -> Run:
    run = make_run(project, engineer, title="Count slowly")
    log_steps(run, 1, 100)
    return run


@pytest.mark.slow
def test_a_run_is_followed_to_its_end_without_a_reload(run, engineer, page_for):
    page = page_for(engineer)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(detail(run))
    page.evaluate("window.stayed = true")
    page.get_by_text("100 of 200 steps").wait_for()
    loss = page.locator("[data-chart=Loss] .chart-plot")
    expect(page.locator(".chart-plot[role=img] canvas")).to_have_count(2)
    # 2.4 + 2·exp(−1/40) = 4.351 at the first step, 2.4 + 2·exp(−100/40) = 2.564 at the hundredth
    assert "Training loss from 4.351 at step 1 to 2.564 at step 100" in loss.get_attribute("aria-label")

    log_steps(run, 101, 200)
    page.get_by_text("200 of 200 steps").wait_for()
    page.locator("[data-chart=Loss] [aria-label*='at step 200,']").wait_for()
    page.get_by_text("wraps a block, step 200").wait_for(timeout=10_000)
    page.get_by_text("step 200 of 200").wait_for()

    Run.objects.filter(pk=run.pk).update(status="failed", error="The disk is full.")
    page.get_by_text("The disk is full.").wait_for()
    page.get_by_role("button", name="Start again").wait_for()
    assert page.get_by_role("status").filter(has_text="Failed").count() == 1
    page.wait_for_timeout(6000)  # longer than every poll's pause: the last ones may answer "stop"
    asked.clear()
    page.wait_for_timeout(5000)
    assert asked == []
    assert page.evaluate("window.stayed")


def test_a_chart_starts_anew_when_the_run_is_cut_back(run, engineer, page_for):
    page = page_for(engineer)
    page.goto(detail(run))
    page.locator("[data-chart=Loss] [aria-label*='at step 100,']").wait_for()
    opened(run).truncate_to(40)
    page.locator("[data-chart=Loss] [aria-label*='at step 40,']").wait_for()


def test_nothing_jumps_when_the_charts_arrive(run, engineer, page_for):
    page = page_for(engineer)
    page.goto(detail(run))
    expect(page.locator(".chart-plot[role=img] canvas")).to_have_count(2)
    page.wait_for_timeout(2500)  # one poll
    shift = page.evaluate(
        """() => new Promise((done) => new PerformanceObserver((list) => done(
             list.getEntries().reduce((sum, entry) => sum + entry.value, 0)))
             .observe({type: 'layout-shift', buffered: true}) || setTimeout(() => done(0), 300))"""
    )
    assert shift < 0.05  # 0.1 is the limit of "good" in web.dev/cls


def test_cancelling_by_keyboard(run, engineer, page_for):
    page = page_for(engineer)
    page.goto(detail(run))
    page.keyboard.press("x")
    page.get_by_role("dialog", name=f"Cancel run {run.pk}?").wait_for()
    page.keyboard.press("Escape")
    page.keyboard.press("x")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.get_by_text("Saving what it can resume from").wait_for()
    run.refresh_from_db()
    assert run.cancel_requested


def test_a_run_is_started_by_keyboard(project, engineer, known_recipes, unsent, page_for):
    page = page_for(engineer)
    page.goto(reverse("runs:list", args=["helpdesk"]))
    page.keyboard.press("n")
    page.get_by_role("link", name="Count").press("Enter")
    page.get_by_label("Steps").first.fill("0")
    page.keyboard.press("Control+Enter")
    page.get_by_text("Steps: 0 must be at least 1 and at most 10000.").wait_for()
    page.get_by_label("Steps").first.fill("12")
    page.keyboard.press("Control+Enter")
    page.get_by_text("Next on the cpu queue").wait_for()
    assert Run.objects.get().config["steps"] == 12


def test_live_rows_change_and_ticks_stay(run, engineer, page_for):
    page = page_for(engineer)
    page.goto(reverse("runs:list", args=["helpdesk"]))
    page.get_by_label(f"Compare run {run.pk}").check()
    Run.objects.filter(pk=run.pk).update(status="succeeded")
    page.locator(f"#run-{run.pk}-state").get_by_text("Succeeded").wait_for()
    assert page.get_by_label(f"Compare run {run.pk}").is_checked()


def test_two_runs_share_a_chart_and_values_can_be_read_as_a_table(run, project, engineer, make_run, page_for):
    other = make_run(project, engineer, "succeeded", title="Count fast", config={"steps": 20})
    log_steps(other, 1, 50)
    page = page_for(engineer)
    page.goto(reverse("runs:compare", args=["helpdesk"]) + f"?run={run.pk}&run={other.pk}")
    chart = page.locator("[data-chart='Learning rate']")
    chart.get_by_text(f"#{other.pk} 2e-5").wait_for()  # 0.001 / 50
    chart.get_by_text("Values as a table").press("Enter")
    table = chart.get_by_role("table")
    assert table.get_by_role("columnheader").all_inner_texts() == ["Step", f"#{run.pk}", f"#{other.pk}"]
    assert table.get_by_role("row").count() == 1 + 20
    assert table.get_by_role("row").last.inner_text().split() == ["100", "1e-5", "–"]


@pytest.mark.slow
@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (390, "dark")])
def test_every_page_is_accessible(
    run, project, engineer, make_run, make_artifact, page_for, assert_accessible, width, scheme
):
    failed = make_run(project, engineer, "failed", title="Failed", error="ValueError: no\n" * 6)
    rows = [{"prompt": "What does `zip` do?", "chosen": "It pairs items.", "rejected": "It compresses."}]
    data = make_artifact(engineer, "dataset", "Pairs", {"train.jsonl": rows}, metadata={"type": "comparisons"})
    labels = [{"text": "A text", "toxicity": 0}]
    labelled = make_artifact(engineer, "dataset", "Labels", {"train.jsonl": labels}, metadata={"type": "labelled"})
    page = page_for(engineer, width, scheme)
    for name, args in [
        ("list", ()), ("new", ()), ("start", ("pretrain",)), ("start", ("sft",)), ("detail", (run.pk,)),
        ("detail", (failed.pk,)), ("log", (run.pk,)), ("artifacts", ()), ("artifact", (data.pk,)),
        ("artifact", (labelled.pk,)), ("upload", ()),
    ]:  # fmt: skip
        page.goto(reverse(f"runs:{name}", args=["helpdesk", *args]))
        page.wait_for_load_state()
        assert_accessible(page)
    page.goto(reverse("runs:compare", args=["helpdesk"]) + f"?run={run.pk}&run={failed.pk}")
    expect(page.locator("canvas")).to_have_count(2)
    for summary in page.get_by_text("Values as a table").all():
        summary.press("Enter")
    assert_accessible(page)
