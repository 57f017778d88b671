import pytest

from training.jsonl import read_jsonl


def test_objects_in_order_and_blank_lines_passed_over(tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_bytes(
        b'\xef\xbb\xbf{"a": 1}\r\n\n{"a": "\xc3\xa9\xe2\x80\xa8"}'
    )  # BOM, CRLF, U+2028 inside, no last newline
    assert read_jsonl(file) == [{"a": 1}, {"a": "é\u2028"}]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b'{"a": 1}\n\n{"a": \n', "line 3: not valid JSON"),
        (b'{"a": 1}\n[2]\n', "line 2: expected a JSON object like {…}, found list"),
        (b'{"a": "\xff"}\n', "line 1: not UTF-8 text (byte 8 of the line)"),
    ],
)
def test_a_broken_line_is_named(tmp_path, content, says):
    file = tmp_path / "rows.jsonl"
    file.write_bytes(content)
    with pytest.raises(ValueError) as raised:
        read_jsonl(file)
    assert str(file) in str(raised.value) and says in str(raised.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"none\.jsonl: there is no such file"):
        read_jsonl(tmp_path / "none.jsonl")
