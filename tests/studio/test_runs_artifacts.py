"""Artifact pages: the list, content and uses of one, and its files, which alone can be downloaded."""

import os

import pytest
from django.conf import settings
from django.urls import reverse

from studio.models import Project
from studio.runs.artifact_files import find_file, list_files

MESSAGES = {
    "prompt": [{"role": "user", "content": "Why **now**?"}],
    "completion": [{"role": "assistant", "content": "So."}],
}


@pytest.fixture
def dataset(engineer, make_artifact, known_recipes):
    files = {
        "train.jsonl": [MESSAGES] * 3,
        "README.md": "# The card\n\nSays <script>alert(1)</script>.",
        "deep/er.txt": "down",
    }
    metadata = {"type": "demonstrations", "counts": {"train": 3}, "licence": "CC0-1.0"}
    return make_artifact(engineer, "dataset", "First", files, metadata=metadata)


def page(name: str, *args) -> str:
    return reverse(f"runs:{name}", args=["helpdesk", *args])


def test_the_list(project, engineer, sme, annotator, outsider, dataset, client_for, django_assert_max_num_queries):
    client = client_for(sme)
    with django_assert_max_num_queries(15):
        shown = client.get(page("artifacts")).content.decode()
    assert "First" in shown and "Dataset · demonstrations" in shown and "Upload data" not in shown
    assert "Upload data" in client_for(engineer).get(page("artifacts")).content.decode()
    assert "Nothing here yet" in client.get(page("artifacts"), {"kind": "model"}).content.decode()
    assert "First" in client.get(page("artifacts"), {"kind": "nonsense", "page": "-3"}).content.decode()
    assert client_for(annotator).get(page("artifacts")).status_code == 403
    assert client_for(outsider).get(page("artifacts")).status_code == 404
    assert client.post(page("artifacts")).status_code == 405


def test_one_artifact(project, engineer, annotator, dataset, make_run, client_for, django_assert_max_num_queries):
    run = make_run(project, engineer, "succeeded", title="User of it")
    run.inputs.create(role="dataset", artifact=dataset)
    client = client_for(engineer)
    with django_assert_max_num_queries(15):
        shown = client.get(page("artifact", dataset.pk)).content.decode()
    assert "<strong>now</strong>" in shown  # messages are rendered
    assert "<script>alert" not in shown
    assert dataset.sha256 in shown and "CC0-1.0" in shown and "User of it" in shown
    assert page("start", "sft") + f"?input-dataset={dataset.pk}" in shown
    assert page("artifact-file", dataset.pk, "deep/er.txt") in shown
    assert " style=" not in shown
    assert client_for(annotator).get(page("artifact", dataset.pk)).status_code == 403
    assert client.post(page("artifact", dataset.pk)).status_code == 405
    assert client.get(page("artifact", 999)).status_code == 404


@pytest.mark.parametrize(
    ("kind", "metadata", "files", "shown"),
    [
        ("corpus", {}, {"train.jsonl": [{"text": "A document", "source": "docs", "licence": "PSF"}]}, "docs · PSF"),
        ("dataset", {"type": "text"}, {"train.jsonl": [{"text": "Plain"}]}, "Plain"),
        ("dataset", {"type": "prompts"}, {"test.jsonl": [{"prompt": "As a text"}]}, "First rows of the test part"),
        ("dataset", {"type": "comparisons"},
         {"train.jsonl": [{"prompt": "P", "chosen": "Good", "rejected": "Poor"}]}, "Rejected"),
        ("dataset", {"type": "labelled"}, {"train.jsonl": [{"text": "t", "toxicity": 1}]}, "Toxicity"),
        ("completions", {}, {"completions.jsonl": [{
            "prompt": [{"role": "user", "content": "P"}], "completion": "C", "model": {"id": 1, "name": "Tuned"},
            "finish_reason": "length", "tokens": 128, "temperature": 0.7}]}, "cut at the limit"),
        ("report", {}, {"report.json": '{"rows": [{"model": "Tuned", "task": "arc", "value": 0.5}]}'}, "arc"),
        ("model", {}, {"config.json": '{"num_hidden_layers": 30, "vocab_size": 49152}'}, "49,152"),
        ("reward_model", {}, {"config.json": "not json"}, "config.json"),
        ("tokenizer", {}, {"tokenizer_config.json": '{"eos_token": {"content": "<|end|>"}}'}, "&lt;|end|&gt;"),
        ("scorer", {}, {"encoder/config.json": '{"hidden_size": 64}'}, "64"),
        ("dataset", {"type": "comparisons"}, {"train.jsonl": "{broken\n[1]\n"}, "train.jsonl"),
        ("dataset", {"type": "demonstrations"}, {"train.jsonl": [{"prompt": None, "completion": 3}]}, "train.jsonl"),
    ],
)  # fmt: skip
def test_every_kind_shows_its_content(
    kind, metadata, files, shown, project, engineer, make_artifact, known_recipes, client_for
):
    made = make_artifact(engineer, kind, "Thing", files, metadata=metadata)
    answer = client_for(engineer).get(page("artifact", made.pk))
    assert answer.status_code == 200 and shown in answer.content.decode()


