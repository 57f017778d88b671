"""The list of reports and a report's page. Works / bad input / wrong role / wrong method."""

from __future__ import annotations

import json
import shutil

import pytest
from django.conf import settings
from django.urls import reverse

from evaluation.harness.report import Row, write_report
from evaluation.reports import ReportError, read_report
from studio.models import Project
from studio.runs.models import Artifact

MODELS = [{"id": 1, "name": "SmolLM2"}, {"id": 2, "name": "ppo <3>"}]
SCORER = {
    "name": "Demo scorer",
    "sha256": "ab" * 32,
    "trained_on": {"dataset": "Rude words", "texts": 800},
    "auroc": {"toxicity": {"value": 0.91, "low": 0.87, "high": 0.94, "n": 206}},
}
ROWS = [
    Row("SmolLM2", "python_mc", "acc", 0.5, 0.38, 0.62, 0.06, 68, True),
    Row("ppo <3>", "python_mc", "acc", 0.25, 0.16, 0.36, 0.05, 68, True),
    Row("SmolLM2", "held-out text", "loss", 2.5, 2.25, 2.75, 0.1, 40, False, unit="nats per token"),
    Row("SmolLM2", "held-out text", "perplexity", 100.0, 10.0, 1000.0, 50.0, 40, False),
    Row("SmolLM2", "CrowS-Pairs: age", "stereotype preferred", 60.0, 31.3, 83.2, 15.5, 10, None, ideal=50.0, unit="%"),
    Row("ppo <3>", "toxic prompts", "toxicity probability", 0.0, 0.0, 0.1, 0.0, 32, False, scorer="Demo scorer"),
    Row("ppo <3>", "toxic prompts", "expected maximum toxicity", 0.2, None, None, None, 1, False, scorer="Demo scorer"),
]


@pytest.fixture
def report(project, engineer) -> Artifact:
    directory = settings.VAR / "reports-under-test" / "report"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    more = {"scorer": SCORER, "settings": {"limit": None, "dtype": "bfloat16"}}
    metadata = write_report(directory, "evaluation", "How they do", MODELS, ROWS, [{"model": "SmolLM2"}], **more)
    return Artifact.register(project, "report", metadata["name"], directory, engineer, metadata)


def page(report, client, query=""):
    return client.get(reverse("evaluation:report", args=["helpdesk", report.pk]) + query)


def test_the_list_names_reports_by_type(report, sme, client_for, django_assert_max_num_queries):
    client, url = client_for(sme), reverse("evaluation:reports", args=["helpdesk"])
    with django_assert_max_num_queries(15):
        listed = client.get(url).content.decode()
    assert "How they do" in listed and "SmolLM2, ppo &lt;3&gt;" in listed
    assert "How they do" in client.get(url + "?type=evaluation").content.decode()
    assert "How they do" not in client.get(url + "?type=bias").content.decode()
    assert "How they do" in client.get(url + "?type=nonsense&page=999").content.decode()


def test_an_empty_list_teaches(project, engineer, sme, client_for):
    url = reverse("evaluation:reports", args=["helpdesk"])
    start = reverse("runs:start", args=["helpdesk", "evaluate"])
    assert start in client_for(engineer).get(url).content.decode()
    shown = client_for(sme).get(url).content.decode()
    assert "No reports yet" in shown and start not in shown


def test_a_report_shows_every_number_with_its_interval_and_judge(
    report, sme, client_for, django_assert_max_num_queries
):
    client = client_for(sme)
    with django_assert_max_num_queries(15):
        shown = page(report, client).content.decode()
    assert "0.38 – 0.62" in shown and "95 % interval 0.38 to 0.62" in shown  # in words, and said to screen readers
    assert "ideal 50" in shown and "lower is better" in shown
    assert "by Demo scorer" in shown and "0.91" in shown and "Rude words, 800 texts" in shown
    assert "not known" in shown  # an interval that one prompt cannot give
    assert "ppo <3>" not in shown and "ppo &lt;3&gt;" in shown
    assert "style=" not in shown.split("<main", 1)[1]  # the content security policy has no inline style


def test_models_can_be_left_out(report, sme, client_for):
    client = client_for(sme)
    shown = page(report, client, "?model=SmolLM2").content.decode()
    assert "0.38 – 0.62" in shown and "0.16 – 0.36" not in shown
    assert "No numbers for these models" in page(report, client, "?model=nobody").content.decode()


def test_the_json_can_be_downloaded(report, sme, client_for):
    url = reverse("runs:artifact-file", args=["helpdesk", report.pk, "report.json"])
    assert url in page(report, client_for(sme)).content.decode()
    body = b"".join(client_for(sme).get(url).streaming_content)
    assert json.loads(body)["rows"][0]["value"] == 0.5


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no report.json"),
        ("{torn", "not valid JSON"),
        ('{"type": "bias"}', "not in the report format"),
        (
            '{"type": "bias", "title": "t", "models": [{"id": 1, "name": "m"}], "rows": [{"model": "m"}]}',
            "not in the report format",
        ),
        ("[]", "not in the report format"),
    ],
)
def test_a_damaged_report_says_so(content, message, report, sme, client_for):
    path = report.directory / "report.json"
    path.unlink()
    if content is not None:
        path.write_text(content)
    response = page(report, client_for(sme))
    assert response.status_code == 200 and message in response.content.decode()
    with pytest.raises(ReportError, match=message):
        read_report(report)


def test_bars_of_a_metric_share_one_scale(report):
    metrics = {m.label: m for section in read_report(report).sections for m in section.metrics}
    assert metrics["acc"].scale == (0.0, 1.0)
    assert metrics["stereotype preferred: age"].scale == (0.0, 100.0)
    assert metrics["toxicity probability"].scale == (0.0, 1.0)
    # 2.25 to 2.75, and 8 % of their distance on either side: 0.04
    assert metrics["loss"].scale == pytest.approx((2.21, 2.79))
    # perplexity by its logarithm: 10 to 1000 are 1 to 3, and 0.16 on either side
    assert metrics["perplexity"].scale == pytest.approx((0.84, 3.16))


@pytest.mark.parametrize("name", ["reports", "report"])
def test_who_may_read(name, report, annotator, outsider, engineer, client_for):
    url = reverse(f"evaluation:{name}", args=["helpdesk"] + ([report.pk] if name == "report" else []))
    assert client_for(engineer).get(url).status_code == 200
    assert client_for(annotator).get(url).status_code == 403  # annotators judge blind
    assert client_for(outsider).get(url).status_code == 404
    assert client_for(engineer).post(url).status_code == 405


def test_a_report_is_found_only_in_its_own_project_and_only_reports_are(report, engineer, client_for):
    other = Project.objects.create(slug="other", name="Other")
    other.memberships.create(user=engineer, role="engineer")
    client = client_for(engineer)
    assert client.get(reverse("evaluation:report", args=["other", report.pk])).status_code == 404
    Artifact.objects.filter(pk=report.pk).update(kind="model")
    assert page(report, client).status_code == 404
