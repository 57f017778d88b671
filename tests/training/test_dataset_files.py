import json

import pytest

from tests.training import tiny
from training.dataset_files import read_split

ROW = {"prompt": tiny.user("Hi"), "chosen": tiny.assistant("a"), "rejected": tiny.assistant("b")}


def test_rows_are_read_and_an_optional_split_may_be_absent(tmp_path):
    path = tiny.save_dataset(tmp_path / "d", "comparisons", train=[ROW])
    assert read_split(path, "comparisons", "train") == [ROW]
    assert read_split(path, "comparisons", "test", required=False) == []


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (
            {"prompt": tiny.user("Hi"), "chosen": tiny.assistant("a")},
            "row 2: column 'rejected' is missing; found prompt, chosen",
        ),
        ({**ROW, "prompt": "Hi"}, "row 2: column 'prompt' must be a list of messages"),
        ({**ROW, "chosen": tiny.user("a")}, "row 2: column 'chosen' must hold exactly one message, of role assistant"),
    ],
)
def test_a_bad_row_is_named(tmp_path, row, says):
    path = tiny.save_dataset(tmp_path / "d", "comparisons", train=[ROW, row])
    with pytest.raises(ValueError) as raised:
        read_split(path, "comparisons", "train")
    assert says in str(raised.value)


def test_missing_empty_and_wrong_datasets(tmp_path):
    path = tiny.save_dataset(tmp_path / "d", "comparisons", train=[])
    with pytest.raises(ValueError, match=r"train\.jsonl is empty"):
        read_split(path, "comparisons", "train")
    with pytest.raises(ValueError, match=r"has no test\.jsonl"):
        read_split(path, "comparisons", "test")
    with pytest.raises(ValueError, match="is a dataset of type 'comparisons'; this recipe needs one of type 'prompts'"):
        read_split(path, "prompts", "train")
    (path / "dataset.json").write_text("{")
    with pytest.raises(ValueError, match="not a valid dataset description"):
        read_split(path, "comparisons", "train")


def test_a_corrupt_line_is_named_with_its_file(tmp_path):
    path = tiny.save_dataset(tmp_path / "d", "comparisons", train=[ROW])
    (path / "train.jsonl").write_text(json.dumps(ROW) + "\n{broken\n")
    with pytest.raises(ValueError, match=r"train\.jsonl, line 2: not valid JSON"):
        read_split(path, "comparisons", "train")
