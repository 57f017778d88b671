"""Archives and columnar files made while they are sent, so that memory does not grow with what is exported. Pure."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

CHUNK = 1 << 16  # bytes that are sent at a time, about
ROWS = 500  # of one batch of a columnar file


class Member(NamedTuple):
    """A file of an archive: its name and its bytes, piece by piece."""

    name: str
    chunks: Iterable[bytes]


class Sink(io.RawIOBase):
    """What writers write into; `drain` takes out what has come so far."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = self._position = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        part = bytes(data)
        self._parts.append(part)
        self._size += len(part)
        self._position += len(part)
        return len(part)

    def tell(self) -> int:
        return self._position

    def drain(self, at_least: int = 0) -> Iterator[bytes]:
        if self._size > at_least:
            yield b"".join(self._parts)
            self._parts, self._size = [], 0


def zip_chunks(members: Iterable[Member], at: datetime) -> Iterator[bytes]:
    """A ZIP archive. Members that are compressed already (Parquet) are stored as they are."""
    sink = Sink()
    with zipfile.ZipFile(sink, "w") as archive:
        for name, chunks in members:
            info = zipfile.ZipInfo(name, at.timetuple()[:6])
            info.compress_type = zipfile.ZIP_STORED if name.endswith(".parquet") else zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            with archive.open(info, "w", force_zip64=True) as file:
                for chunk in chunks:
                    file.write(chunk)
                    yield from sink.drain(CHUNK)
            yield from sink.drain(CHUNK)
    yield from sink.drain()


def json_lines(rows: Iterable[dict[str, Any]]) -> Iterator[bytes]:
    for row in rows:
        yield json.dumps(row, ensure_ascii=False).encode() + b"\n"


def json_array(rows: Iterable[dict[str, Any]]) -> Iterator[bytes]:
    yield b"["
    separator = b"\n"
    for row in rows:
        yield separator + json.dumps(row, ensure_ascii=False).encode()
        separator = b",\n"
    yield b"\n]\n"


def gather(chunks: Iterable[bytes], size: int = CHUNK) -> Iterator[bytes]:
    """The same bytes in fewer, larger pieces."""
    parts: list[bytes] = []
    held = 0
    for chunk in chunks:
        parts.append(chunk)
        held += len(chunk)
        if held >= size:
            yield b"".join(parts)
            parts, held = [], 0
    if parts:
        yield b"".join(parts)


def batches(rows: Iterable[dict[str, Any]], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    held: list[dict[str, Any]] = []
    for row in rows:
        held.append(row)
        if len(held) == ROWS:
            yield pa.RecordBatch.from_pylist(held, schema=schema)
            held = []
    if held:
        yield pa.RecordBatch.from_pylist(held, schema=schema)


def parquet_chunks(rows: Iterable[dict[str, Any]], schema: pa.Schema) -> Iterator[bytes]:
    sink = Sink()
    with pq.ParquetWriter(pa.PythonFile(sink, mode="w"), schema) as writer:
        for batch in batches(rows, schema):
            writer.write_batch(batch)
            yield from sink.drain(CHUNK)
    yield from sink.drain()


def arrow_chunks(rows: Iterable[dict[str, Any]], schema: pa.Schema) -> Iterator[bytes]:
    """Arrow's stream format, as Hugging Face's `datasets` keeps it on disk."""
    sink = Sink()
    with pa.ipc.new_stream(pa.PythonFile(sink, mode="w"), schema) as writer:
        for batch in batches(rows, schema):
            writer.write_batch(batch)
            yield from sink.drain(CHUNK)
    yield from sink.drain()