def test_missing_files_are_said_to_be_missing(dataset, sme, client_for):
    os.rename(dataset.directory, dataset.directory.with_name("moved"))
    try:
        assert "The files are missing" in client_for(sme).get(page("artifact", dataset.pk)).content.decode()
    finally:
        os.rename(dataset.directory.with_name("moved"), dataset.directory)


# Files


def test_files_are_downloads(dataset, sme, annotator, client_for):
    answer = client_for(sme).get(page("artifact-file", dataset.pk, "deep/er.txt"))
    assert b"".join(answer.streaming_content) == b"down"
    assert answer["Content-Disposition"] == 'attachment; filename="er.txt"'
    assert answer["Content-Type"] == "application/octet-stream" and answer["X-Content-Type-Options"] == "nosniff"
    assert client_for(annotator).get(page("artifact-file", dataset.pk, "deep/er.txt")).status_code == 403
    assert client_for(sme).post(page("artifact-file", dataset.pk, "deep/er.txt")).status_code == 405


def test_completions_are_sealed_for_those_who_rank_them(make_artifact, engineer, sme, client_for):
    row = {"prompt": [], "completion": "Call sorted().", "model": {"id": 1, "name": "the secret one"}, "tokens": 4}
    drawn = make_artifact(engineer, "completions", "Drawn", {"completions.jsonl": [row]})
    seen = client_for(sme).get(page("artifact", drawn.pk)).content.decode()
    assert "the secret one" not in seen and "For engineers only" in seen
    assert client_for(sme).get(page("artifact-file", drawn.pk, "completions.jsonl")).status_code == 403
    assert "the secret one" in client_for(engineer).get(page("artifact", drawn.pk)).content.decode()
    assert client_for(engineer).get(page("artifact-file", drawn.pk, "completions.jsonl")).status_code == 200


@pytest.mark.parametrize(
    "name",
    [
        "../secret",
        "deep/../../secret",
        "%2e%2e/secret",
        "..%2fsecret",
        "//etc/passwd",
        "deep",
        "none",
        "link",
        "a\0b",
        pytest.param("x" * 5000, id="too long"),
    ],
)
def test_nothing_outside_the_artifact_can_be_had(name, dataset, sme, client_for):
    (dataset.directory.parent / "secret").write_text("secret")
    link = dataset.directory / "link"
    if not link.is_symlink():
        link.symlink_to(dataset.directory.parent / "secret")
    with pytest.raises(FileNotFoundError):
        find_file(dataset, name.replace("%2e", ".").replace("%2f", "/").replace("//", "/"))
    url = f"/projects/helpdesk/artifacts/{dataset.pk}/files/{name}"
    assert client_for(sme).get(url).status_code in (301, 404)


def test_an_absolute_path_is_refused(dataset):
    with pytest.raises(FileNotFoundError):
        find_file(dataset, "/etc/passwd")


def test_links_out_of_the_artifact_are_not_listed(dataset):
    (dataset.directory / "out").symlink_to("/etc/passwd")
    (dataset.directory / "within").symlink_to("README.md")
    assert [file.name for file in list_files(dataset)] == ["README.md", "deep/er.txt", "train.jsonl", "within"]


def test_files_of_another_project(dataset, engineer, client_for):
    other = Project.objects.create(slug="other", name="Other")
    other.memberships.create(user=engineer, role="engineer")
    url = reverse("runs:artifact-file", args=["other", dataset.pk, "README.md"])
    assert client_for(engineer).get(url).status_code == 404
    assert settings.VAR in dataset.directory.parents
