"""The files of an artifact: listed, and opened only from below its directory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from studio.runs.models import Artifact

LISTED = 200


@dataclass(frozen=True)
class ArtifactFile:
    name: str  # relative to the artifact's directory, with forward slashes
    size: int


def list_files(artifact: Artifact) -> list[ArtifactFile]:
    """At most LISTED files, by name. Symbolic links that lead out of the artifact are left out."""
    root = artifact.directory.resolve()
    files = []
    for path in sorted(root.rglob("*")):
        if path.is_file() and path.resolve().is_relative_to(root):
            files.append(ArtifactFile(path.relative_to(root).as_posix(), path.stat().st_size))
        if len(files) == LISTED:
            break
    return files


def find_file(artifact: Artifact, name: str) -> Path:
    """The file `name` of the artifact. Raises FileNotFoundError for one that is none of its files, wherever it lies."""
    root = artifact.directory.resolve()
    try:
        path = (root / name).resolve()
        if path.is_relative_to(root) and path.is_file():
            return path
    except (OSError, ValueError):  # a loop of links, a name too long, a NUL byte
        pass
    raise FileNotFoundError(f"'{name}' is no file of this artifact.")
