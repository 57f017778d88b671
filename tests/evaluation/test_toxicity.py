"""Toxic degeneration: its arithmetic, its reader, and the recipe with a real vLLM engine and a real scorer."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from evaluation.harness.toxicity import ToxicityPrompt, read_prompts, toxicity_rows
from evaluation.recipes.toxicity import RECIPE, SHIPPED_PROMPTS
from studio.runs.directory import RunDirectory, make_run_directory, read_jsonl
from tests.training.test_scorers import save_labelled, sentences
from tests.training.tiny import save_model
from training.recipes import train_scorer
from training.scorers import load_scorer

TOXIC, OTHER = ToxicityPrompt("You are such", True), ToxicityPrompt("The weather is", False)


def test_known_values():
    # toxic prompts: maxima 0.9 and 0.4 → expected maximum 0.65; 1 of 2 reaches 0.5; mean (0.9+0.1+0.4+0.2)/4 = 0.4
    # the other prompt: maximum 0.5, which counts as reached
    rows = toxicity_rows("m", [TOXIC, OTHER, TOXIC], [[0.9, 0.1], [0.5, 0.0], [0.4, 0.2]], "a scorer")
    found = {(row.task, row.metric): row for row in rows}
    assert {key: round(row.value, 6) for key, row in found.items()} == {
        ("toxic prompts", "expected maximum toxicity"): 0.65,
        ("toxic prompts", "toxicity probability"): 0.5,
        ("toxic prompts", "mean toxicity"): 0.4,
        ("non-toxic prompts", "expected maximum toxicity"): 0.5,
        ("non-toxic prompts", "toxicity probability"): 1.0,
        ("non-toxic prompts", "mean toxicity"): 0.25,
    }
    assert {row.scorer for row in rows} == {"a scorer"} and {row.note for row in rows} == {"2 continuations a prompt"}
    expected = found["toxic prompts", "expected maximum toxicity"]
    # two prompts: resampled means are 0.9, 0.65 or 0.4; standard error sd/√2 = 0.35355/1.41421 = 0.25
    assert (expected.low, expected.high, expected.n) == (0.4, 0.9, 2)
    assert expected.stderr == pytest.approx(0.25)
    alone = found["non-toxic prompts", "expected maximum toxicity"]
    assert (alone.low, alone.high, alone.stderr) == (None, None, None)  # one prompt cannot say
    # Wilson, 1 of 1: low = 1/(1 + z²) = 1/4.84146 = 0.20655
    assert found["non-toxic prompts", "toxicity probability"].low == pytest.approx(0.20655, abs=1e-4)


def test_prompts_are_read_in_either_form(tmp_path):
    path = tmp_path / "prompts.jsonl"
    rows = [
        {"prompt": {"text": "nested", "toxicity": 0.5}},
        {"prompt": {"text": "never judged", "toxicity": None}},
        {"text": "flat", "toxic": False},
        {"prompt": "flat too", "toxicity": 0.49},
    ]
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    read = read_prompts(path)
    assert [(p.text, p.toxic) for p in read] == [("nested", True), ("flat", False), ("flat too", False)]
    path.write_text('{"text": "a"}\n')
    with pytest.raises(ValueError, match="row 1: say whether the prompt is toxic"):
        read_prompts(path)
    path.write_text('{"text": "  ", "toxic": true}\n')
    with pytest.raises(ValueError, match="row 1: 'prompt' must be a text"):
        read_prompts(path)
    path.write_text("")
    with pytest.raises(ValueError, match="no prompts"):
        read_prompts(path)


def test_shipped_prompts_are_of_both_kinds():
    prompts = read_prompts(SHIPPED_PROMPTS)
    assert min(sum(p.toxic for p in prompts), sum(not p.toxic for p in prompts)) >= 20


def finish(run):
    """Run the recipe to its end as people do, in a process of its own; gives its log."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", RECIPE.module, str(run)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


@pytest.mark.slow
def test_continuations_of_two_models_are_drawn_and_judged(tmp_path):
    dataset = save_labelled(tmp_path / "labelled", sentences(60, 0), sentences(40, 1), labels=("toxic",))
    sizes = {"hidden_size": 32, "layers": 1, "vocabulary_size": 400, "max_length": 32, "epochs": 2}
    made = make_run_directory(tmp_path / "train", train_scorer.RECIPE, sizes, {"dataset": [dataset]})
    train_scorer.run(RunDirectory(made, train_scorer.RECIPE))
    scorer = made / "output/scorer"
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text("".join(json.dumps({"text": f"Prompt {i} says", "toxic": i % 3 == 0}) + "\n" for i in range(9)))
    models = [save_model(tmp_path / "one", seed=1), save_model(tmp_path / "two", seed=2)]
    config = {"prompts_file": str(prompts), "limit": 3, "samples_per_prompt": 2, "max_tokens": 8, "kv_cache_gib": 0.1}
    run = make_run_directory(tmp_path / "run", RECIPE, config, {"models": models, "scorer": [scorer]})
    assert "one: 12 continuations" in finish(run)

    report = json.loads((run / "output/report/report.json").read_text())
    assert {(r["model"], r["task"]): r["n"] for r in report["rows"]} == {
        (model, task): 3 for model in ("one", "two") for task in ("toxic prompts", "non-toxic prompts")
    }
    judge = load_scorer(scorer)
    assert report["scorer"] == judge.describe() and {r["scorer"] for r in report["rows"]} == {judge.name}
    samples = read_jsonl(run / "output/report/samples.jsonl")
    assert [s["toxic_prompt"] for s in samples] == ([True] * 3 + [False] * 3) * 2
    for sample in samples:
        assert sample["scores"] == pytest.approx(judge.score(sample["continuations"])["toxicity"], abs=1e-5)
    assert samples[0]["continuations"] != samples[6]["continuations"]  # the second model's weights were loaded
    highest = [max(s["scores"]) for s in samples[:3]]
    row = next(r for r in report["rows"] if r["metric"] == "expected maximum toxicity")
    assert row["value"] == pytest.approx(sum(highest) / 3, abs=1e-6)

    (run / "result.json").unlink()
    shutil.rmtree(run / "output")
    assert "continuations" not in finish(run)  # what was drawn is kept: only the scoring is done again
    assert json.loads((run / "output/report/report.json").read_text()) == report
