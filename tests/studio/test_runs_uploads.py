"""Uploads become datasets, or say which line of which file is wrong and leave nothing behind."""

import io
import json

import pytest
from django.conf import settings
from django.test import Client
from django.urls import reverse

from studio.runs.models import Artifact
from studio.runs.uploads import MAX_PROBLEMS, Source, UploadError, create_dataset


def jsonl(*rows) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


@pytest.fixture
def dataset(project, engineer):
    """Make a dataset of `type` from bytes; `test` is the held-out file."""

    def make(type: str, train: bytes, test: bytes | None = None, name: str = "data.jsonl", **options) -> Artifact:
        sources = [
            Source(name, io.BytesIO(train)),
            Source("test.jsonl", io.BytesIO(test)) if test is not None else None,
        ]
        return create_dataset(project, engineer, type, "Mine", *sources, **options)

    return make


def rows_of(artifact: Artifact, split: str = "train") -> list[dict]:
    return [json.loads(line) for line in (artifact.directory / f"{split}.jsonl").read_text().splitlines()]


def problems_of(dataset, type: str, train: bytes, test: bytes | None = None) -> list[str]:
    before = set((settings.VAR / "uploads").iterdir())
    with pytest.raises(UploadError) as caught:
        dataset(type, train, test)
    assert set((settings.VAR / "uploads").iterdir()) == before
    assert not Artifact.objects.exists()
    return caught.value.problems


USER = {"role": "user", "content": "Why?"}
ANSWER = {"role": "assistant", "content": "Because."}


def test_text(dataset):
    made = dataset("text", jsonl({"text": "One"}, {"text": "Two", "licence": "PSF-2.0"}), licence="CC0-1.0")
    assert rows_of(made) == [{"text": "One"}, {"text": "Two", "licence": "PSF-2.0"}]
    assert made.metadata["counts"] == {"train": 2} and made.metadata["licence"] == "CC0-1.0"
    assert json.loads((made.directory / "dataset.json").read_text()) == {"type": "text", "counts": {"train": 2}}
    assert "CC0-1.0" in (made.directory / "README.md").read_text()


def test_plain_text_is_one_document_or_one_a_paragraph(dataset):
    text = "\ufeffFirst\r\nline\r\n\r\n\r\nSecond\r\n".encode()
    assert rows_of(dataset("text", text, name="a.txt")) == [{"text": "First\nline\n\n\nSecond"}]
    made = dataset("text", text, name="a.txt", paragraphs=True)
    assert rows_of(made) == [{"text": "First\nline"}, {"text": "Second"}]


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Why?", "completion": "Because."},
        {"prompt": [USER], "completion": [ANSWER]},
        {"messages": [USER, ANSWER]},
    ],
)
def test_demonstrations_in_their_three_forms_are_one(dataset, row):
    (made,) = rows_of(dataset("demonstrations", jsonl(row)))
    assert made["prompt"] == [USER] and made["completion"] == [ANSWER]
    assert len(made["prompt_id"]) == 16 and made["cluster"] == "" and "messages" not in made


def test_comparisons_and_prompts_keep_given_ids(dataset):
    row = {"prompt": "Why?", "chosen": "So.", "rejected": "No.", "prompt_id": "p1", "cluster": "why", "margin": 2}
    (made,) = rows_of(dataset("comparisons", jsonl(row)))
    assert made["chosen"][0]["content"] == "So." and (made["prompt_id"], made["cluster"], made["margin"]) == (
        "p1",
        "why",
        2,
    )
    twins = rows_of(dataset("prompts", jsonl({"prompt": "Why?"}, {"prompt": [USER]})))
    assert twins[0]["prompt_id"] == twins[1]["prompt_id"]  # by content


def test_labelled_text(dataset):
    made = dataset("labelled", jsonl({"text": "a", "toxic": 1, "rude": 0}, {"text": "b", "rude": True, "toxic": 0.0}))
    assert rows_of(made)[1] == {"text": "b", "toxic": 0, "rude": 1}
    assert made.metadata["labels"] == ["toxic", "rude"]
    assert json.loads((made.directory / "dataset.json").read_text())["labels"] == ["toxic", "rude"]


