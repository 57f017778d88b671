"""What the scripted annotators of the unattended demo prefer: the helpdesk's guideline as a program.

Pure standard library. A scripted annotator reads a question, its reference terms and some completions, and ranks the
completions by a score between 0 and 1, the weighted sum of eight parts, each between 0 and 1:

    weight  part        1 when
    0.25    relevance   the reference terms occur; a term that already stands in the question counts half
    0.22    finished    the model stopped by itself (EOS) and the text ends like a sentence; half for only one of them
    0.16    code        there is inline code in backticks, and it is Python that compiles
    0.10    distinct    no three-word sequence comes twice; 0 when half of them are repeats
    0.10    no echo     its three-word sequences are not those of the question; 0 when half of them are
    0.08    reason      it says why or what for (because, which, so that, while, ...)
    0.05    direct      it begins with the answer: no greeting, no announcement, a term or code in the first sentence
    0.04    length      5 to 45 words; falls to 0 at an empty text and at 90 words

An empty text scores 0. Length alone moves the score by at most 0.04, less than the threshold below which two answers
are tied, so a preference is never a matter of length only.

Noise makes the two scripted annotators disagree now and then, as people do: with a small probability a scripted
annotator swaps two neighbouring ranks. The draw depends on the annotator's seed and on the texts alone, so the same
annotator always gives the same answer, in whatever order tasks arrive.
"""

from __future__ import annotations

import ast
import hashlib
import random
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

