"""Records out of files, one at a time: JSONL and JSON (also gzipped), CSV, Parquet, Arrow and datasets saved to disk.

Pure. Memory stays bounded by one record (JSON, CSV) or by one batch of rows (Parquet, Arrow), however large the file.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

LONGEST_RECORD = 10_000_000  # bytes of one line, or characters of one element of a JSON array
ROWS_AT_ONCE = 500  # of a columnar file
CHUNK = 1 << 20
DELIMITERS = ",\t;|"
COLUMNAR = (".parquet", ".arrow")

csv.field_size_limit(LONGEST_RECORD)


@dataclass(slots=True)
class Record:
    """One record, or the reason why it cannot be read. `number`: its line, or its row in a columnar file, from 1."""

    number: int
    value: Any = None
    problem: str = ""
    split: str = ""  # which part of a dataset dictionary it stands in
    ends: bool = False  # what stands behind it cannot be read: such a file is not for passing over bad rows


def unit_of(path: Path) -> str:
    """What the numbers of this file's records count."""
    return "row" if path.is_dir() or path.suffix.lower() in COLUMNAR else "line"


def read_records(path: Path) -> Iterator[Record]:
    """Every record of the file or directory, in order. Raises ValueError with a sentence when it is of no known kind.

    A record that cannot be read comes as one with a `problem`; what stands behind it is read on where that is possible.
    """
    if path.is_dir():
        yield from _read_saved_dataset(path)
    elif path.suffix.lower() == ".parquet":
        yield from _read_parquet(path)
    elif path.suffix.lower() == ".arrow":
        yield from _read_arrow([path])
    elif _is_table(path):
        yield from _read_csv(path)
    else:
        with open_bytes(path) as file:
            start = _first_character(file)
            yield from _read_array(file) if start == b"[" else _read_lines(file)


def open_bytes(path: Path) -> BinaryIO:
    with open(path, "rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rb") if zipped else open(path, "rb")  # type: ignore[return-value]


def count_records(path: Path) -> int | None:
    """How many records there will be, for progress; None where that takes reading them all."""
    if path.is_dir():
        return sum(_arrow_rows(file) for _, files in _parts(path) for file in files)
    if path.suffix.lower() == ".parquet":
        return _parquet(path).metadata.num_rows
    if path.suffix.lower() == ".arrow":
        return _arrow_rows(path)
    with open_bytes(path) as file:
        if not _is_table(path) and _first_character(file) == b"[":
            return None
        lines = sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(CHUNK), b""))
    return max(1, lines)


def _is_table(path: Path) -> bool:
    return any(path.name.lower().endswith(end) for end in (".csv", ".tsv", ".csv.gz", ".tsv.gz"))


def _first_character(file: BinaryIO) -> bytes:
    start = file.read(4096)
    file.seek(0)
    return start.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]


# JSON


def _no_json(constant: str) -> str:
    return f"{constant} is not JSON; leave the value out or write null"


def _refuse_constant(name: str) -> float:
    raise ValueError(_no_json(name))


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def _read_lines(file: BinaryIO) -> Iterator[Record]:
    number = 0
    while line := file.readline(LONGEST_RECORD + 1):
        number += 1
        if len(line) > LONGEST_RECORD:
            yield Record(number, problem=f"it is longer than {LONGEST_RECORD / 1e6:.0f} MB; give one record a line")
            while line and not line.endswith(b"\n"):
                line = file.readline(LONGEST_RECORD)
            continue
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        if line.strip():
            yield _decoded(number, line)


def read_lines(content: bytes) -> Iterator[Record]:
    """The records of a JSONL file that is in memory."""
    return _read_lines(io.BytesIO(content))


def _decoded(number: int, line: bytes) -> Record:
    try:
        return Record(number, _DECODER.decode(line.decode("utf8")))
    except UnicodeDecodeError as error:
        return Record(number, problem=f"not UTF-8 text (byte {error.start + 1} of the line); save the file as UTF-8")
    except json.JSONDecodeError as error:
        return Record(number, problem=f"not valid JSON ({error.msg}, column {error.colno})")
    except RecursionError:
        return Record(number, problem="the JSON is nested too deeply")
    except ValueError as error:
        return Record(number, problem=str(error))


def _read_array(file: BinaryIO) -> Iterator[Record]:
    """The elements of one JSON array, decoded one after another as the text comes in."""
    text = io.TextIOWrapper(file, encoding="utf-8-sig")
    buffer, number, ended = "", 1, False
    constants: list[str] = []  # such as NaN, in the element that is being decoded
    decoder = json.JSONDecoder(parse_constant=constants.append)
    try:
        buffer = text.read(CHUNK)
        before = buffer.index("[") + 1
        number, buffer = number + buffer.count("\n", 0, before), buffer[before:]
        while True:
            stripped = buffer.lstrip(" \t\r\n,")
            number, buffer = number + buffer.count("\n", 0, len(buffer) - len(stripped)), stripped
            if buffer.startswith("]"):
                if _has_more(buffer[1:], text):
                    problem = "something stands behind the end of the list: give one list, or one record a line"
                    yield Record(number, problem=problem, ends=True)
                return
            constants.clear()
            try:
                value, end = decoder.raw_decode(buffer)
                if end == len(buffer) and not ended:
                    raise json.JSONDecodeError("unfinished", buffer, end)  # a number may go on in the next chunk
            except json.JSONDecodeError as error:
                more = "" if ended or len(buffer) > LONGEST_RECORD else text.read(CHUNK)
                ended = not more
                if ended:
                    at = number + buffer.count("\n", 0, error.pos)
                    problem = f"not valid JSON ({error.msg}); what stands behind it cannot be read"
                    yield Record(at, problem=problem, ends=True)
                    return
                buffer += more
                continue
            yield Record(number, problem=_no_json(constants[0])) if constants else Record(number, value)
            number, buffer = number + buffer.count("\n", 0, end), buffer[end:]
    except UnicodeDecodeError:
        yield Record(number, problem="not UTF-8 text from about here on; save the file as UTF-8", ends=True)
    except RecursionError:
        yield Record(number, problem="the JSON is nested too deeply", ends=True)
    except ValueError as error:
        yield Record(number, problem=str(error), ends=True)


