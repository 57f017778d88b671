"""Where documents come from: the Python documentation that every interpreter carries, and uploaded text files."""

from __future__ import annotations

import ast
import json
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PYTHON_LICENCE = "PSF-2.0"
# Packages of the standard library whose docstrings document tests or tools rather than the library.
NOT_DOCUMENTATION = frozenset(
    {"test", "tests", "idlelib", "lib2to3", "turtledemo", "site-packages", "dist-packages", "_bundled", "__phello__"}
)
DATASET_FILES_WITHOUT_TEXT = frozenset({"dataset.json", "README.md"})


@dataclass(frozen=True)
class Document:
    """One text with where it came from and under which licence (an SPDX identifier where there is one)."""

    text: str
    source: str
    licence: str


def python_documentation() -> Iterator[Document]:
    """The language reference's topics (`help("for")`) and the docstrings of this interpreter's standard library."""
    yield from python_topics()
    yield from python_docstrings(Path(sysconfig.get_path("stdlib")))


def python_topics() -> Iterator[Document]:
    """The texts behind `help("TOPIC")`, about 80 of them, 0.7 MB."""
    from pydoc_data.topics import topics  # plain data: one dict of strings

    for name in sorted(topics):
        yield Document(topics[name].strip() + "\n", "python-topics", PYTHON_LICENCE)


def python_docstrings(root: Path) -> Iterator[Document]:
    """Docstrings of every module, class and function below `root`, read with `ast`: nothing is imported or executed.

    A document is the signature under its full name, then the docstring, as `help()` would show them.
    """
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).parts
        if NOT_DOCUMENTATION.intersection(parts):
            continue
        module = ".".join(parts).removesuffix(".py").removesuffix(".__init__")
        try:
            tree = ast.parse(path.read_bytes())
        except SyntaxError:  # templates and deliberately broken files
            continue
        for heading, docstring in _docstrings(tree, module):
            yield Document(f"{heading}\n\n{docstring}\n", "python-docstrings", PYTHON_LICENCE)


def _docstrings(node: ast.AST, name: str, heading: str = "") -> Iterator[tuple[str, str]]:
    """(signature, docstring) of `node` and of what it defines, in order of the source."""
    docstring = ast.get_docstring(node)  # type: ignore[arg-type]
    if docstring:
        yield heading or f"module {name}", docstring
    for child in ast.iter_child_nodes(node):
        child_name = f"{name}.{getattr(child, 'name', '')}"
        if isinstance(child, ast.ClassDef):
            bases = ", ".join(ast.unparse(base) for base in child.bases)
            yield from _docstrings(child, child_name, f"class {child_name}" + (f"({bases})" if bases else ""))
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _docstrings(child, child_name, f"{child_name}({ast.unparse(child.args)})")


def text_files(path: Path, source: str, licence: str, paragraphs: bool = False) -> Iterator[Document]:
    """Documents of a text dataset: a .jsonl or .txt file, or a directory of them.

    A line of JSONL is {"text": …} and may carry its own "source" and "licence". A .txt file is one document, or, with
    `paragraphs`, one for each block between blank lines. Raises ValueError that names the file and line at fault.
    """
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    files = [f for f in files if f.suffix in (".jsonl", ".txt") and f.name not in DATASET_FILES_WITHOUT_TEXT]
    if not files:
        raise ValueError(f"{path.name} has no .jsonl or .txt file: give a dataset of type text.")
    for file in files:
        if file.suffix == ".jsonl":
            yield from _jsonl_documents(file, source, licence)
        else:
            for text in _text_documents(file, paragraphs):
                yield Document(text, source, licence)


def _jsonl_documents(file: Path, source: str, licence: str) -> Iterator[Document]:
    with open(file, "rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise ValueError(
                    f"{file.name}, line {number}: this is not JSON ({error}). Repair or remove the line."
                ) from error
            if not isinstance(row, dict) or not isinstance(row.get("text"), str):
                raise ValueError(
                    f'{file.name}, line {number}: there is no "text" string. Each line must be {{"text": "…"}}.'
                )
            yield Document(row["text"], str(row.get("source") or source), str(row.get("licence") or licence))


def _text_documents(file: Path, paragraphs: bool) -> Iterator[str]:
    try:
        text = file.read_text(encoding="utf8")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ValueError(
            f"{file.name}, line {line}: this is not UTF-8. Save the file as UTF-8 and upload it again."
        ) from error
    if not paragraphs:
        yield text
        return
    block: list[str] = []
    for line in [*text.splitlines(), ""]:
        if line.strip():
            block.append(line)
        elif block:
            yield "\n".join(block) + "\n"
            block = []