WEIGHTS = {
    "relevance": 0.25,
    "finished": 0.22,
    "code": 0.16,
    "distinct": 0.10,
    "no_echo": 0.10,
    "reason": 0.08,
    "direct": 0.05,
    "length": 0.04,
}
ENOUGH_TERMS = 1.5  # new terms count 1, terms of the question 0.5: one of each is enough
COMFORTABLE_WORDS = (5, 45)
TOO_MANY_WORDS = 90
# What a snippet may be part of: nothing, a block's head, try, except, a decorator.
FRAMES = ("{}", "{} pass", "{} pass\nfinally: pass", "try: pass\n{} pass", "{}\ndef f(): pass")
REASON = re.compile(r"\b(because|since|which|so|while|whereas|where|as in|instead of|without|unlike)\b", re.IGNORECASE)
ANNOUNCEMENT = re.compile(
    r"^\W*(sure|certainly|of course|great|good question|hello|hi\b|thank|i'm|i am|i'd|i will|i can|as an ai"
    r"|you are asking|you asked|the question|let's|here is|here's|here are"
    r"|there are (many|several)|it is important|it's important)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class ScriptedAnnotator:
    """One scripted annotator. `noise` is the probability of swapping two neighbouring ranks.

    Completions whose scores differ by less than `tie_threshold` share a rank.
    """

    name: str
    seed: int
    noise: float = 0.04
    tie_threshold: float = 0.05

    def __post_init__(self) -> None:
        if not 0 <= self.noise < 0.5:
            raise ValueError(
                f"noise is a probability below 0.5 (above, the ranking would be reversed), not {self.noise}."
            )
        if self.tie_threshold < 0:
            raise ValueError(f"tie_threshold must not be negative, but is {self.tie_threshold}.")


SCRIPTED_ANNOTATORS = (
    ScriptedAnnotator("scripted annotator 1", seed=101),
    ScriptedAnnotator("scripted annotator 2", seed=202),
)


def score(prompt_text: str, reference_terms: Sequence[str], completion: str, finished: bool) -> float:
    """How good a completion is, between 0 and 1. `finished`: the model ended it (EOS) within its token budget."""
    if not completion.strip():
        return 0.0
    parts = score_parts(prompt_text, reference_terms, completion, finished)
    return sum(WEIGHTS[name] * value for name, value in parts.items())


def score_parts(prompt_text: str, reference_terms: Sequence[str], completion: str, finished: bool) -> dict[str, float]:
    """The eight parts of the score, each between 0 and 1, by name."""
    text = completion.strip()
    return {
        "relevance": relevance(prompt_text, reference_terms, text),
        "finished": (float(finished) + float(ends_like_a_sentence(text))) / 2,
        "code": code_quality(text),
        "distinct": distinctness(text),
        "no_echo": 1 - min(1.0, 2 * echo(prompt_text, text)),
        "reason": float(REASON.search(text) is not None),
        "direct": float(is_direct(reference_terms, text)),
        "length": length_comfort(text),
    }


def rank(
    prompt_text: str,
    reference_terms: Sequence[str],
    completions: Sequence[str],
    finished: Sequence[bool],
    annotator: ScriptedAnnotator,
) -> list[list[int]]:
    """Rank completions, best first: a list of ranks, each the indices of the completions that share it.

    A completion joins the rank above it when it scores less than the tie threshold below that rank's best one.
    """
    if len(completions) != len(finished):
        raise ValueError(f"{len(completions)} completions came with {len(finished)} finished marks; give one for each.")
    scores = [score(prompt_text, reference_terms, c, f) for c, f in zip(completions, finished)]
    tiers: list[list[int]] = []
    for index in sorted(range(len(scores)), key=lambda i: (-scores[i], completions[i], i)):
        if tiers and scores[tiers[-1][0]] - scores[index] < annotator.tie_threshold:
            tiers[-1].append(index)
        else:
            tiers.append([index])
    return _with_noise(tiers, annotator, prompt_text, completions)


def rationale(prompt_text: str, reference_terms: Sequence[str], completion: str, finished: bool) -> str:
    """What counted most against a completion, as the end of a sentence about it: at most two of its parts."""
    parts = score_parts(prompt_text, reference_terms, completion, finished)
    lost = sorted(((WEIGHTS[n] * (1 - v), n) for n, v in parts.items() if v < 0.75), reverse=True)[:2]
    return " and ".join(FAULTS[name] for _, name in lost) or "is only slightly weaker"


FAULTS = {
    "relevance": "misses what was asked",
    "finished": "is not finished",
    "code": "shows no working code",
    "distinct": "repeats itself",
    "no_echo": "repeats the question",
    "reason": "gives no reason",
    "direct": "does not begin with the answer",
    "length": "has an awkward length",
}


def relevance(prompt_text: str, reference_terms: Sequence[str], completion: str) -> float:
    """Weight of the reference terms found, over what is enough."""
    weights = {term: 0.5 if contains(prompt_text, term) else 1.0 for term in reference_terms}
    if not weights:
        return 0.0
    found = sum(weight for term, weight in weights.items() if contains(completion, term))
    return min(1.0, found / min(ENOUGH_TERMS, sum(weights.values())))


def contains(text: str, term: str) -> bool:
    """Whether the term occurs. A term of one or two word characters ("2", "is") must stand alone."""
    text = text.lower()
    if len(term) <= 2 and term.isalnum():
        return re.search(rf"(?<!\w){re.escape(term)}(?!\w)", text) is not None
    return term in text


def ends_like_a_sentence(text: str) -> bool:
    return text.endswith((".", "!", "?", ".`", '."', ".)"))


def code_quality(text: str) -> float:
    """0 without inline code; else 0.5 plus half the share of snippets that are Python."""
    snippets = [s for s in re.findall(r"`+([^`]+)`+", text) if re.search(r"\w", s)]
    if not snippets:
        return 0.0
    return 0.5 + 0.5 * sum(map(is_python, snippets)) / len(snippets)


def is_python(snippet: str) -> bool:
    """Whether it compiles as it stands, or as part of a statement (`if x:`, `except ValueError:`, `@cache`)."""
    return any(_compiles(frame.format(snippet.strip())) for frame in FRAMES)


def _compiles(source: str) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SyntaxWarning for odd escapes in sampled code
        try:
            ast.parse(source)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return False
    return True


def distinctness(text: str) -> float:
    """1 when no word trigram is repeated, 0 when half of them or more are repeats."""
    sequence = trigrams(text)
    if not sequence:
        return 1.0
    return max(0.0, 2 * len(set(sequence)) / len(sequence) - 1)


def echo(prompt_text: str, text: str) -> float:
    """Share of the text's word trigrams that stand in the question; of its words when it has fewer than three."""
    sequence = trigrams(text)
    if not sequence:
        return float(set(words(text)) <= set(words(prompt_text)))
    asked = set(trigrams(prompt_text))
    return sum(t in asked for t in sequence) / len(sequence)


def is_direct(reference_terms: Sequence[str], text: str) -> bool:
    """The first sentence is no announcement and holds code or a reference term."""
    first = re.split(r"(?<=[.!?])\s", text, maxsplit=1)[0]
    if ANNOUNCEMENT.match(first) or first.endswith("?"):
        return False
    return "`" in first or any(contains(first, term) for term in reference_terms)


def length_comfort(text: str) -> float:
    """1 between 5 and 45 words, falling linearly to 0 at no words and at 90."""
    count = len(text.split())
    low, high = COMFORTABLE_WORDS
    if count < low:
        return count / low
    return max(0.0, min(1.0, (TOO_MANY_WORDS - count) / (TOO_MANY_WORDS - high)))


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def trigrams(text: str) -> list[tuple[str, ...]]:
    w = words(text)
    return list(zip(w, w[1:], w[2:]))


def _with_noise(
    tiers: list[list[int]], annotator: ScriptedAnnotator, prompt_text: str, completions: Sequence[str]
) -> list[list[int]]:
    """Swap neighbouring ranks with the annotator's noise, once along the list from the top."""
    content = "\x1f".join([str(annotator.seed), prompt_text, *sorted(completions)])
    # Python's hash() differs between processes; a digest does not.
    draw = random.Random(hashlib.sha256(content.encode()).digest())
    noisy = [list(tier) for tier in tiers]
    for i in range(len(noisy) - 1):
        if draw.random() < annotator.noise:
            noisy[i], noisy[i + 1] = noisy[i + 1], noisy[i]
    return noisy
