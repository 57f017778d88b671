"""The content of the demo project, the Python helpdesk: loaded from the files beside this module and checked.

Pure standard library. The prompts, demonstrations, guideline, failure classes and evaluation items are written for
this project; `validate` states what they must fulfil, and raises ValueError naming every line that does not.
"""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
NEAR_TWIN_JACCARD = 0.6  # of word sets; two questions above it are the same question to a model
HELD_OUT_MINIMUM = 60
PROMPT_WORDS = (8, 40)
ANSWER_WORDS = 45  # about 60 tokens of SmolLM2: the answers that SFT teaches must be finished within 64 tokens
SEVERITIES = ("minor", "major", "critical")
CODE_KINDS = ("python", "fragment", "shell")
BIAS_TYPES = (
    "age",
    "disability",
    "gender",
    "nationality",
    "physical-appearance",
    "race-color",
    "religion",
    "sexual-orientation",
    "socioeconomic",
)


@dataclass(frozen=True)
class DemoPrompt:
    """One question to the helpdesk.

    `reference_terms` are lower-case fragments that a good answer contains; the scripted annotators look for them.
    `held_out` prompts never train anything: they are kept for review and for measuring gains.
    """

    key: str
    cluster: str
    text: str
    tags: tuple[str, ...]
    reference_terms: tuple[str, ...]
    held_out: bool


@dataclass(frozen=True)
class Check:
    """What a test runs: `given`, then the answer's first snippet (its value is `_`), then `then` must be true."""

    given: str
    then: str


@dataclass(frozen=True)
class DemoDemonstration:
    """An ideal answer in the house style: one direct sentence, code in backticks, a full stop.

    `code` says what the snippets are: "python" compiles as it stands, "fragment" is part of a statement (`if x:`),
    "shell" is a command.
    """

    prompt_key: str
    reasoning: str
    answer: str
    code: str = "python"
    check: Check | None = None


@dataclass(frozen=True)
class DemoFailureExample:
    """A completion that fails, what it should have been, and why."""

    prompt_key: str
    failing_completion: str
    correction: str
    reasoning: str


@dataclass(frozen=True)
class DemoFailureClass:
    """A named, recurring way in which models fail; severity is one of SEVERITIES."""

    key: str
    name: str
    description: str
    severity: str
    examples: tuple[DemoFailureExample, ...]


@dataclass(frozen=True)
class DemoGuideline:
    """The guideline for annotators and SMEs, in Markdown."""

    version: str
    title: str
    text: str


@dataclass(frozen=True)
class BiasPair:
    """Two sentences that differ in the group they speak about (CrowS-Pairs form)."""

    sent_more: str
    sent_less: str
    stereo_antistereo: str
    bias_type: str


@dataclass(frozen=True)
class LabelledText:
    """A short text with its toxicity labels, each 0 or 1; insult, threat and obscene imply toxicity."""

    text: str
    toxicity: int
    insult: int
    threat: int
    obscene: int


@dataclass(frozen=True)
class ToxicityPrompt:
    """The beginning of a helpdesk conversation; `toxic` says whether the user is rude."""

    text: str
    toxic: bool


@dataclass(frozen=True)
class DemoContent:
    """Everything that the demo project starts with."""

    prompts: tuple[DemoPrompt, ...]
    demonstrations: tuple[DemoDemonstration, ...]
    guideline: DemoGuideline
    failure_classes: tuple[DemoFailureClass, ...]


def load_content(directory: Path = HERE) -> DemoContent:
    """Read and validate the demo project's content. Raises ValueError with one line a problem."""
    content = DemoContent(
        prompts=load_prompts(directory / "prompts.jsonl"),
        demonstrations=load_demonstrations(directory / "demonstrations.jsonl"),
        guideline=load_guideline(directory / "guidelines.md"),
        failure_classes=load_failure_classes(directory / "failure_classes.json"),
    )
    found = problems(content)
    if found:
        raise ValueError("\n".join(found))
    return content


def load_prompts(path: Path = HERE / "prompts.jsonl") -> tuple[DemoPrompt, ...]:
    return tuple(
        DemoPrompt(
            key=row["key"],
            cluster=row["cluster"],
            text=row["text"],
            tags=tuple(row["tags"]),
            reference_terms=tuple(row["reference_terms"]),
            held_out=row["held_out"],
        )
        for row in read_jsonl(path)
    )


def load_demonstrations(path: Path = HERE / "demonstrations.jsonl") -> tuple[DemoDemonstration, ...]:
    return tuple(
        DemoDemonstration(
            prompt_key=row["prompt_key"],
            reasoning=row["reasoning"],
            answer=row["answer"],
            code=row["code"],
            check=Check(**row["check"]) if "check" in row else None,
        )
        for row in read_jsonl(path)
    )


def load_guideline(path: Path = HERE / "guidelines.md") -> DemoGuideline:
    """The first line is the title, ending in "version <number>"."""
    text = path.read_text(encoding="utf-8")
    first_line = text.partition("\n")[0]
    match = re.fullmatch(r"# (?P<title>.+), version (?P<version>\S+)", first_line)
    if not match:
        raise ValueError(f"{path.name}: the first line must read '# <title>, version <number>', not '{first_line}'.")
    return DemoGuideline(version=match["version"], title=match["title"], text=text)


def load_failure_classes(path: Path = HERE / "failure_classes.json") -> tuple[DemoFailureClass, ...]:
    rows = json.loads(path.read_text(encoding="utf-8"))
    return tuple(
        DemoFailureClass(
            key=row["key"],
            name=row["name"],
            description=row["description"],
            severity=row["severity"],
            examples=tuple(DemoFailureExample(**example) for example in row["examples"]),
        )
        for row in rows
    )


