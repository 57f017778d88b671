"""What each format's rows become, from self-made twins of the published files and, where they are there, the files."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from django.conf import settings

from annotation.imports import containers
from annotation.imports.containers import count_records, delimiter_of, read_records
from annotation.imports.formats import FORMATS, parse_records, sample
from annotation.imports.items import Item


def write(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf8")
    return path


def read(
    path: Path, format: str = "", columns: dict[str, str] | None = None
) -> tuple[list[Item], list[tuple[int, str]]]:
    from annotation.imports.columns import guess_columns

    begin = sample(path)
    columns = guess_columns(begin.columns) if columns is None else columns
    parsed = list(parse_records(read_records(path), format or begin.format, columns))
    return [i for p in parsed for i in p.items], [(p.number, p.problem) for p in parsed if p.problem]


def only(path: Path, **more) -> Item:
    items, problems = read(path, **more)
    assert problems == []
    (item,) = items
    return item


USER = [{"role": "user", "content": "What is a tuple?"}]
GOOD, BAD = "An immutable sequence.", "A kind of list."


def answer(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


class TestColumns:
    """Dataset types and their examples: https://huggingface.co/docs/trl/dataset_formats."""

    @pytest.mark.parametrize("row", [{"prompt": "What is a tuple?"}, {"prompt": USER}, {"messages": USER}])
    def test_prompt_only(self, tmp_path, row):
        item = only(write(tmp_path / "p.jsonl", row | {"cluster": "types", "split": "test", "tags": ["x"]}))
        assert (item.kind, item.messages, item.cluster, item.split, item.tags) == (
            "prompt",
            USER,
            "types",
            "test",
            ["x"],
        )

    @pytest.mark.parametrize(
        "row",
        [
            {"prompt": "What is a tuple?", "completion": GOOD},
            {"prompt": USER, "completion": answer(GOOD)},
            {"messages": USER + answer(GOOD)},
        ],
    )
    def test_demonstrations(self, tmp_path, row):
        item = only(write(tmp_path / "p.jsonl", row | {"reasoning": "Told so."}))
        assert (item.kind, item.messages, item.answers[0].text, item.reasoning) == (
            "demonstration", USER, GOOD, "Told so.",
        )  # fmt: skip

    @pytest.mark.parametrize(
        "row",
        [
            {"prompt": "What is a tuple?", "chosen": GOOD, "rejected": BAD},
            {"prompt": USER, "chosen": answer(GOOD), "rejected": answer(BAD)},
            {"chosen": USER + answer(GOOD), "rejected": USER + answer(BAD)},
            {"prompt": "What is a tuple?", "chosen": USER + answer(GOOD), "rejected": USER + answer(BAD)},
        ],
    )
    def test_preferences_explicit_and_implicit(self, tmp_path, row):
        item = only(write(tmp_path / "p.jsonl", row | {"strength": 3, "annotator": "w7"}))
        assert (item.kind, item.messages, [a.text for a in item.answers]) == ("comparison", USER, [GOOD, BAD])
        assert (item.tiers, item.strength, item.annotator) == ([[0], [1]], 3, "w7")

    def test_rankings_with_ties(self, tmp_path):
        row = {"prompt": "Q?", "answers": ["a", "b", "c", "d"], "tiers": [[2], [0, 1]], "unrankable": [3],
               "ratings": [5, None, 7, 1], "flags": [[], ["opinion"], [], []]}  # fmt: skip
        item = only(write(tmp_path / "p.jsonl", row))
        assert (item.tiers, item.unrankable, item.ratings, item.flags) == (
            [[2], [0, 1]], [3], {0: 5, 2: 7, 3: 1}, {1: ["opinion"]},
        )  # fmt: skip

    @pytest.mark.parametrize(
        ("row", "reason"),
        [
            ({"text": "Once upon a time"}, "it is plain text ('text'), which is for training"),
            ({"prompt": "Q?", "completion": "A", "label": True}, "it judges one answer alone"),
            ({"prompt": "Q?", "completion": ["s1", "s2"], "labels": [True, False]}, "it judges the steps of an answer"),
            ({"prompt": "Q?", "chosen": "A"}, "a preference needs both"),
            ({"prompt": "Q?", "chosen": "A", "rejected": "A"}, "two of the answers are the same text"),
            ({"chosen": "A", "rejected": "B"}, "the prompt is missing"),
            ({"prompt": " "}, "each message needs 'content'"),
            ({"prompt": "Q\0?"}, "NUL character"),
            ({"prompt": "Q \ud83d?"}, "half of a surrogate pair"),
            ({"prompt": "Q?", "completion": "\ud83d"}, "half of a surrogate pair"),
            ({"prompt": USER + answer("A")}, "the last message before the answer must be the user's"),
            ({"prompt": "Q?", "split": "dev"}, "'split' must be 'train' or 'test', not 'dev'"),
            ({"prompt": "Q?", "answers": ["a", "b"], "tiers": [[0]]}, "the ranking must give each answer one place"),
            ({"prompt": "Q?", "answers": ["a", "b"], "tiers": [[0], [2]]}, "whole numbers from 0 to 1"),
            ({"prompt": "Q?", "chosen": "A", "rejected": "B", "strength": "huge"}, "'strength' must be a number"),
            ({"prompt": "Q?", "completion": "A", "seconds": 10**400}, "'seconds' must be a number"),
            ({"prompt": 5, "completion": "A", "system": "s"}, "'prompt' must be a text or a list of messages"),
            ({"prompt": "Q?", "answers": ["a", "b"], "tiers": [[0], [1]], "flags": ["harmful", None]}, "'flags' must"),
            ({"prompt": "Q?", "answers": ["a", "b"], "tiers": [[0], [1]], "flags": [1, None]}, "'flags' must be"),
            ({"prompt": "Q?", "completion": "A", "demonstration_id": 4, "withdrawn_at": "2026-01-01"}, "was withdrawn"),
            ({"prompt": "Q?", "chosen": "A", "rejected": "B", "comparison_id": 4, "gold": True}, "answers a gold item"),
            ([1], "it is no object"),
            ({"chosen": USER + answer("A"), "rejected": [{"role": "user", "content": "Other?"}] + answer("B")},
             "differ before the last message"),
        ],
    )  # fmt: skip
    def test_what_is_refused_and_why(self, tmp_path, row, reason):
        path = write(tmp_path / "p.jsonl", {"prompt": "fine"}, row)
        _, problems = read(
            path, "columns", {n: n for n in (row if isinstance(row, dict) else {})} | {"prompt": "prompt"}
        )
        assert [number for number, _ in problems] == [2]
        assert reason in problems[0][1]

    def test_the_same_row_has_the_same_key_whatever_its_form(self, tmp_path):
        one = only(write(tmp_path / "a.jsonl", {"prompt": "Q?", "chosen": "A", "rejected": "B"}))
        same = only(write(tmp_path / "b.jsonl", {"prompt": [{"role": "user", "content": "Q?"}], "chosen": answer("A"),
                                                 "rejected": answer("B")}))  # fmt: skip
        other = only(write(tmp_path / "c.jsonl", {"prompt": "Q?", "chosen": "B", "rejected": "A"}))
        assert (one.key, one.row_key) == (same.key, same.row_key)
        assert one.row_key != other.row_key

    def test_tables_with_other_names_and_delimiters(self, tmp_path):
        path = tmp_path / "t.csv"
        path.write_text(
            'question;answer;topic\n"What; is\nit?";Fine;a\nOnly two;columns\nNext?;Yes;b\n', encoding="utf-8-sig"
        )
        items, problems = read(path)
        assert [(i.messages[0]["content"], i.answers[0].text, i.cluster) for i in items] == [
            ("What; is\nit?", "Fine", "a"), ("Next?", "Yes", "b"),
        ]  # fmt: skip
        assert problems == [(4, "it has 2 columns, and the first line names 3")]

    def test_delimiters(self):
        assert delimiter_of("a\tb, c\n1\t2\n") == "\t"
        assert delimiter_of("a|b\n1|2\n") == "|"
        assert delimiter_of("question\nWhat, then?\n") == ","


