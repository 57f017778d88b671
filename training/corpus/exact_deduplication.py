"""Exact deduplication and the held-out split: both are functions of a hash of the normalised text alone."""

from __future__ import annotations

import hashlib
import unicodedata


def normalise(text: str) -> str:
    """What equal texts share: case, Unicode form (NFKC) and the amount of white space are ignored."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def document_hash(text: str) -> str:
    """SHA-256 (hex) of the normalised text: the document's identity."""
    return hashlib.sha256(normalise(text).encode("utf8", "surrogatepass")).hexdigest()


def is_held_out(document_hash: str, fraction: float) -> bool:
    """Whether a document belongs to the held-out split. It stays there whatever else joins the corpus.

    The first 64 bits of the hash, read as a number in [0, 1), are compared with `fraction`.
    """
    return int(document_hash[:16], 16) < fraction * 2**64
