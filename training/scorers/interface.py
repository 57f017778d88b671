"""What a toxicity scorer is, to those who use one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol


class Scorer(Protocol):
    """A classifier of texts: for each label a probability in [0, 1]."""

    name: str
    labels: tuple[str, ...]

    def score(self, texts: Sequence[str]) -> dict[str, list[float]]:
        """Each label's probabilities, in the order of `texts`."""
        ...

    def describe(self) -> dict[str, Any]:
        """What a report says of it: "name", "sha256", "trained_on", and by label its held-out "auroc" with interval."""
        ...