class TestContainers:
    def test_json_arrays_are_read_one_by_one_with_their_lines(self, tmp_path, monkeypatch):
        monkeypatch.setattr("annotation.imports.containers.CHUNK", 7)  # elements cross many chunks
        path = tmp_path / "a.json"
        path.write_text(json.dumps([{"prompt": "Ünë?"}, {"prompt": "Two?"}, 12345678901], indent=1, ensure_ascii=False))
        assert [(r.number, r.value) for r in read_records(path)] == [
            (2, {"prompt": "Ünë?"}), (5, {"prompt": "Two?"}, ), (8, 12345678901),
        ]  # fmt: skip

    def test_a_torn_array_says_where(self, tmp_path):
        path = tmp_path / "a.json"
        path.write_text('[{"prompt": "One?"},\n {"prompt": ')
        first, second = read_records(path)
        assert (first.value, second.number) == ({"prompt": "One?"}, 2)
        assert "not valid JSON" in second.problem

    @pytest.mark.parametrize(
        ("line", "reason"),
        [(b'{"prompt": ', "not valid JSON"), (b'{"prompt": "\xff"}', "not UTF-8 text (byte 13 of the line)"),
         (b'{"a": NaN}', "NaN is not JSON")],
    )  # fmt: skip
    def test_broken_lines_are_named_and_passed(self, tmp_path, line, reason):
        path = tmp_path / "a.jsonl"
        path.write_bytes(b'\xef\xbb\xbf{"prompt": "1"}\n\n' + line + b'\n{"prompt": "2"}')
        first, bad, last = read_records(path)
        assert [first.number, bad.number, last.number] == [1, 3, 4]
        assert reason in bad.problem

    def test_parquet_and_saved_datasets(self, tmp_path):
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pa.table({"prompt": ["One?", "Two?"], "completion": ["1", "2"]})
        pq.write_table(table, tmp_path / "p.parquet")
        saved = tmp_path / "saved"
        for split in ("train", "test"):
            (saved / split).mkdir(parents=True)
            shard = str(saved / split / "data-0.arrow")
            with pa.OSFile(shard, "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
                writer.write_table(table if split == "train" else table.slice(1))
            state = {"_data_files": [{"filename": "data-0.arrow"}]}
            (saved / split / "state.json").write_text(json.dumps(state))
        (saved / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
        assert [(r.number, r.value["prompt"]) for r in read_records(tmp_path / "p.parquet")] == [
            (1, "One?"),
            (2, "Two?"),
        ]
        assert [(r.number, r.split) for r in read_records(saved)] == [(1, "train"), (2, "train"), (3, "test")]
        assert (count_records(saved), count_records(tmp_path / "p.parquet")) == (3, 2)
        assert [i.answers[0].text for i in read(saved)[0]] == ["1", "2", "2"]

    @pytest.mark.parametrize("name", ["p.parquet", "p.arrow"])
    def test_files_that_are_not_what_they_are_called(self, tmp_path, name):
        (tmp_path / name).write_bytes(b"not at all")
        with pytest.raises(ValueError, match=f"{name} is not an? (Parquet|Arrow) file"):
            list(read_records(tmp_path / name))


TREE = {
    "message_tree_id": "t", "prompt": {"role": "prompter", "text": "Hi?", "lang": "en", "replies": [
        {"role": "assistant", "text": "worst", "rank": 1, "replies": []},
        {"role": "assistant", "text": "best", "rank": 0, "replies": [
            {"role": "prompter", "text": "And?", "replies": [{"role": "assistant", "text": "so", "replies": []}]}]},
        {"role": "assistant", "text": "as bad", "rank": 1, "synthetic": True, "model_name": "chip", "replies": []},
        {"role": "assistant", "text": "gone", "rank": 2, "deleted": True, "replies": []},
    ]},
}  # fmt: skip


class TestPublishedFormats:
    def test_transcripts_share_their_prompt(self, tmp_path):
        common = "\n\nHuman: Hi \n\nAssistant: Hello\n\nHuman: A tuple?\n\nAssistant:"
        row = {"chosen": f"{common} Immutable.", "rejected": f"{common} A list.\n"}
        with gzip.open(tmp_path / "hh.jsonl.gz", "wt") as file:
            file.write(json.dumps(row) + "\n")
        item = only(tmp_path / "hh.jsonl.gz")
        assert [(m["role"], m["content"]) for m in item.messages] == [
            ("user", "Hi"), ("assistant", "Hello"), ("user", "A tuple?"),
        ]  # fmt: skip
        assert [a.text for a in item.answers] == ["Immutable.", "A list."]

    def test_ranked_replies_become_tiers(self, tmp_path):
        (ranked, single), problems = read(write(tmp_path / "t.jsonl", TREE))
        assert problems == []
        assert ([a.text for a in ranked.answers], ranked.tiers) == (["worst", "best", "as bad"], [[1], [0, 2]])
        assert (ranked.answers[2].model, ranked.tags) == ("chip", ["en"])
        assert (single.kind, single.answers[0].text) == ("demonstration", "so")
        assert [m["content"] for m in single.messages] == ["Hi?", "best", "And?"]

    def test_instructions(self, tmp_path):
        rows = [{"instruction": "Add.", "input": "1 + 1", "output": "2"},
                {"instruction": "Name one.", "instances": [{"output": "A"}, {"input": "x", "output": "B"}]},
                {"instruction": "Empty.", "input": "", "output": " "}]  # fmt: skip
        (tmp_path / "a.json").write_text(json.dumps(rows, indent=2))
        items, problems = read(tmp_path / "a.json")
        assert [(i.messages[0]["content"], i.answers[0].text) for i in items] == [
            ("Add.\n\n1 + 1", "2"), ("Name one.", "A"), ("Name one.\n\nx", "B"),
        ]  # fmt: skip
        assert problems == [(19, "'output' is empty or no text")]

    def test_exports_of_label_studio(self, tmp_path):
        """The shapes that its interface saves; see annotation/label_studio/formats.py."""
        ranker = {"from_name": "tiers", "to_name": "answers", "type": "ranker",
                  "value": {"ranker": {"_": [], "r1": ["o2"], "r2": ["o1", "o3"]}}}  # fmt: skip
        pair = {"from_name": "preference", "to_name": "preference", "type": "pairwise", "value": {"selected": "right"}}
        text = {"from_name": "answer", "to_name": "prompt", "type": "textarea", "value": {"text": ["Hi there"]}}
        items = [{"id": f"o{n}", "title": f"Answer {n}", "body": f"Text {n}"} for n in (1, 2, 3)]
        skipped = {"id": 9, "was_cancelled": True, "result": []}
        done = {"id": 1, "completed_by": {"email": "a@b.c"}, "lead_time": 12.5}
        tasks = [
            {"data": {"prompt": "Rank?", "items": items}, "annotations": [done | {"result": [ranker]}, skipped]},
            {"data": {"prompt": "Pair?", "answer_a": "A", "answer_b": "B"}, "annotations": [done | {"result": [pair]}]},
            {"data": {"prompt": "Write?"}, "annotations": [done | {"result": [text], "completed_by": 3}]},
            {"data": {"prompt": "Skipped?"}, "annotations": [skipped]},
            {"data": {"prompt": "Pair?", "answer_a": "A", "answer_b": "B"}, "annotations": [done | {"result": [text]}]},
        ]
        (tmp_path / "export.json").write_text(json.dumps(tasks))
        assert sample(tmp_path / "export.json").format == "label_studio"
        (ranked, chosen, written, asked), problems = read(tmp_path / "export.json")
        assert (ranked.tiers, ranked.annotator, ranked.seconds) == ([[1], [0, 2]], "a@b.c", 12.5)
        assert (chosen.tiers, [a.text for a in chosen.answers]) == ([[1], [0]], ["A", "B"])
        assert (written.answers[0].text, written.annotator, asked.kind) == ("Hi there", "3", "prompt")
        assert problems[0][1].startswith("annotation 1: ")

    @pytest.mark.parametrize(
        ("file", "format", "kinds", "bad"),
        [
            # Counted in the files by hand: 5 pairs part before the last answer, 4 chosen answers are empty.
            ("hh_rlhf/harmless_base_test.jsonl.gz", "hh_rlhf", {"comparison": 2303}, 9),
            # 212 turns with two ranked replies or more; single replies by people are demonstrations.
            ("oasst/en_100_tree.jsonl", "open_assistant", {"comparison": 212, "demonstration": 40}, 0),
            ("self_instruct/seed_tasks.jsonl", "alpaca", {"demonstration": 175}, 0),
            ("self_instruct/user_oriented_instructions.jsonl", "alpaca", {"demonstration": 252}, 0),
        ],
    )
    def test_the_published_files(self, file, format, kinds, bad):
        path = settings.DATA / file
        if not path.is_file():
            pytest.skip(f"{path} is not here: set STUDIO_DATA to the directory with the public data sets.")
        assert sample(path).format == format
        items, problems = read(path)
        counts = {kind: sum(i.kind == kind for i in items) for kind in kinds}
        assert (counts, len(items), len(problems)) == (kinds, sum(kinds.values()), bad), problems

    def test_every_format_shows_an_example(self):
        assert all(f.title and f.makes and f.example for f in FORMATS.values())


class TestBehindABadPlace:
    """What stands behind a bad place is read on, or the file says that it cannot be."""

    def records(self, path, text) -> list[tuple[object, bool]]:
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return [(record.problem or record.value, record.ends) for record in read_records(path)]

    def test_an_overlong_line(self, tmp_path, monkeypatch):
        monkeypatch.setattr(containers, "LONGEST_RECORD", 30)
        found = self.records(tmp_path / "p.jsonl", '{"a": 1}\n{"a": "' + "x" * 100 + '"}\n{"a": 2}\n')
        assert [found[0][0], found[2][0]] == [{"a": 1}, {"a": 2}] and "is longer than" in found[1][0]
        assert not any(ends for _, ends in found)

    def test_a_row_of_a_table(self, tmp_path):
        found = self.records(tmp_path / "p.csv", 'prompt,completion\nq1,a1\nq2,"Hello" he said\nq3,a3\n')
        assert [found[0][0]["prompt"], found[2][0]["prompt"]] == ["q1", "q3"]
        assert "not valid CSV" in found[1][0] and not found[1][1] and len(found) == 3

    def test_an_open_quote_takes_in_what_follows(self, tmp_path):
        found = self.records(tmp_path / "p.csv", 'prompt,completion\nq1,a1\nq2,"open\nq3,a3\n')
        assert len(found) == 2 and found[1][1]

    def test_a_constant_in_a_list(self, tmp_path):
        found = self.records(tmp_path / "p.json", '[{"a": 1}, {"a": NaN}, {"a": 3}]')
        assert [value for value, _ in found] == [
            {"a": 1}, "NaN is not JSON; leave the value out or write null", {"a": 3}
        ]  # fmt: skip

    @pytest.mark.parametrize("tail", [' [{"a": 2}]', "\n\n{}", "x"])
    def test_something_behind_a_list(self, tmp_path, tail):
        found = self.records(tmp_path / "p.json", '[{"a": 1}]' + tail)
        assert found[0] == ({"a": 1}, False) and "behind the end" in found[1][0] and found[1][1]
        assert self.records(tmp_path / "p.json", '[{"a": 1}]  \n \n') == [({"a": 1}, False)]

    def test_something_far_behind_a_list(self, tmp_path):
        found = self.records(tmp_path / "p.json", '[{"a": 1}]' + " " * 3 * containers.CHUNK + "x")
        assert len(found) == 2 and found[1][1]


def test_a_tree_whose_first_message_was_deleted(tmp_path):
    tree = {"message_tree_id": "1", "prompt": {"text": "Q?", "role": "prompter", "deleted": True, "replies": []}}
    items, problems = read(write(tmp_path / "t.jsonl", tree), "open_assistant", {})
    assert items == [] and "was deleted" in problems[0][1]


def test_a_value_of_another_kind_is_a_bad_row(tmp_path):
    root = {"text": "Q?", "role": "prompter", "replies": [{"text": "A", "role": ["x"]}]}
    items, problems = read(write(tmp_path / "t.jsonl", {"message_tree_id": "1", "prompt": root}), "open_assistant", {})
    assert items == [] and len(problems) == 1
