"""The agreement page."""

from __future__ import annotations

import random
import re
from datetime import timedelta

import pytest
from django.utils import timezone

from annotation.agreement import agreement_of
from annotation.agreement_chart import chart_of
from annotation.models import Comparison, Completion, Kind
from annotation.prompts import import_prompts
from annotation.tasks import add_tasks, find_queue
from studio.models import User

URL = "/projects/helpdesk/quality/agreement/"


@pytest.fixture
def judged(project, engineer, guideline) -> list[Comparison]:
    """Forty prompts over ten weeks, three answers, three of four people each; they agree more and more."""
    rng = random.Random(4)
    rows = [{"prompt": f"Question {n}?", "cluster": ("lists", "strings")[n % 2], "split": "train"} for n in range(40)]
    prompts = import_prompts(project, rows, engineer).prompts
    people = [User.objects.create_user(username=name) for name in ("Ada", "Ben", "Cleo", "Dan")]
    answers = [[Completion.objects.create(prompt=p, text=f"Way {i}") for i in range(3)] for p in prompts]
    tasks = add_tasks(find_queue(project, Kind.RANK), list(zip(prompts, answers, strict=True)), overlap=3)
    found = []
    for number, (task, offered) in enumerate(zip(tasks, answers, strict=True)):
        for person in rng.sample(people, 3):
            ids = sorted((c.pk for c in offered), key=lambda pk: pk + rng.gauss(0, 2.5 - number / 20))
            found.append(
                Comparison(
                    prompt=task.prompt, task=task, annotator=person, tiers=[[pk] for pk in ids], shown_order=ids,
                    guideline=guideline, created_at=timezone.now() - timedelta(days=70 - number * 1.7),
                )
            )  # fmt: skip
    return Comparison.objects.bulk_create(found)


def test_figures_with_intervals_and_numbers(client_for, engineer, project, judged, django_assert_max_num_queries):
    browser = client_for(engineer)
    with django_assert_max_num_queries(15):
        seen = browser.get(URL)
    assert seen.status_code == 200
    all_in_all = agreement_of(project).overall
    assert f"<dd>{all_in_all.nominal.value:.2f}</dd>" in seen.text
    assert f"95 %: {all_in_all.nominal.low:.2f} to {all_in_all.nominal.high:.2f}; n = 360 verdicts" in seen.text
    for words in ("By task cluster", "lists", "Ada and Dan", "Items that people agree on least", "By week"):
        assert words in seen.text
    assert "By guideline version" not in seen.text  # there is only one
    with django_assert_max_num_queries(9):  # counted before
        browser.get(URL)


def test_filters(client_for, engineer, project, judged):
    browser = client_for(engineer)
    recent = browser.get(URL, {"days": "30"}).text
    assert f"n = {agreement_of(project, days=30).overall.percent.n} verdicts" in recent
    other = find_queue(project, Kind.RANK, "Other")
    assert "Nothing to compare here" in browser.get(URL, {"queue": other.pk}).text


@pytest.mark.parametrize("query", [{"days": "-1"}, {"days": "x"}, {"queue": "99999"}, {"queue": "\0"}])
def test_bad_input(client_for, engineer, judged, query):
    seen = client_for(engineer).get(URL, query)
    assert seen.status_code == 422 and "Shown is everything" in seen.text


def test_nothing_yet(client_for, owner, project):
    assert "Nothing to compare yet" in client_for(owner).get(URL).text


def test_wrong_role_and_method(client_for, engineer, sme, annotator, outsider):
    assert client_for(sme).get(URL).status_code == client_for(annotator).get(URL).status_code == 403
    assert client_for(outsider).get(URL).status_code == 404
    assert client_for(engineer).post(URL).status_code == 405


def test_the_drawing_says_what_it_draws(project, judged, client_for, engineer):
    periods = agreement_of(project).periods
    assert chart_of(periods[:1]) is None
    chart = chart_of(periods)
    percent, nominal = chart.series
    assert len(percent.points) == len(periods) == len(nominal.points)
    assert [p.x for p in percent.points] == sorted(p.x for p in percent.points)
    ticks = {value: y for y, value in chart.ticks}
    for point, period in zip(percent.points, periods, strict=True):
        share = (ticks["0"] - point.y) / (ticks["0"] - ticks["1"])
        assert share == pytest.approx(period.agreement.percent.value)
        assert f"n = {period.agreement.percent.n}" in point.words
    described = re.search(r'<desc id="chart-words">(.*?)</desc>', client_for(engineer).get(URL).text, re.DOTALL)
    assert percent.points[0].words in described[1]


@pytest.mark.browser
@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (390, "dark")])
def test_in_a_browser(page_for, assert_accessible, engineer, judged, width, scheme):
    page = page_for(engineer, width=width, scheme=scheme)
    page.goto(URL)
    assert_accessible(page)
    page.get_by_text("What these figures mean").click()
    page.get_by_text("As a table").click()
    assert page.get_by_role("img", name="Agreement over time").is_visible()
    assert_accessible(page)