def _has_more(rest: str, text: io.TextIOWrapper) -> bool:
    while not rest.strip():
        rest = text.read(CHUNK)
        if not rest:
            return False
    return True


# CSV


def delimiter_of(sample: str) -> str:
    """The delimiter by which most of the first rows have as many columns as the header, and that more than one."""
    best, most = ",", (0.0, 1)
    for delimiter in DELIMITERS:
        header, *rows = [row for row in csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter) if row][:20]
        fitting = sum(len(row) == len(header) for row in rows) / len(rows) if rows else 1.0
        if len(header) > 1 and (fitting, len(header)) > most:
            best, most = delimiter, (fitting, len(header))
    return best


def _read_csv(path: Path) -> Iterator[Record]:
    with open_bytes(path) as raw, io.TextIOWrapper(raw, encoding="utf-8-sig", newline="") as text:
        number = 1
        try:
            sample = text.read(1 << 16)
            text.seek(0)
            reader = csv.reader(text, delimiter=delimiter_of(sample), strict=True)
            header = [name.strip() for name in next(reader, [])]
            if len(set(header)) != len(header) or not any(header):
                yield Record(1, problem="the first line must name the columns, each once", ends=True)
                return
            number = reader.line_num + 1
            while True:
                try:
                    row = next(reader)
                except StopIteration:
                    return
                except csv.Error as error:  # a row over several lines may have taken others in: where does it end?
                    ends = reader.line_num > number
                    yield Record(number, problem=f"not valid CSV ({error})", ends=ends)
                    if ends:
                        return
                    number = reader.line_num + 1
                    continue
                if len(row) == len(header):
                    yield Record(number, {k: v for k, v in zip(header, row, strict=True) if v != ""})
                elif row:
                    yield Record(number, problem=f"it has {len(row)} columns, and the first line names {len(header)}")
                number = reader.line_num + 1
        except UnicodeDecodeError:
            yield Record(number, problem="not UTF-8 text from about here on; save the file as UTF-8", ends=True)
        except csv.Error as error:
            yield Record(number, problem=f"not valid CSV ({error})", ends=True)


# Parquet and Arrow


def _parquet(path: Path) -> Any:
    import pyarrow.parquet

    try:
        return pyarrow.parquet.ParquetFile(path)
    except (OSError, ValueError) as error:  # ArrowInvalid is a ValueError
        raise ValueError(f"{path.name} is not a Parquet file that can be read ({str(error)[:200]}).") from error


def _read_parquet(path: Path) -> Iterator[Record]:
    number = 1
    try:
        for batch in _parquet(path).iter_batches(batch_size=ROWS_AT_ONCE):
            for value in batch.to_pylist():
                yield Record(number, value)
                number += 1
    except OSError as error:
        yield Record(number, problem=f"the file is damaged from here on ({str(error)[:200]})")


def _stream(path: Path) -> Any:
    """Arrow's stream format, which datasets are saved in, or its file format."""
    import pyarrow

    source = pyarrow.memory_map(str(path))
    try:
        return pyarrow.ipc.open_stream(source)
    except (OSError, ValueError):
        source.seek(0)
    try:
        reader = pyarrow.ipc.open_file(source)
        return (reader.get_batch(i) for i in range(reader.num_record_batches))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path.name} is not an Arrow file that can be read ({str(error)[:200]}).") from error


def _arrow_rows(path: Path) -> int:
    return sum(batch.num_rows for batch in _stream(path))


def _read_arrow(paths: list[Path], split: str = "", number: int = 1) -> Iterator[Record]:
    for path in paths:
        try:
            for batch in _stream(path):
                for start in range(0, batch.num_rows, ROWS_AT_ONCE):
                    for value in batch.slice(start, ROWS_AT_ONCE).to_pylist():
                        yield Record(number, value, split=split)
                        number += 1
        except OSError as error:
            yield Record(number, problem=f"{path.name} is damaged from here on ({str(error)[:200]})", split=split)
            return


def _parts(directory: Path) -> list[tuple[str, list[Path]]]:
    """(split, its files) of a directory that `datasets`' save_to_disk wrote. Raises ValueError when it is none."""
    if (directory / "dataset_dict.json").is_file():
        splits = json.loads((directory / "dataset_dict.json").read_text(encoding="utf8")).get("splits") or []
        return [(str(split), _shards(directory / Path(str(split)).name)) for split in splits]
    return [("", _shards(directory))]


def _shards(directory: Path) -> list[Path]:
    state = directory / "state.json"
    if not state.is_file():
        raise ValueError(f"{directory.name} is no dataset saved to disk: it has no state.json.")
    named = [Path(str(entry["filename"])).name for entry in json.loads(state.read_text(encoding="utf8"))["_data_files"]]
    missing = [name for name in named if not (directory / name).is_file()]
    if missing:
        raise ValueError(f"{directory.name} lacks its file {missing[0]}.")
    return [directory / name for name in named]


def _read_saved_dataset(directory: Path) -> Iterator[Record]:
    number = 1
    for split, files in _parts(directory):
        for record in _read_arrow(files, split, number):
            number = record.number + 1
            yield record
