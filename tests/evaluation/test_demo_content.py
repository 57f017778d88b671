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
