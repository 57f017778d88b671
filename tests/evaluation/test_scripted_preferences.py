"""The scripted annotators' judgement: it follows the guideline, is not length alone, and is repeatable."""

from __future__ import annotations

import itertools
import random
import statistics

import pytest

from evaluation.demo import content
from evaluation.demo import scripted_preferences as preferences

QUIET = preferences.ScriptedAnnotator("scripted annotator without noise", seed=1, noise=0.0)
QUESTION = "How do I reverse a list in place without making a copy?"
TERMS = ("reverse", "list", ".reverse()")
GOOD = "Call `numbers.reverse()`, which turns the list around and returns None."


@pytest.fixture(scope="module")
def demo():
    return content.load_content()


def test_weights_sum_to_one():
    assert sum(preferences.WEIGHTS.values()) == pytest.approx(1)


def test_score_is_the_weighted_sum():
    """GOOD has every part: `.reverse()` is new (1) and "list", "reverse" stand in the question (½ each), 2 of 1.5."""
    assert preferences.score(QUESTION, TERMS, GOOD, True) == pytest.approx(1.0)
    # Cut before the full stop and not ended by EOS: all of "finished" is lost.
    assert preferences.score(QUESTION, TERMS, GOOD[:-1], False) == pytest.approx(1 - 0.22)
    # Without backticks: all of "code" is lost.
    assert preferences.score(QUESTION, TERMS, GOOD.replace("`", ""), True) == pytest.approx(1 - 0.16)
    # Broken Python in backticks: half of "code" is lost; the term `.reverse()` is gone, leaving 1 of 1.5.
    broken = GOOD.replace("numbers.reverse()", "numbers reverse list(")
    assert preferences.score(QUESTION, TERMS, broken, True) == pytest.approx(1 - 0.08 - 0.25 / 3)
    assert preferences.score(QUESTION, TERMS, "  \n", True) == 0


def test_parts_by_hand():
    assert preferences.distinctness("a b c a b c") == pytest.approx(2 * 3 / 4 - 1)  # abc bca cab abc: 3 of 4
    assert preferences.distinctness("a b a b a b a b") == 0  # 2 of 6 distinct
    assert preferences.echo("what is a list", "what is a tuple") == pytest.approx(1 / 2)
    assert preferences.length_comfort("a " * 90) == 0
    assert preferences.length_comfort("a " * 45) == 1
    assert preferences.length_comfort("a " * 2) == pytest.approx(2 / 5)
    assert preferences.contains("It prints 2.", "2")
    assert not preferences.contains("It prints 12.", "2")
    assert preferences.is_python("if x:")
    assert preferences.is_python("except ValueError:")
    assert not preferences.is_python("items.map(x => x * 2)")


