"""The evaluate recipe with the real lm-eval on tiny models and local tasks."""

import json
import math
import os
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from evaluation.harness.heldout import heldout_rows, ratio_stderr
from evaluation.harness.report import Row, distinct_names
from evaluation.harness.tasks import DEMO_TASKS, SHIPPED_TASKS, local_task, task_manager
from evaluation.recipes.evaluate import RECIPE, metric_interval, run
from studio.runs.directory import RunDirectory, Stopped, make_run_directory, read_jsonl
from tests.training.tiny import save_model

PUBLIC_DATA = Path(os.environ.get("STUDIO_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")
TASK = """
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: questions.jsonl}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: "{{{{gold}}}}"
metric_list: [{{metric: acc, aggregation: mean, higher_is_better: true}}]
"""
QUESTIONS = [
    {"question": f"Question {i}: which letter?", "choices": ["a", "bc", "def"], "gold": i % 3} for i in range(7)
]


@pytest.fixture
def tasks(tmp_path) -> Path:
    directory = tmp_path / "tasks"
    directory.mkdir()
    (directory / "letters.yaml").write_text(TASK.format(name="letters"))
    (directory / "letters_again.yaml").write_text(TASK.format(name="letters_again"))
    (directory / "questions.jsonl").write_text("".join(json.dumps(q) + "\n" for q in QUESTIONS))
    return directory


@pytest.fixture
def corpus(tmp_path) -> Path:
    directory = tmp_path / "corpus"
    directory.mkdir()
    texts = ["A list keeps its order.", "x" * 700, "Short"]
    rows = [{"id": str(i), "text": t, "source": "test", "licence": "CC0"} for i, t in enumerate(texts)]
    (directory / "heldout.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    return directory


def make(tmp_path, task_directory, models, corpus=None, name="run", **config) -> RunDirectory:
    values = {
        "tasks": ["letters"],
        "task_directory": str(task_directory),
        "dtype": "float32",
        "batch_size": 4,
        **config,
    }
    inputs = {"models": models, **({"corpus": [corpus]} if corpus else {})}
    return RunDirectory(make_run_directory(tmp_path / name, RECIPE, values, inputs), RECIPE)


def report(directory) -> dict:
    return json.loads((directory.path / "output/report/report.json").read_text())


def test_tasks_and_heldout_text_agree_with_transformers(tmp_path, tasks, corpus):
    models = [save_model(tmp_path / "neox", "gpt_neox"), save_model(tmp_path / "llama", "llama", seed=1)]
    directory = make(tmp_path, tasks, models, corpus)
    run(directory)
    rows = {(r["model"], r["task"], r["metric"]): r for r in report(directory)["rows"]}
    assert len(rows) == 2 * (1 + 3)
    for path in models:
        network, tokenizer = AutoModelForCausalLM.from_pretrained(path), AutoTokenizer.from_pretrained(path)

        def logprobs(ids, network=network):  # log P of each token but the first
            with torch.no_grad():
                values = network(torch.tensor([ids])).logits[0, :-1].log_softmax(-1)
            return values.gather(1, torch.tensor(ids)[1:, None])[:, 0]

        def best(question, tokenizer=tokenizer, logprobs=logprobs):
            start = tokenizer(question["question"])["input_ids"]
            ends = [tokenizer(" " + choice)["input_ids"] for choice in question["choices"]]
            scores = [logprobs(start + end)[-len(end) :].sum().item() for end in ends]
            return scores.index(max(scores))

        accuracy = rows[path.name, "letters", "acc"]
        correct = sum(best(q) == q["gold"] for q in QUESTIONS)
        assert accuracy["value"] == pytest.approx(correct / 7) and accuracy["n"] == 7
        assert accuracy["low"] <= accuracy["value"] <= accuracy["high"]

        loss = tokens = 0
        for document in read_jsonl(corpus / "heldout.jsonl"):
            ids = tokenizer(document["text"])["input_ids"]
            # Windows of 256 predicted tokens, each after the last token of the one before, the first after EOS
            for start in range(0, len(ids), 256):
                window = ids[start : start + 256]
                before = [ids[start - 1] if start else tokenizer.eos_token_id]
                if start and len(window) < 256:  # lm-eval fills the last window up with context
                    before = ids[len(ids) - 257 : start]
                loss -= logprobs(before + window)[-len(window) :].sum().item()
            tokens += len(ids)
        measured = rows[path.name, "held-out text", "loss"]
        assert measured["value"] == pytest.approx(loss / tokens, rel=1e-4)
        perplexity = rows[path.name, "held-out text", "perplexity"]
        assert perplexity["value"] == pytest.approx(math.exp(loss / tokens), rel=1e-3)
    samples = read_jsonl(directory.path / "output/report/samples.jsonl")
    assert sum(s["task"] == "letters" for s in samples) == 2 * 7
    assert {"doc", "target", "filtered_resps", "acc"} <= set(samples[-1])


def test_a_stopped_run_keeps_finished_tasks_and_resumes_to_the_same_report(tmp_path, tasks, corpus):
    model = save_model(tmp_path / "model", "gpt_neox")
    settings = {"models": [model], "corpus": corpus, "tasks": ["letters", "letters_again"]}
    whole = make(tmp_path, tasks, name="whole", **settings)
    run(whole)
    stopped = make(tmp_path, tasks, name="stopped", **settings)
    complete = stopped.complete_checkpoint

    def stop_after_two(step, keep=1):  # as SIGTERM in the middle of the second unit would
        complete(step, keep)
        stopped.stop_requested = step == 2

    stopped.complete_checkpoint = stop_after_two
    with pytest.raises(Stopped, match="2 of 3"):
        run(stopped)
    again = RunDirectory(stopped.path, RECIPE)
    run(again)
    assert report(again) == report(whole)
    assert [row["step"] for row in again.metrics()] == [1, 2, 3]


def test_bad_input_says_what_to_do(tmp_path, tasks):
    model = save_model(tmp_path / "model")
    with pytest.raises(ValueError, match="Unknown task 'leters': did you mean 'letters'"):
        run(make(tmp_path, tasks, [model], name="a", tasks=["leters"]))
    with pytest.raises(ValueError, match="Nothing to evaluate"):
        run(make(tmp_path, tasks, [model], name="b", tasks=[]))
    (tmp_path / "no_model").mkdir()
    with pytest.raises(ValueError, match="no_model is not a model directory"):
        run(make(tmp_path, tasks, [tmp_path / "no_model"], name="c"))
    with pytest.raises(ValueError, match="does not exist"):
        run(make(tmp_path, tmp_path / "nowhere", [model], name="d"))
    (tasks / "questions.jsonl").unlink()
    with pytest.raises(ValueError, match="needs questions.jsonl, which is not below .*set the data directory"):
        run(make(tmp_path, tasks, [model], name="e"))


def test_shipped_tasks_find_their_data():
    manager = task_manager([SHIPPED_TASKS, DEMO_TASKS])
    assert {"lambada_openai", "arc_easy", "arc_challenge", "piqa", "python_mc", "python_cloze"} <= set(
        manager.all_subtasks
    )
    files = local_task(manager, "python_mc", None)["dataset_kwargs"]["data_files"]
    assert Path(files["test"]).is_absolute() and Path(files["test"]).is_file()


def test_benchmarks_read_the_public_files(tmp_path):
    if not (PUBLIC_DATA / "llm_foundry").is_dir():
        pytest.skip("the public benchmark files are not on this machine (STUDIO_DATA or ../shared/data)")
    model = save_model(tmp_path / "model")
    names = ["lambada_openai", "arc_easy", "arc_challenge", "piqa"]
    directory = make(tmp_path, SHIPPED_TASKS, [model], tasks=names, data_directory=str(PUBLIC_DATA), limit=3)
    run(directory)
    found = {(r["task"], r["metric"]): r["n"] for r in report(directory)["rows"]}
    assert found == {
        ("lambada_openai", "acc"): 3,
        ("lambada_openai", "perplexity"): 3,
        **{(task, metric): 3 for task in names[1:] for metric in ("acc", "acc_norm")},
    }


def test_heldout_known_values():
    # Two documents: 6 nats over 2 tokens of 8 bytes, 6 nats over 4 tokens of 8 bytes.
    # loss = 12/6 = 2; perplexity = e² = 7.389; bits per byte = (12/ln 2)/16 = 1.08202
    rows = {r.metric: r for r in heldout_rows("m", [-6.0, -6.0], [2, 4], [8, 8])}
    assert rows["loss"].value == 2.0 and rows["loss"].n == 2
    assert rows["perplexity"].value == pytest.approx(7.38906, abs=1e-5)
    assert rows["bits_per_byte"].value == pytest.approx(1.08202, abs=1e-5)
    # delta method: residuals 6 − 2·2 = 2 and 6 − 2·4 = −2; √(2/1·(4 + 4))/6 = 4/6
    assert ratio_stderr([6.0, 6.0], [2, 4]) == pytest.approx(2 / 3)
    assert rows["perplexity"].stderr == pytest.approx(7.38906 * 2 / 3, abs=1e-4)
    # resamples give 6/2 = 3 (first twice), 6/4 = 1.5 (second twice) or 2
    assert (rows["loss"].low, rows["loss"].high) == (1.5, 3.0)


def test_metric_intervals():
    # 3 of 4 right: Wilson, as in annotation.statistics
    assert metric_interval("acc", 0.75, 0.25, [1, 1, 1, 0]) == pytest.approx((0.30064, 0.95441), abs=1e-4)
    # resampled means of two log-likelihoods lie within [−3, −2]: e² = 7.389 to e³ = 20.086 around e^2.5
    assert metric_interval("perplexity", 12.182, 5.0, [-3.0, -2.0]) == pytest.approx((7.389, 20.086), abs=1e-3)
    # a mean that is no proportion: 0.4 ± 1.95996·0.1
    assert metric_interval("f1", 0.4, 0.1, [0.3, 0.5]) == pytest.approx((0.204, 0.596), abs=1e-3)
    assert metric_interval("f1", 0.4, None, [0.3, 0.5]) == (None, None)


def test_models_of_one_name_are_told_apart():
    infos = [{"id": 3, "name": "sft"}, {"id": 7, "name": "sft"}, {"id": 9, "name": "ppo"}]
    assert [m["name"] for m in distinct_names(infos)] == ["sft #3", "sft #7", "ppo"]


def test_rows_leave_out_what_they_do_not_say():
    row = Row("m", "t", "acc", 0.5, 0.4, 0.6, 0.1, 10, True).as_json()
    assert set(row) == {"model", "task", "metric", "value", "low", "high", "stderr", "n", "higher_is_better"}
    assert Row("m", "t", "x", 0.0, None, None, None, 1, None, ideal=0.0).as_json()["ideal"] == 0.0