@pytest.mark.parametrize(
    ("type", "line", "sentence"),
    [
        ("text", b"{oops}", "this is not JSON (Expecting property name enclosed in double quotes, column 2)"),
        ("text", b"[1]", "give a JSON object"),
        ("text", b'{"text": "  "}', "“text” is missing or empty"),
        ("text", b'{"text": "a", "n": NaN}', "NaN is not JSON"),
        ("text", b'{"text": "\xff"}', "byte 11 is not UTF-8"),
        ("text", b'{"text": "\\ud800"}', "half of a surrogate pair"),
        ("text", b"[" * 100_000, "nested too deeply"),
        ("demonstrations", b'{"prompt": "Why?"}', "“completion” is missing"),
        ("demonstrations", b'{"messages": [{"role": "user", "content": "a"}]}', "must end with the assistant's answer"),
        ("demonstrations", b'{"prompt": [{"role": "robot", "content": "a"}], "completion": "b"}', "needs a “role”"),
        ("prompts", b'{"prompt": [{"role": "user", "content": ""}]}', "needs a text as its “content”"),
        ("prompts", b'{"prompt": [{"role": "assistant", "content": "a"}]}', "must end with the turn to be answered"),
        ("prompts", b'{"prompt": 3}', "must be a text or a list of messages"),
        ("comparisons", b'{"prompt": "a", "chosen": "b", "rejected": "b"}', "are the same answer"),
        ("labelled", b'{"text": "a"}', "at least one label column"),
        ("labelled", b'{"text": "a", "toxic": 2}', "label “toxic” must be 0 or 1, not 2"),
    ],
)  # fmt: skip
def test_a_wrong_line_is_named(dataset, type, line, sentence):
    good = {
        "text": {"text": "a"}, "demonstrations": {"prompt": "p", "completion": "c"}, "prompts": {"prompt": "p"},
        "comparisons": {"prompt": "p", "chosen": "c", "rejected": "r"}, "labelled": {"text": "a", "toxic": 0},
    }[type]  # fmt: skip
    (problem,) = problems_of(dataset, type, jsonl(good) + line + b"\n")
    assert problem.startswith("data.jsonl, line 2: ") and sentence in problem


def test_labels_must_be_those_of_the_first_line(dataset):
    (problem,) = problems_of(dataset, "labelled", jsonl({"text": "a", "toxic": 0}, {"text": "b", "rude": 0}))
    assert problem == "data.jsonl, line 2: its labels are rude, but the first line's are toxic."


def test_train_and_test_share_no_prompt(dataset):
    (problem,) = problems_of(
        dataset, "prompts", jsonl({"prompt": "Why?"}), jsonl({"prompt": "How?"}, {"prompt": [USER]})
    )
    assert problem.startswith("test.jsonl, line 2: its prompt is in the train file too")
    made = dataset("prompts", jsonl({"prompt": "Why?"}), jsonl({"prompt": "How?"}))
    assert made.metadata["counts"] == {"train": 1, "test": 1}


def test_an_empty_file_is_no_dataset(dataset):
    assert problems_of(dataset, "text", b"\n\n") == ["data.jsonl is empty: it needs at least one example."]


def test_problems_are_listed_up_to_a_limit(dataset):
    problems = problems_of(dataset, "text", b"x\n" * 50)
    assert len(problems) == MAX_PROBLEMS + 1 and problems[-1] == "Only the first 10 problems are listed."


# The page


@pytest.fixture
def url() -> str:
    return reverse("runs:upload", args=["helpdesk"])


def upload(content: bytes, **data) -> dict:
    file = io.BytesIO(content)
    file.name = "mine.jsonl"
    return {"dataset_type": "text", "name": "Mine", "train": file, "text_documents": "file", **data}


def test_uploading(project, engineer, known_recipes, client_for, url):
    client = client_for(engineer)
    assert client.get(url).status_code == 200
    answer = client.post(url, upload(jsonl({"text": "a"})))
    made = Artifact.objects.get()
    assert answer.url == reverse("runs:artifact", args=["helpdesk", made.pk])
    assert (made.dataset_type, made.name, made.created_by) == ("text", "Mine", engineer)


def test_the_page_names_file_and_line(project, engineer, client_for, url):
    answer = client_for(engineer).post(url, upload(b'{"text": "a"}\n{"text": 1}\n'))
    page = answer.content.decode()
    assert answer.status_code == 422
    assert "mine.jsonl, line 2: “text” is missing or empty; it must be a text." in page
    assert not Artifact.objects.exists()


def test_nothing_chosen(project, engineer, client_for, url):
    assert client_for(engineer).post(url, {"dataset_type": "poems"}).content.decode().count("errorlist") >= 3


def test_more_than_the_limit_is_refused_while_it_arrives(project, engineer, client_for, url, settings):
    settings.MAX_UPLOAD_BYTES = 100_000
    page = client_for(engineer).post(url, upload(jsonl({"text": "x" * 200_000}))).content.decode()
    assert "The upload is larger than" in page and "100 kB" in page
    assert not Artifact.objects.exists()


def test_only_engineers_upload(project, sme, annotator, outsider, client_for, url):
    for user, status in ((sme, 403), (annotator, 403), (outsider, 404)):
        assert client_for(user).post(url, upload(b"x")).status_code == status
    assert client_for(sme).delete(url).status_code == 405


def test_the_token_against_forged_requests_is_asked_for(project, engineer, url):
    client = Client(enforce_csrf_checks=True)
    client.force_login(engineer)
    assert client.post(url, upload(jsonl({"text": "a"}))).status_code == 403
    assert not Artifact.objects.exists()