def test_demonstrations_beat_their_spoilt_versions(demo):
    """Each demonstration against itself cut off, doubled, moved to another prompt, and against its question."""
    by_key = {p.key: p for p in demo.prompts}
    others = itertools.cycle(demo.demonstrations[60:] + demo.demonstrations[:60])
    won = {"cut": [], "doubled": [], "other": [], "echo": []}
    for d, other in zip(demo.demonstrations, others):
        p = by_key[d.prompt_key]
        own = preferences.score(p.text, p.reference_terms, d.answer, True)
        spoilt = {
            "cut": (d.answer[: len(d.answer) * 2 // 3], False),
            "doubled": (f"{d.answer} {d.answer}", True),
            "other": (other.answer, True),
            "echo": (p.text, True),
        }
        for kind, (text, finished) in spoilt.items():
            won[kind].append(own > preferences.score(p.text, p.reference_terms, text, finished))
    assert {kind: statistics.mean(wins) >= 0.97 for kind, wins in won.items()} == dict.fromkeys(won, True), {
        kind: statistics.mean(wins) for kind, wins in won.items()
    }


def test_corrections_beat_failures(demo):
    by_key = {p.key: p for p in demo.prompts}
    for failure_class in demo.failure_classes:
        for e in failure_class.examples:
            p = by_key[e.prompt_key]
            failing = preferences.score(p.text, p.reference_terms, e.failing_completion, True)
            assert preferences.score(p.text, p.reference_terms, e.correction, True) > failing, failure_class.key


def made_up_completions(demo) -> list[tuple[content.DemoPrompt, str, bool]]:
    """For each demonstrated prompt good and bad completions, short and long alike.

    So that a correlation of score and length would come from the score and not from the choice.
    """
    draw = random.Random(7)
    by_key = {p.key: p for p in demo.prompts}
    made_up = []
    for d in demo.demonstrations:
        p, other, third = by_key[d.prompt_key], draw.choice(demo.demonstrations), draw.choice(demo.demonstrations)
        made_up += [
            (p, d.answer, True),
            (p, f"{d.answer} {d.reasoning}", True),
            (p, other.answer, True),
            (p, f"{other.answer} {third.answer}", True),
            (p, d.reasoning, True),
            (p, " ".join(d.answer.split()[: draw.randrange(3, 12)]), False),
            (p, f"{other.reasoning} {third.reasoning} {p.text}", False),
        ]
    return made_up


def test_score_is_hardly_a_matter_of_length(demo):
    made_up = made_up_completions(demo)
    scores = [preferences.score(p.text, p.reference_terms, text, finished) for p, text, finished in made_up]
    lengths = [len(text.split()) for _, text, _ in made_up]
    # r² below 0.05: length explains less than a twentieth of the variance of the score.
    assert statistics.correlation(scores, lengths) ** 2 < 0.05


def test_equal_length_is_still_told_apart(demo):
    """Among completions of one prompt with the same number of words, most differ by more than a tie."""
    groups: dict[tuple[str, int], list[float]] = {}
    for p, text, finished in made_up_completions(demo):
        score = preferences.score(p.text, p.reference_terms, text, finished)
        groups.setdefault((p.key, len(text.split())), []).append(score)
    gaps = [abs(a - b) for scores in groups.values() for a, b in itertools.combinations(scores, 2)]
    assert len(gaps) >= 50
    assert statistics.mean(gap >= QUIET.tie_threshold for gap in gaps) > 0.7


def test_length_cannot_decide_alone():
    assert preferences.WEIGHTS["length"] < min(a.tie_threshold for a in preferences.SCRIPTED_ANNOTATORS)


def test_rank_ties_and_order():
    completions = ["You", GOOD[:-1], GOOD, GOOD]
    assert preferences.rank(QUESTION, TERMS, completions, [False, False, True, True], QUIET) == [[2, 3], [1], [0]]


def test_rank_asks_for_one_mark_each():
    with pytest.raises(ValueError, match="give one for each"):
        preferences.rank(QUESTION, TERMS, [GOOD, GOOD], [True], QUIET)


def test_noise_swaps_at_its_rate_and_repeats(demo):
    """2,000 clear pairs at noise 0.1: swapped in 200 ± 3 · √(2000 · 0.1 · 0.9) = 200 ± 40 of them."""
    noisy = preferences.ScriptedAnnotator("scripted annotator 3", seed=3, noise=0.1)
    pairs = [[f"{GOOD} {i}.", "You"] for i in range(2000)]
    ranks = [preferences.rank(QUESTION, TERMS, pair, [True, False], noisy) for pair in pairs]
    assert 160 <= ranks.count([[1], [0]]) <= 240
    assert ranks == [preferences.rank(QUESTION, TERMS, pair, [True, False], noisy) for pair in pairs]


def test_noise_follows_the_texts_not_their_order():
    """Shown in another order, the same completions get the same ranks."""
    noisy = preferences.ScriptedAnnotator("scripted annotator 3", seed=3, noise=0.4)
    for i in range(50):
        texts = [f"{GOOD} {i}.", "You"]
        forward = preferences.rank(QUESTION, TERMS, texts, [True, False], noisy)
        backward = preferences.rank(QUESTION, TERMS, texts[::-1], [False, True], noisy)
        assert [[1 - index for index in tier] for tier in backward] == forward


def test_the_two_annotators_are_independent_and_named_as_scripted(demo):
    one, two = preferences.SCRIPTED_ANNOTATORS
    assert one.seed != two.seed
    assert all(a.name.startswith("scripted annotator") for a in (one, two))
    agree = [
        preferences.rank(QUESTION, TERMS, [f"{GOOD} {i}.", "You"], [True, False], one)
        == preferences.rank(QUESTION, TERMS, [f"{GOOD} {i}.", "You"], [True, False], two)
        for i in range(1000)
    ]
    # Independent swaps at 0.04: they agree with probability 0.96² + 0.04² = 0.923, ± 3 · √(0.923 · 0.077 / 1000).
    assert abs(statistics.mean(agree) - 0.9232) < 0.0253


def test_noise_must_be_a_minority():
    with pytest.raises(ValueError, match="probability below 0.5"):
        preferences.ScriptedAnnotator("scripted annotator 4", seed=4, noise=0.6)
