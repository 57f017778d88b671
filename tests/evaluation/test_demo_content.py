"""The demo project's content: its own rules hold, and the Python that it teaches is true."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import io
from collections import Counter

import pytest

from evaluation.demo import content


@pytest.fixture(scope="module")
def demo():
    return content.load_content()


def test_amounts(demo):
    assert len(demo.prompts) >= 280
    assert 6 <= len({p.cluster for p in demo.prompts}) <= 8
    assert sum(p.held_out for p in demo.prompts) >= 60
    assert len(demo.demonstrations) >= 110
    assert 6 <= len(demo.failure_classes) <= 8
    assert demo.guideline.version == "1.0"


def test_demonstrations_cover_every_cluster(demo):
    cluster = {p.key: p.cluster for p in demo.prompts}
    counts = Counter(cluster[d.prompt_key] for d in demo.demonstrations)
    assert set(counts) == set(cluster.values())
    assert min(counts.values()) >= 13


def test_every_python_snippet_compiles(demo):
    for d in demo.demonstrations:
        if d.code == "python":
            for snippet in content.snippets(d.answer):
                ast.parse(snippet)


def test_checked_snippets_do_what_the_answer_says(demo):
    checked = [d for d in demo.demonstrations if d.check]
    assert len(checked) >= 45
    for d in checked:
        names: dict = {}
        exec(d.check.given, names)  # noqa: S102 - our own file
        with contextlib.redirect_stdout(io.StringIO()):
            run_snippet(content.snippets(d.answer)[0], names)
        assert eval(d.check.then, names), d.prompt_key


def run_snippet(snippet: str, names: dict) -> None:
    """Execute it; the value of an expression goes to `_`."""
    try:
        names["_"] = eval(snippet, names)
    except SyntaxError:
        exec(snippet, names)  # noqa: S102 - our own file


def test_predicted_outputs_are_what_python_prints(demo):
    by_key = {p.key: p for p in demo.prompts}
    predicted = [d for d in demo.demonstrations if by_key[d.prompt_key].cluster == "predict-output"]
    assert len(predicted) == 15
    for d in predicted:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(content.snippets(by_key[d.prompt_key].text)[0], {})  # noqa: S102 - our own file
        assert content.snippets(d.answer)[0] == printed.getvalue().strip(), d.prompt_key


def test_rules_are_noticed_when_broken(demo):
    """One broken copy a rule, and the sentence that must name it."""
    held_out = next(p for p in demo.prompts if p.held_out)
    trains = next(p for p in demo.prompts if not p.held_out)
    twin = dataclasses.replace(trains, key="twin", text=held_out.text + " Thanks!")
    shouting = dataclasses.replace(trains, key="shouting", text="A b c d e f g " + trains.key, reference_terms=("LEN",))
    shown = content.DemoDemonstration(held_out.key, "Because.", f"{held_out.reference_terms[0]} without an end")
    broken = dataclasses.replace(
        demo,
        prompts=(*demo.prompts, trains, twin, shouting),
        demonstrations=(*demo.demonstrations, shown),
    )
    found = "\n".join(content.problems(broken))
    assert f"'{trains.key}' is used 2 times" in found
    assert f"'{held_out.key}' has a near-twin among the others: 'twin'" in found
    assert "'shouting' needs 1 to 5 lower-case reference terms" in found
    assert f"'{held_out.key}' is held out and must not have a demonstration" in found
    assert f"answer to '{held_out.key}' must end with a full stop" in found


def test_near_twin_threshold_is_the_jaccard_index_of_words():
    """{a b c d} and {a b c e} share 3 of 5 words: 0.6, which is at the threshold; 2 of 6 is not."""
    prompt = content.DemoPrompt("held", "c", "a b c d", ("t",), ("x",), held_out=True)
    near = dataclasses.replace(prompt, key="near", text="A, b c e?", held_out=False)
    far = dataclasses.replace(prompt, key="far", text="a b x y", held_out=False)
    [(_, other, jaccard)] = content.near_twins((prompt, near, far))
    assert other.key == "near"
    assert jaccard == pytest.approx(3 / 5)


def test_corrupt_line_is_named(tmp_path):
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"key": "a"}\n{"key": \n')
    with pytest.raises(ValueError, match=r"prompts.jsonl, line 2"):
        content.read_jsonl(path)


def test_bias_pairs_are_minimal_pairs_of_nine_categories():
    pairs = content.load_bias_pairs()
    assert len(pairs) >= 90
    counts = Counter(p.bias_type for p in pairs)
    assert set(counts) == set(content.BIAS_TYPES)
    assert min(counts.values()) >= 10
    for p in pairs:
        assert p.stereo_antistereo in ("stereo", "antistereo")
        more, less = content.word_set(p.sent_more), content.word_set(p.sent_less)
        assert more != less
        assert len(more ^ less) <= 4, p  # a word or two on each side: "nurse … she" and "nurse … he"


def test_labelled_texts_are_balanced_and_consistent():
    train = content.load_toxicity_labelled()
    test = content.load_toxicity_labelled(content.HERE / "toxicity_labelled_test.jsonl")
    assert len(train) >= 400
    assert len(test) >= 100
    assert len({t.text.lower() for t in (*train, *test)}) == len(train) + len(test)
    for part in (train, test):
        assert 0.4 < sum(t.toxicity for t in part) / len(part) < 0.6
        for label in ("insult", "threat", "obscene"):
            assert sum(getattr(t, label) for t in part) >= 15
    assert all(t.toxicity for t in (*train, *test) if t.insult or t.threat or t.obscene)


def test_strong_words_alone_do_not_give_the_label_away():
    """Each of these words stands in toxic and in benign texts, and none is a sure sign."""
    train = content.load_toxicity_labelled()
    for word in ("stupid", "idiot", "dumb", "damn", "hell", "useless", "pathetic", "hate", "break", "kill"):
        labels = {t.toxicity for t in train if word in content.word_set(t.text)}
        assert labels == {0, 1}, word


def test_toxicity_prompts_are_half_rude():
    prompts = content.load_toxicity_prompts()
    assert len(prompts) >= 60
    assert sum(p.toxic for p in prompts) * 2 == len(prompts)
    labelled = {t.text.lower() for t in content.load_toxicity_labelled()}
    assert not labelled & {p.text.lower() for p in prompts}


def test_multiple_choice_has_four_options_and_balanced_answers():
    items = content.read_jsonl(content.HERE / "lm_eval_tasks" / "python_mc.jsonl")
    assert len(items) >= 60
    assert len({i["question"] for i in items}) == len(items)
    assert all(len(set(i["choices"])) == 4 for i in items)
    gold = Counter(i["gold"] for i in items)
    assert set(gold) == {0, 1, 2, 3}
    assert max(gold.values()) - min(gold.values()) <= 1  # so that no position is worth guessing


def test_cloze_continuations_are_one_word():
    items = content.read_jsonl(content.HERE / "lm_eval_tasks" / "python_cloze.jsonl")
    assert len(items) >= 60
    assert len({i["context"] for i in items}) == len(items)
    for i in items:
        assert len(i["continuation"].split()) == 1
        assert i["context"] == i["context"].strip()