def load_bias_pairs(path: Path = HERE / "bias_pairs.csv") -> tuple[BiasPair, ...]:
    with path.open(encoding="utf-8", newline="") as file:
        return tuple(BiasPair(**row) for row in csv.DictReader(file))


def load_toxicity_labelled(path: Path = HERE / "toxicity_labelled.jsonl") -> tuple[LabelledText, ...]:
    """Texts to train a scorer on. `toxicity_labelled_test.jsonl` holds others for its test.

    Many texts are variations of one sentence pattern. The two files share no pattern, so a figure from the test file
    is about new sentences, and one from a random split of the first file alone would be too good.
    """
    return tuple(LabelledText(**row) for row in read_jsonl(path))


def load_toxicity_prompts(path: Path = HERE / "toxicity_prompts.jsonl") -> tuple[ToxicityPrompt, ...]:
    return tuple(ToxicityPrompt(**row) for row in read_jsonl(path))


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """One JSON object a line. Raises ValueError naming the file and line of the first that is none."""
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError as error:
            raise ValueError(f"{path.name}, line {number}: not a JSON object ({error.msg}).") from error
    return rows


def problems(content: DemoContent) -> list[str]:
    """Everything in the content that breaks its own rules, one sentence each; empty when all is well."""
    return [
        *_prompt_problems(content.prompts),
        *_demonstration_problems(content),
        *_failure_class_problems(content),
        *(
            f"Held-out prompt '{held_out.key}' has a near-twin among the others: '{other.key}' (Jaccard {jaccard:.2f})."
            for held_out, other, jaccard in near_twins(content.prompts)
        ),
    ]


def near_twins(
    prompts: tuple[DemoPrompt, ...], threshold: float = NEAR_TWIN_JACCARD
) -> list[tuple[DemoPrompt, DemoPrompt, float]]:
    """Pairs of a held-out prompt and one that trains whose word sets overlap by the threshold or more."""
    words = {p.key: word_set(p.text) for p in prompts}
    pairs = []
    for held_out in (p for p in prompts if p.held_out):
        for other in (p for p in prompts if not p.held_out):
            a, b = words[held_out.key], words[other.key]
            jaccard = len(a & b) / len(a | b)
            if jaccard >= threshold:
                pairs.append((held_out, other, jaccard))
    return pairs


def word_set(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", text.lower()))


def snippets(answer: str) -> list[str]:
    """The inline code of an answer: what stands between backticks."""
    return re.findall(r"`([^`]+)`", answer)


def _prompt_problems(prompts: tuple[DemoPrompt, ...]) -> list[str]:
    found = [f"Prompt key '{key}' is used {n} times." for key, n in Counter(p.key for p in prompts).items() if n > 1]
    found += [f"Prompt text used {n} times: {t}" for t, n in Counter(p.text for p in prompts).items() if n > 1]
    for p in prompts:
        low, high = PROMPT_WORDS
        if not low <= len(p.text.split()) <= high:
            found.append(f"Prompt '{p.key}' has {len(p.text.split())} words; write {low} to {high}.")
        if not 1 <= len(p.reference_terms) <= 5 or any(t != t.lower() for t in p.reference_terms):
            found.append(f"Prompt '{p.key}' needs 1 to 5 lower-case reference terms.")
        if not p.tags:
            found.append(f"Prompt '{p.key}' needs at least one tag.")
    held_out = Counter(p.cluster for p in prompts if p.held_out)
    if held_out.total() < HELD_OUT_MINIMUM:
        found.append(f"{held_out.total()} prompts are held out; {HELD_OUT_MINIMUM} are needed.")
    if len({held_out[p.cluster] for p in prompts}) > 1:
        found.append(f"Held-out prompts are not spread evenly over the clusters: {dict(held_out)}.")
    return found


def _demonstration_problems(content: DemoContent) -> list[str]:
    by_key = {p.key: p for p in content.prompts}
    counts = Counter(d.prompt_key for d in content.demonstrations)
    found = [f"Prompt '{key}' has {n} demonstrations; keep one." for key, n in counts.items() if n > 1]
    for d in content.demonstrations:
        prompt = by_key.get(d.prompt_key)
        if prompt is None:
            found.append(f"A demonstration names the unknown prompt '{d.prompt_key}'.")
            continue
        if prompt.held_out:
            found.append(f"Prompt '{d.prompt_key}' is held out and must not have a demonstration.")
        if not d.answer.endswith(".") or d.answer.count("`") % 2:
            found.append(f"The answer to '{d.prompt_key}' must end with a full stop and close its backticks.")
        if len(d.answer.split()) > ANSWER_WORDS:
            found.append(f"The answer to '{d.prompt_key}' is longer than {ANSWER_WORDS} words.")
        if not any(term in d.answer.lower() for term in prompt.reference_terms):
            found.append(f"The answer to '{d.prompt_key}' contains none of the prompt's reference terms.")
        if d.code not in CODE_KINDS:
            found.append(f"The demonstration of '{d.prompt_key}' has code '{d.code}'; use one of {CODE_KINDS}.")
    return found


def _failure_class_problems(content: DemoContent) -> list[str]:
    by_key = {p.key: p for p in content.prompts}
    counts = Counter(c.key for c in content.failure_classes)
    found = [f"Failure class '{key}' stands {n} times." for key, n in counts.items() if n > 1]
    for c in content.failure_classes:
        if c.severity not in SEVERITIES:
            found.append(f"Failure class '{c.key}' has severity '{c.severity}'; use one of {SEVERITIES}.")
        if not c.examples:
            found.append(f"Failure class '{c.key}' has no example.")
        for example in c.examples:
            prompt = by_key.get(example.prompt_key)
            if prompt is None or prompt.held_out:
                found.append(f"Failure class '{c.key}' must use a known prompt that is not held out.")
    return found
