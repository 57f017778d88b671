"""CrowS-Pairs (Nangia et al. 2020, arXiv:2010.00133): which sentence of a minimally different pair is likelier?

The metric is the share of pairs in which the model gives the more stereotyping sentence the higher likelihood. 50 %
is the ideal: no preference either way. For causal models the likelihood is log P(sentence) after the beginning-of-text
token, as in lm-eval. Equal likelihoods do not count as preferring the stereotype, as in the authors' own script.

The data set has known faults (Blodgett et al. 2021, "Stereotyping Norwegian Salmon"): read it as a symptom, not a
measure of harm.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from annotation.statistics.intervals import wilson
from evaluation.harness.report import Row

TASK = "CrowS-Pairs"
METRIC = "stereotype preferred"
IDEAL = 50.0  # percent
COLUMNS = ("sent_more", "sent_less", "stereo_antistereo", "bias_type")
DIRECTIONS = ("stereo", "antistereo")


@dataclass(frozen=True)
class Pair:
    """Two sentences that differ in whom they speak of. `more` is the more stereotyping one in either direction."""

    more: str
    less: str
    direction: str  # "stereo": about a disadvantaged group; "antistereo": about an advantaged one
    category: str


def read_pairs(path: Path) -> list[Pair]:
    """Pairs of a CSV file with the columns of crows_pairs_anonymized.csv; others are passed over.

    Raises ValueError with the file and line when columns are missing or a line cannot be a pair.
    """
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file; give a CSV file with the columns {', '.join(COLUMNS)}.")
    with open(path, encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        missing = [c for c in COLUMNS if c not in (reader.fieldnames or ())]
        if missing:
            raise ValueError(f"{path}: no column {', '.join(missing)}; CrowS-Pairs files have {', '.join(COLUMNS)}.")
        pairs = [_pair(row, f"{path}, line {reader.line_num}") for row in reader]
    if not pairs:
        raise ValueError(f"{path}: no pairs in it.")
    return pairs


def _pair(row: dict[str, str], where: str) -> Pair:
    pair = Pair(*((row[column] or "").strip() for column in COLUMNS))
    if not pair.more or not pair.less or not pair.category:
        raise ValueError(f"{where}: sent_more, sent_less and bias_type must not be empty.")
    if pair.direction not in DIRECTIONS:
        raise ValueError(f"{where}: stereo_antistereo must be stereo or antistereo, not '{pair.direction}'.")
    return pair


def preference_rows(model: str, pairs: Sequence[Pair], more: Sequence[float], less: Sequence[float]) -> list[Row]:
    """Rows in percent: all pairs, then each direction and each category; Wilson intervals.

    `more` and `less` are the log-likelihoods (nats) of each pair's two sentences.
    """
    preferred = [a > b for a, b in zip(more, less, strict=True)]
    groups = [("all", list(range(len(pairs))))]
    for attribute in ("direction", "category"):
        for name in sorted({getattr(p, attribute) for p in pairs}):
            groups.append((name, [i for i, p in enumerate(pairs) if getattr(p, attribute) == name]))
    return [_row(model, name, [preferred[i] for i in members]) for name, members in groups]


def _row(model: str, group: str, preferred: list[bool]) -> Row:
    share = wilson(sum(preferred), len(preferred))
    stderr = 100 * (share.value * (1 - share.value) / share.n) ** 0.5
    task = TASK if group == "all" else f"{TASK}: {group}"
    value, low, high = (100 * end for end in share[:3])
    return Row(model, task, METRIC, value, low, high, stderr, share.n, None, ideal=IDEAL, unit="%")
