"""Exports: what comes out is what went in, in each format, by the readers of those formats where there are any."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from django.utils import timezone

from annotation.agreement import agreement_of, agreement_with_others
from annotation.datasets import freeze_comparisons, freeze_demonstrations, freeze_prompts
from annotation.exports.columns import kinds_of, schema_of
from annotation.exports.datasets import FORMATS, export_dataset
from annotation.exports.labels import export_labels
from annotation.exports.stream import Member, zip_chunks
from annotation.failures import add_class, add_example
from annotation.imports.columns import guess_columns, parse
from annotation.imports.containers import read_records
from annotation.label_studio.formats import TASK_KEY, parse_demonstration, parse_ranking
from annotation.models import Comparison, Completion, Demonstration, FailureExample, JournalEntry, Revision, Standing
from annotation.prompts import import_prompts
from annotation.queue import claim_next
from annotation.submit import submit_demonstration, submit_ranking
from annotation.tasks import add_tasks, find_queue
from annotation.withdraw import withdraw
from studio.models import Project, User
from training.jsonl import read_jsonl


@pytest.fixture
def ranked(rank_queue, annotator, sme, guideline) -> list[Comparison]:
    found = []
    for person, tiers in ((annotator, [["a"], ["b", "c"]]), (sme, [["c"], ["a"]])):
        while claim := claim_next(rank_queue, person):
            more = (
                {} if person == annotator else {"unrankable": ["b"], "ratings": {"a": 3}, "flags": {"b": ["violent"]}}
            )
            found.append(submit_ranking(claim, tiers, rationale="Näher an der Frage", **more))
    return found


@pytest.fixture
def written(write_queue, annotator, guideline) -> list[Demonstration]:
    found = []
    while claim := claim_next(write_queue, annotator):
        found.append(submit_demonstration(claim, f"Antwort „{claim.task_id}“", reasoning="First I look."))
    return found


def unpack(export, directory: Path) -> Path:
    with zipfile.ZipFile(io.BytesIO(b"".join(export.chunks))) as archive:
        assert archive.testzip() is None
        archive.extractall(directory)
    return directory


def frozen_rows(artifact) -> dict[str, list[dict]]:
    return {split: read_jsonl(artifact.directory / f"{split}.jsonl") for split in ("train", "test")}


@pytest.fixture
def datasets(project, engineer, ranked, written):
    return [
        freeze_comparisons(project, engineer, name="Pairs “α”", margin=True, aggregation="majority"),
        freeze_demonstrations(project, engineer),
        freeze_prompts(project, engineer),
    ]


def test_trl_and_parquet_lose_nothing(datasets, engineer, tmp_path):
    for artifact in datasets:
        rows = frozen_rows(artifact)
        jsonl = unpack(export_dataset(artifact, "trl", engineer), tmp_path / f"j{artifact.pk}")
        assert {split: read_jsonl(jsonl / f"{split}.jsonl") for split in rows} == rows
        parquet = unpack(export_dataset(artifact, "parquet", engineer), tmp_path / f"p{artifact.pk}")
        assert {split: pq.read_table(parquet / f"{split}.parquet").to_pylist() for split in rows} == rows
        card = (parquet / "README.md").read_text()
        assert card.startswith("---\npretty_name:") and artifact.sha256 in card and "Dropped: nothing" in card


LOAD = """
import json, sys
import datasets
found = datasets.load_from_disk(sys.argv[1])
print(json.dumps({split: found[split].to_list() for split in found}))
print(json.dumps({split: str(found[split].features) for split in found}))
"""


@pytest.mark.slow
def test_hugging_faces_own_reader_loads_it(datasets, engineer, tmp_path):
    """`datasets` never comes into this process: it reads what was written in one of its own."""
    command = [sys.executable, "-c", LOAD]
    artifact = datasets[0]
    directory = unpack(export_dataset(artifact, "hugging-face", engineer), tmp_path / "hf")
    done = subprocess.run([*command, str(directory)], capture_output=True, text=True, timeout=120, check=True)
    loaded, features = map(json.loads, done.stdout.strip().splitlines())
    assert loaded == frozen_rows(artifact)
    assert "comparison_ids" in features["train"] and "float64" in features["train"]
    assert "datasets" not in sys.modules


def test_what_is_on_disk_reads_as_arrow_and_through_the_import(datasets, engineer, tmp_path):
    for artifact in datasets:
        directory = unpack(export_dataset(artifact, "hugging-face", engineer), tmp_path / str(artifact.pk))
        rows = frozen_rows(artifact)
        for split, expected in rows.items():
            with pa.ipc.open_stream(str(directory / split / "data-00000-of-00001.arrow")) as stream:
                table = stream.read_all()
            assert table.to_pylist() == expected
            assert "features" in json.loads(table.schema.metadata[b"huggingface"])["info"]
        records = list(read_records(directory))
        assert [r.value["prompt"] for r in records] == [row["prompt"] for split in rows for row in rows[split]]


def test_conversations_of_demonstrations(datasets, engineer, tmp_path):
    directory = unpack(export_dataset(datasets[1], "trl-messages", engineer), tmp_path)
    for split, rows in frozen_rows(datasets[1]).items():
        for row, expected in zip(read_jsonl(directory / f"{split}.jsonl"), rows, strict=True):
            assert row["messages"] == expected["prompt"] + expected["completion"] and "prompt" not in row
    with pytest.raises(ValueError, match="holds demonstrations"):
        export_dataset(datasets[0], "trl-messages", engineer)


def test_openrlhf_has_its_keys_and_nothing_else(datasets, engineer):
    """`prompt` + `chosen` must be a conversation for its --apply_chat_template; `margin` is read where it is there."""
    for artifact, keys in zip(datasets, ("prompt chosen rejected margin", "prompt completion", "prompt"), strict=True):
        export = export_dataset(artifact, "openrlhf", engineer, "train")
        rows = [json.loads(line) for line in b"".join(export.chunks).splitlines()]
        assert len(rows) == artifact.metadata["counts"]["train"]
        for row, frozen in zip(rows, frozen_rows(artifact)["train"], strict=True):
            assert list(row) == keys.split() and all(row[key] == frozen[key] for key in row)
            assert row["prompt"][-1]["role"] == "user"


def test_label_studio_says_what_people_said(datasets, engineer, ranked, written, tmp_path):
    edited = next(c for c in ranked if c.pk == datasets[0].items.first().comparison_id)
    content = {"tiers": edited.tiers, "unrankable": edited.unrankable, "strength": None, "ratings": edited.ratings,
               "rationale": edited.rationale}  # fmt: skip
    Revision.objects.create(comparison=edited, number=1, content=content, edited_by=engineer)
    Comparison.objects.filter(pk=edited.pk).update(tiers=edited.tiers[::-1], revision=2)  # after it was frozen

    directory = unpack(export_dataset(datasets[0], "label-studio", engineer), tmp_path / "c")
    tasks = json.loads((directory / "tasks.json").read_text())
    assert "<Ranker" in (directory / "label_config.xml").read_text()
    by_prompt: dict[int, list[Comparison]] = {}
    behind = set(datasets[0].items.values_list("comparison", flat=True))  # where two people draw, a pair is no row
    for label in ranked:
        if label.pk in behind:
            by_prompt.setdefault(label.prompt_id, []).append(label)
    for task in tasks:
        prompt, ids = task["data"][TASK_KEY].split(":")
        letters = dict(zip("abc", map(int, ids.split(",")), strict=True))
        assert [i["id"] for i in task["data"]["items"]] == ["a", "b", "c"]
        said = [parse_ranking(a["result"], "abc") for a in task["annotations"]]
        expected = sorted(by_prompt[int(prompt)], key=lambda c: c.pk)
        for label, ranking in zip(expected, said, strict=True):
            assert [{letters[x] for x in tier} for tier in ranking.tiers] == [set(t) for t in label.tiers]
            assert [letters[x] for x in ranking.unrankable] == label.unrankable
            assert {str(letters[x]): n for x, n in ranking.ratings.items()} == label.ratings
            assert ranking.rationale == label.rationale
    assert len({a["unique_id"] for t in tasks for a in t["annotations"]}) == len(behind)

    directory = unpack(export_dataset(datasets[1], "label-studio", engineer), tmp_path / "d")
    texts = [
        parse_demonstration(t["annotations"][0]["result"]) for t in json.loads((directory / "tasks.json").read_text())
    ]
    assert {(w.text, w.reasoning) for w in texts} == {(d.completion.text, d.reasoning) for d in written}
    directory = unpack(export_dataset(datasets[2], "label-studio", engineer), tmp_path / "p")
    assert len(json.loads((directory / "tasks.json").read_text())) == 6


def test_two_answers_go_as_a_pairwise_task(project, engineer, rank_queue, annotator, prompts, answers, tmp_path):
    queue = find_queue(project, "rank", "Pairs")
    add_tasks(queue, [(p, a[:2]) for p, a in zip(prompts[:2], answers, strict=False)])
    labels = [submit_ranking(claim_next(queue, annotator), [["b"], ["a"]], strength=2) for _ in range(2)]
    artifact = freeze_comparisons(project, engineer)
    directory = unpack(export_dataset(artifact, "label-studio", engineer), tmp_path)
    assert "<Pairwise" in (directory / "label_config.xml").read_text()
    for task in json.loads((directory / "tasks.json").read_text()):
        (annotation,) = task["annotations"]
        ranking = parse_ranking(annotation["result"], "ab")
        label = next(c for c in labels if str(c.prompt_id) == task["data"][TASK_KEY].split(":")[0])
        better = "a" if label.tiers[0][0] < label.tiers[1][0] else "b"
        assert ranking.strength == 2 and ranking.tiers[0] == [better]


def test_bad_input(project, engineer, datasets, make_artifact):
    with pytest.raises(ValueError, match="no format 'xml'"):
        export_dataset(datasets[0], "xml", engineer)
    with pytest.raises(ValueError, match="several files"):
        export_dataset(datasets[0], "hugging-face", engineer, "train")
    with pytest.raises(ValueError, match="is not a dataset with rows"):
        export_dataset(make_artifact("model", "M"), "trl", engineer)
    some = freeze_prompts(project, engineer, prompts=project.prompts.filter(split="train"))
    with pytest.raises(ValueError, match="no rows in 'test': choose train"):
        export_dataset(some, "trl", engineer, "test")
    assert not JournalEntry.objects.filter(act="exported").exists()


def test_uploaded_datasets_of_mixed_columns(make_artifact, engineer, tmp_path):
    """What has no one type becomes JSON text; whole numbers beside others become numbers; nothing fails."""
    rows = [
        {"text": "a", "n": 1, "tags": ["x"], "mixed": 1, "none": None, "big": 2**70},
        {"text": "b", "n": 1.5, "tags": [], "mixed": "one", "flag": True},
    ]
    files = {"train.jsonl": "".join(json.dumps(row) + "\n" for row in rows)}
    artifact = make_artifact("dataset", "Texts", files, metadata={"type": "text"})
    directory = unpack(export_dataset(artifact, "parquet", engineer), tmp_path)
    assert pq.read_table(directory / "train.parquet").to_pylist() == [
        {"text": "a", "n": 1.0, "tags": '["x"]', "mixed": "1", "none": None, "big": str(2**70), "flag": None},
        {"text": "b", "n": 1.5, "tags": "[]", "mixed": '"one"', "none": None, "big": None, "flag": True},
    ]
    assert [f.name for f in FORMATS.values() if f.takes(artifact)] == ["trl", "parquet", "hugging-face"]


def test_columns_are_found_over_all_rows(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": [], "b": []}\n{"a": [1], "b": [{"role": "user", "content": "x"}]}\n\n{"c": [{"role": 1}]}\n')
    assert kinds_of([path, tmp_path / "absent"]) == {"a": "integers", "b": "messages", "c": "json"}
    assert schema_of({"a": "integers"}).field("a").type == pa.list_(pa.int64())


def test_memory_does_not_grow_with_what_is_sent(tmp_path):
    """Fifty megabytes go through; no more than a few pieces are ever held."""
    sent = 0

    def chunks():
        for _ in range(800):
            yield b"x" * 65536

    for piece in zip_chunks([Member("data.parquet", chunks())], timezone.now()):
        assert len(piece) < 200_000
        sent += len(piece)
    assert sent > 800 * 65536


def labels_of(export, tmp_path) -> dict[str, list[dict]]:
    directory = unpack(export, tmp_path)
    return {path.stem: read_jsonl(path) for path in directory.glob("*.jsonl")}


def test_every_label_as_it_was_given(project, engineer, ranked, written, guideline, sme, prompts, answers, tmp_path):
    label = ranked[-1]
    Revision.objects.create(comparison=label, number=1, content={"tiers": label.tiers}, edited_by=sme)
    Comparison.objects.filter(pk=label.pk).update(revision=2, second_look="Unsure", unchanged=False)
    failure_class = add_class(project, "Wrong order", sme)
    add_example(failure_class, answers[0][0], sme, correction="Right order", reasoning="It swaps them")
    found = labels_of(export_labels(project, engineer), tmp_path)
    row = next(r for r in found["comparisons"] if r["comparison_id"] == label.pk)
    texts = {c.pk: c.text for c in label.completions.all()}
    assert row["answers"] == [texts[pk] for pk in label.shown_order] and row["completion_ids"] == label.shown_order
    assert [[row["completion_ids"][place] for place in tier] for tier in row["tiers"]] == label.tiers
    assert row["unrankable"] == [1] and row["ratings"] == [3, None, None] and row["flags"] == [None, ["violent"], None]
    assert row["models"][0]["name"] in ("Tortoise", "Hare", "Fox")
    assert row["guideline_version"] == 1 and row["queue"] == "Rank answers" and row["annotator"] == "sme"
    assert row["revision"] == 2 and row["revisions"][0]["content"] == {"tiers": label.tiers}
    assert row["second_look"] == "Unsure" and row["unchanged"] is False and row["rationale"] == "Näher an der Frage"
    assert {r["demonstration_id"] for r in found["demonstrations"]} == {d.pk for d in written}
    assert found["demonstrations"][0]["reasoning"] == "First I look."
    assert [(r["failure_class"], r["correction"]) for r in found["failures"]] == [("Wrong order", "Right order")]
    assert FailureExample.objects.count() == 1


def test_the_import_reads_what_was_exported(project, engineer, ranked, written, tmp_path):
    found = labels_of(export_labels(project, engineer), tmp_path)
    for row, label in zip(found["comparisons"], sorted(ranked, key=lambda c: c.pk), strict=True):
        (item,) = parse(row, guess_columns(list(row)))
        assert item.messages == label.prompt.messages and [a.text for a in item.answers] == row["answers"]
        assert item.tiers == row["tiers"] and item.unrankable == row["unrankable"] and item.rationale == label.rationale
        assert {str(label.shown_order[place]): n for place, n in item.ratings.items()} == label.ratings
        assert item.annotator == label.annotator.username and item.split == "train"
    for row in found["demonstrations"]:
        (item,) = parse(row, guess_columns(list(row)))
        assert item.answers[0].text == row["completion"][0]["content"] and item.reasoning == "First I look."


def test_pseudonyms_withdrawn_and_consent(project, engineer, annotator, sme, ranked, written, tmp_path):
    withdraw(ranked[0], annotator, "Clicked too fast")
    first = labels_of(export_labels(project, engineer, pseudonyms=True), tmp_path / "1")
    assert len(first["comparisons"]) == 7
    names = {r["annotator"] for r in first["comparisons"] + first["demonstrations"]}
    assert len(names) == 2 and all(name.startswith("annotator-") for name in names)
    assert not any(user.username in json.dumps(first) for user in User.objects.exclude(username="annotator"))
    second = labels_of(export_labels(project, engineer, pseudonyms=True, withdrawn=True), tmp_path / "2")
    assert {r["annotator"] for r in second["comparisons"]} == names  # the same in every export
    (gone,) = [r for r in second["comparisons"] if "withdrawn_at" in r]
    assert gone["comparison_id"] == ranked[0].pk and gone["withdrawn_reason"] == "Clicked too fast"
    Standing.objects.create(project=project, user=annotator, consent_withdrawn_at=timezone.now())
    third = labels_of(export_labels(project, engineer, withdrawn=True), tmp_path / "3")
    assert {r["annotator"] for r in third["comparisons"]} == {"sme"} and third["demonstrations"] == []


class TestPages:
    url = "/projects/helpdesk/exchange/exports/"

    def test_formats_of_the_newest_and_of_another(self, client_for, engineer, datasets, django_assert_max_num_queries):
        browser = client_for(engineer)
        with django_assert_max_num_queries(12):
            seen = browser.get(self.url).text
        assert f'/exports/{datasets[2].pk}/parquet/"' in seen and "trl-messages" not in seen
        seen = client_for(engineer).get(self.url, {"dataset": datasets[1].pk}).text
        assert f"/exports/{datasets[1].pk}/trl-messages/?split=train" in seen
        assert client_for(engineer).get(self.url, {"dataset": "0"}).status_code == 422

    def test_nothing_frozen(self, client_for, owner, project):
        assert "Nothing is frozen yet" in client_for(owner).get(self.url).text

    def test_download_is_streamed_and_journaled(self, client_for, engineer, datasets):
        answer = client_for(engineer).get(f"{self.url}{datasets[1].pk}/trl/")
        assert answer.streaming and "demonstrations.trl.zip" in answer["Content-Disposition"]
        assert zipfile.ZipFile(io.BytesIO(answer.getvalue())).namelist() == ["README.md", "train.jsonl", "test.jsonl"]
        entry = JournalEntry.objects.get(act="exported")
        assert entry.actor == engineer and entry.detail["artifact"] == datasets[1].pk
        assert "as TRL, JSON lines" in client_for(engineer).get(self.url).text
        single = client_for(engineer).get(f"{self.url}{datasets[1].pk}/trl/", {"split": "train"})
        assert single.getvalue() == (datasets[1].directory / "train.jsonl").read_bytes()

    def test_all_labels(self, client_for, engineer, ranked):
        answer = client_for(engineer).get(f"{self.url}labels/", {"pseudonyms": "on"})
        assert "helpdesk-labels-" in answer["Content-Disposition"]
        archive = zipfile.ZipFile(io.BytesIO(answer.getvalue()))
        assert len(archive.read("comparisons.jsonl").splitlines()) == 8 and b"pseudonyms" in archive.read("README.md")
        assert JournalEntry.objects.get(act="exported").detail == {
            "format": "labels", "pseudonyms": True, "withdrawn": False,
        }  # fmt: skip

    def test_bad_input(self, client_for, engineer, datasets):
        browser = client_for(engineer)
        for path, says in (("xml/", "There is no format"), ("trl/?split=all", "There is no such split")):
            answer = browser.get(f"{self.url}{datasets[0].pk}/{path}", follow=True)
            assert says in answer.text
        assert browser.get(f"{self.url}99999/trl/").status_code == 404

    def test_wrong_role_and_method(self, client_for, engineer, sme, outsider, datasets):
        for path in ("", f"{datasets[0].pk}/trl/", "labels/"):
            assert client_for(sme).get(self.url + path).status_code == 403
            assert client_for(outsider).get(self.url + path).status_code == 404
            assert client_for(engineer).post(self.url + path).status_code == 405
        assert not JournalEntry.objects.filter(act="exported").exists()


@pytest.mark.browser
@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (390, "dark")])
def test_in_a_browser(page_for, assert_accessible, engineer, datasets, width, scheme):
    page = page_for(engineer, width=width, scheme=scheme)
    page.goto("/projects/helpdesk/exchange/exports/")
    assert_accessible(page)
    with page.expect_download() as download:
        page.get_by_role("button", name="Download all labels").click()
    assert download.value.suggested_filename.endswith(".zip")
    with page.expect_download() as again:  # the page stays, so the form can be sent again
        page.get_by_role("button", name="Download all labels").click()
    assert zipfile.is_zipfile(again.value.path())


@pytest.mark.postgres
def test_on_postgresql(on_postgres, settings, tmp_path):
    """Freezing, every format, all labels and the figures of agreement, where a server-side cursor reads the rows."""
    settings.VAR = tmp_path
    project = Project.objects.create(slug="helpdesk", name="Python helpdesk")
    people = [User.objects.create_user(username=name) for name in ("Ada", "Ben")]
    rows = [{"prompt": f"Question {n}?", "split": "train"} for n in range(5)]
    prompts = import_prompts(project, rows, people[0]).prompts
    answers = [[Completion.objects.create(prompt=p, text=f"Way {i}") for i in range(3)] for p in prompts]
    ranking, writing = find_queue(project, "rank"), find_queue(project, "demonstrate")
    add_tasks(ranking, list(zip(prompts, answers, strict=True)), overlap=2)
    add_tasks(writing, [(p, ()) for p in prompts])
    for person in people:
        while claim := claim_next(ranking, person):
            submit_ranking(claim, [["a"], ["b", "c"]], ratings={"a": 6})
    while claim := claim_next(writing, people[0]):
        submit_demonstration(claim, "An answer")
    frozen = [
        freeze_comparisons(project, people[0], aggregation="plackett_luce"),
        freeze_demonstrations(project, people[0]),
        freeze_prompts(project, people[0]),
    ]
    lines = [json.loads(line) for line in (frozen[0].directory / "train.jsonl").read_text().splitlines()]
    assert frozen[0].items.filter(split="train").count() == 2 * len(lines)  # each pair from both rankings
    for artifact in frozen:
        for format in FORMATS.values():
            if format.takes(artifact):
                export = export_dataset(artifact, format.name, people[0])
                assert (unpack(export, tmp_path / f"{artifact.pk}-{format.name}") / "README.md").is_file()
    found = labels_of(export_labels(project, people[0]), tmp_path / "labels")
    assert len(found["comparisons"]) == 10 and len(found["demonstrations"]) == 5
    assert agreement_of(project).overall.items == 5 and agreement_with_others(project, people[0]).items == 5
