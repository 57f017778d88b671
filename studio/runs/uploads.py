"""Uploaded text and JSONL become dataset artifacts: checked line by line, written in the columns that recipes read."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any, BinaryIO

from django.conf import settings
from django.core.files.uploadhandler import FileUploadHandler, StopUpload, TemporaryFileUploadHandler
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt, csrf_protect

from studio.models import Project, User
from studio.runs.directory import write_json
from studio.runs.models import Artifact

MAX_LINE_BYTES = 10_000_000  # one document or conversation; more is a file that is no JSONL
MAX_PROBLEMS = 10  # shown at once
ROLES = ("system", "user", "assistant", "tool")

Row = dict[str, Any]


class UploadError(ValueError):
    """What is wrong with an upload, one sentence a problem, each naming file and line."""

    def __init__(self, problems: list[str]):
        super().__init__("\n".join(problems))
        self.problems = problems


class BoundedUpload(FileUploadHandler):
    """Stops keeping an upload once it is larger than MAX_UPLOAD_BYTES in all; `exceeded` then says so."""

    def __init__(self, request: Any = None):
        super().__init__(request)
        self.limit = settings.MAX_UPLOAD_BYTES
        self.received = 0
        self.exceeded = False

    def receive_data_chunk(self, raw_data: bytes, start: int) -> bytes:
        self.received += len(raw_data)
        if self.received > self.limit:
            self.exceeded = True
            raise StopUpload(connection_reset=False)  # read to the end, so that the browser shows our answer
        return raw_data

    def file_complete(self, file_size: int) -> None:
        return None  # the handlers after this one keep the file


def bounded_upload(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Keep what is uploaded to the view in files on disk; it is called with its `BoundedUpload` as `bounded`.

    The token against forged requests is in the body, so it is checked once the handlers are set, not before.
    """
    checked = csrf_protect(view)

    @csrf_exempt
    @wraps(view)
    def bounded_view(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        bounded = BoundedUpload(request)
        request.upload_handlers = [bounded, TemporaryFileUploadHandler(request)]
        return checked(request, *args, bounded=bounded, **kwargs)

    return bounded_view


@dataclass
class Source:
    """One uploaded file."""

    name: str
    stream: BinaryIO


@dataclass
class Checks:
    """What is known of the files read so far, for checks that span lines and files."""

    labels: tuple[str, ...] = ()
    prompts: dict[str, set[str]] = field(default_factory=lambda: {"train": set(), "test": set()})


def create_dataset(
    project: Project,
    user: User,
    dataset_type: str,
    name: str,
    train: Source,
    test: Source | None = None,
    *,
    licence: str = "",
    origin: str = "",
    paragraphs: bool = False,
) -> Artifact:
    """Check the files and register them as one dataset artifact. Nothing is kept when a line is wrong.

    `paragraphs`: each paragraph of a .txt file is a document, rather than the whole file. Raises UploadError.
    """
    key = uuid.uuid4().hex
    aside, final = settings.VAR / "uploads" / f".{key}", settings.VAR / "uploads" / key
    aside.mkdir(parents=True)
    try:
        counts, checks = _write_splits(aside, dataset_type, {"train": train, "test": test}, paragraphs)
        metadata = {"type": dataset_type, "counts": counts, "licence": licence, "origin": origin, "uploaded": True}
        if checks.labels:
            metadata["labels"] = list(checks.labels)
        write_json(aside / "dataset.json", {k: metadata[k] for k in ("type", "counts", "labels") if k in metadata})
        (aside / "README.md").write_text(_card(name, metadata, train, test, user), encoding="utf8")
        os.replace(aside, final)
        return Artifact.register(project, Artifact.Kind.DATASET, name, final, user, metadata)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        shutil.rmtree(final, ignore_errors=True)
        raise


def _write_splits(
    directory: Path, dataset_type: str, sources: dict[str, Source | None], paragraphs: bool
) -> tuple[dict[str, int], Checks]:
    checks = Checks()
    problems: list[str] = []
    counts: dict[str, int] = {}
    for split, source in sources.items():
        if source is None:
            continue
        rows = _read_text(source, paragraphs) if _is_plain_text(source, dataset_type) else _read_jsonl(source)
        with open(directory / f"{split}.jsonl", "w", encoding="utf8") as file:
            counts[split] = _write_rows(file, rows, dataset_type, split, source, checks, problems)
        if not counts[split] and not problems:
            problems.append(f"{source.name} is empty: it needs at least one example.")
    if problems:
        raise UploadError(problems)
    return counts, checks


def _write_rows(
    file: Any, rows: Iterator[tuple[int, Any]], dataset_type: str, split: str, source: Source, checks: Checks,
    problems: list[str],
) -> int:  # fmt: skip
    """Write the rows that pass and count them; what is wrong goes to `problems`, until there are too many."""
    count = 0
    for line, value in rows:
        try:
            if isinstance(value, ValueError):
                raise value
            row = NORMALISE[dataset_type](value, checks)
            _check_split(row, split, checks)
            file.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")
            count += 1
        except ValueError as error:  # UnicodeEncodeError too: half of a surrogate pair
            reason = "it holds half of a surrogate pair, which is no text" if _is_surrogate(error) else str(error)
            problems.append(f"{source.name}, line {line}: {reason}.")
            if len(problems) >= MAX_PROBLEMS:
                problems.append(f"Only the first {MAX_PROBLEMS} problems are listed.")
                raise UploadError(problems) from error
    return count


def _is_surrogate(error: ValueError) -> bool:
    return isinstance(error, UnicodeEncodeError)


def _is_plain_text(source: Source, dataset_type: str) -> bool:
    return dataset_type == "text" and not source.name.lower().endswith((".jsonl", ".json", ".ndjson"))


def _lines(source: Source) -> Iterator[tuple[int, str | ValueError]]:
    """(number, text) of each line, from 1; a line that cannot be read is the error that says why."""
    number = 0
    while line := source.stream.readline(MAX_LINE_BYTES + 1):
        number += 1
        if len(line) > MAX_LINE_BYTES:
            yield number, ValueError(f"it is longer than {MAX_LINE_BYTES / 1e6:.0f} MB; give one example a line")
            return
        try:
            yield number, line.decode("utf-8-sig" if number == 1 else "utf8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            yield number, ValueError(f"byte {error.start + 1} is not UTF-8; save the file as UTF-8")


def _read_jsonl(source: Source) -> Iterator[tuple[int, Any]]:
    for number, line in _lines(source):
        if isinstance(line, ValueError):
            yield number, line
        elif line.strip():
            yield number, _parse(line)


def _parse(line: str) -> Any:
    try:
        return json.loads(line, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        return ValueError(f"this is not JSON ({error.msg}, column {error.colno}); give one JSON object a line")
    except RecursionError:
        return ValueError("the JSON is nested too deeply")
    except ValueError as error:
        return error


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON; leave the value out or write null")


def _read_text(source: Source, paragraphs: bool) -> Iterator[tuple[int, Any]]:
    """Documents of a plain text file, with the line where each begins."""
    first, block = 1, []
    for number, line in _lines(source):
        if isinstance(line, ValueError):
            yield number, line
            return
        if paragraphs and not line.strip():
            if block:
                yield first, {"text": "\n".join(block)}
            first, block = number + 1, []
        else:
            block.append(line)
    if "".join(block).strip():
        yield first, {"text": "\n".join(block)}


# Rows of each dataset type, in TRL's columns. Prompts and answers may be given as plain strings.


def _text(value: Any, checks: Checks) -> Row:
    row = _object(value)
    return {**row, "text": _string(row, "text")}


def _demonstration(value: Any, checks: Checks) -> Row:
    row = _object(value)
    if "messages" in row:
        messages = _messages(row.pop("messages"), "messages")
        if len(messages) < 2 or messages[-1]["role"] != "assistant":
            raise ValueError("“messages” must end with the assistant's answer, after the turns that it answers")
        row = {**row, "prompt": messages[:-1], "completion": messages[-1:]}
    return _with_prompt(row) | {"completion": _answer(row, "completion")}


def _comparison(value: Any, checks: Checks) -> Row:
    row = _object(value)
    chosen, rejected = _answer(row, "chosen"), _answer(row, "rejected")
    if chosen == rejected:
        raise ValueError("“chosen” and “rejected” are the same answer; leave ties out")
    return _with_prompt(row) | {"chosen": chosen, "rejected": rejected}


def _prompt(value: Any, checks: Checks) -> Row:
    return _with_prompt(_object(value))


def _labelled(value: Any, checks: Checks) -> Row:
    row = _object(value)
    text = _string(row, "text")
    labels = tuple(name for name in row if name not in ("text", "id"))
    checks.labels = checks.labels or labels
    if not labels:
        raise ValueError("give at least one label column beside “text”, with values 0 or 1")
    if set(labels) != set(checks.labels):
        raise ValueError(f"its labels are {', '.join(labels)}, but the first line's are {', '.join(checks.labels)}")
    for name in labels:
        if row[name] not in (0, 1):
            raise ValueError(f"label “{name}” must be 0 or 1, not {json.dumps(row[name])[:40]}")
    return {"text": text, **{name: int(row[name]) for name in checks.labels}}


NORMALISE: dict[str, Callable[[Any, Checks], Row]] = {
    "text": _text,
    "demonstrations": _demonstration,
    "comparisons": _comparison,
    "prompts": _prompt,
    "labelled": _labelled,
}


def _object(value: Any) -> Row:
    if not isinstance(value, dict):
        raise ValueError("give a JSON object ({…}), not a bare value or list")
    return dict(value)


def _string(row: Row, column: str) -> str:
    value = row.get(column)
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"“{column}” is missing or empty; it must be a text")
    return value


def _with_prompt(row: Row) -> Row:
    """The row with its prompt as messages, an id of the prompt (by content, when none is given) and a cluster."""
    prompt = row.get("prompt")
    messages = [{"role": "user", "content": _string(row, "prompt")}] if isinstance(prompt, str) else None
    messages = messages or _messages(prompt, "prompt")
    if messages[-1]["role"] == "assistant":
        raise ValueError("“prompt” must end with the turn to be answered, not with the assistant's")
    digest = hashlib.sha256(json.dumps(messages, ensure_ascii=True).encode()).hexdigest()[:16]
    return {**row, "prompt": messages, "prompt_id": row.get("prompt_id") or digest, "cluster": row.get("cluster") or ""}


def _answer(row: Row, column: str) -> list[Row]:
    value = row.get(column)
    if isinstance(value, str):
        return [{"role": "assistant", "content": _string(row, column)}]
    messages = _messages(value, column)
    if len(messages) != 1 or messages[0]["role"] != "assistant":
        raise ValueError(f"“{column}” must be one message of the assistant, or a text")
    return messages


def _messages(value: Any, column: str) -> list[Row]:
    if not isinstance(value, list) or not value:
        raise ValueError(f"“{column}” is missing; it must be a text or a list of messages")
    messages = []
    for message in value:
        if not isinstance(message, dict) or message.get("role") not in ROLES:
            raise ValueError(f"each message of “{column}” needs a “role”: {', '.join(ROLES)}")
        if not isinstance(message.get("content"), str) or not message["content"].strip():
            raise ValueError(f"each message of “{column}” needs a text as its “content”")
        messages.append({"role": message["role"], "content": message["content"]})
    return messages


def _check_split(row: Row, split: str, checks: Checks) -> None:
    """No prompt may be in both parts: what is measured on the test part would be flattered."""
    if "prompt" not in row:
        return
    digest = hashlib.sha256(json.dumps(row["prompt"]).encode()).hexdigest()
    other = "train" if split == "test" else "test"
    if digest in checks.prompts[other]:
        raise ValueError(f"its prompt is in the {other} file too; keep every prompt in one of them")
    checks.prompts[split].add(digest)


def _card(name: str, metadata: dict[str, Any], train: Source, test: Source | None, user: User) -> str:
    files = ", ".join(source.name for source in (train, test) if source)
    counts = ", ".join(f"{count:,} {split}" for split, count in metadata["counts"].items())
    labels = f"\n- Labels: {', '.join(metadata['labels'])}" if "labels" in metadata else ""
    return (
        f"# {name}\n\nUploaded by {user.display_name} from {files}.\n\n"
        f"- Type: {metadata['type']}\n- Examples: {counts}{labels}\n"
        f"- Licence: {metadata['licence'] or 'not given'}\n- Origin: {metadata['origin'] or 'not given'}\n"
    )
