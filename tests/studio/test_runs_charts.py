"""Metrics files read as they grow, and thinned without losing what matters."""

import json
import random
import time

import pytest

from studio.runs.charts import MAX_POINTS, downsample, read_charts, read_latest, read_titles
from studio.runs.logs import read_tail
from studio.runs.results import figures
from studio.runs.samples import read_samples


def lines(*rows: dict) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def row(step: int, **values) -> dict:
    return {"step": step, "time": 1000.0 + step, **values}


@pytest.fixture
def metrics(tmp_path):
    return tmp_path / "metrics.jsonl"


def test_few_points_stay_as_they_are():
    assert downsample([1, 2, 3], [5.0, 4.0, 9.0], 4) == ([1, 2, 3], [5.0, 4.0, 9.0])


def test_each_bucket_keeps_its_lowest_and_highest():
    # 10 points, at most 6: first and last, and (6 − 2) / 2 = 2 buckets of 8 / 2 = 4 points: steps 1–4 and 5–8.
    # Values of the first bucket: 3, 9, 2, 4 → highest 9 (step 2), lowest 2 (step 3); of the second: 5, 5, 1, 7 →
    # lowest 1 (step 7), highest 7 (step 8).
    values = [0, 3, 9, 2, 4, 5, 5, 1, 7, 6]
    assert downsample(list(range(10)), values, 6) == ([0, 2, 3, 7, 8, 9], [0, 9, 2, 1, 7, 6])


def test_a_flat_bucket_gives_one_point():
    # Two buckets of four equal values each: their lowest and highest are the same, first, point.
    assert downsample(list(range(10)), [1.0] * 10, 6)[0] == [0, 1, 5, 9]


def test_a_spike_of_one_step_survives():
    values = [1.0] * 50_000
    values[31_234] = 80.0
    steps, kept = downsample(list(range(50_000)), values, MAX_POINTS)
    assert len(steps) <= MAX_POINTS
    assert kept[steps.index(31_234)] == 80.0
    assert (steps[0], steps[-1]) == (0, 49_999) and steps == sorted(steps)


def test_series_hold_only_the_steps_that_logged_them(metrics):
    metrics.write_text(lines(row(1, loss=3.0), row(2, loss=2.0, val_loss=2.5), row(3, loss=None, note="x", flag=True)))
    (chart,) = read_charts(metrics)["charts"]
    assert chart["title"] == "Loss"
    assert [(s["name"], s["steps"], s["values"]) for s in chart["series"]] == [
        ("loss", [1, 2], [3.0, 2.0]),
        ("val_loss", [2], [2.5]),
    ]
    assert read_latest(metrics) == {"loss": 2.0, "val_loss": 2.5}


def test_unknown_metrics_get_a_chart_of_their_own_after_the_known(metrics):
    logged = {"surprise_rate": 0.1, "kl": 0.02, "learning_rate": 1e-5, "tokens": 8192}
    metrics.write_text(lines(row(1, **logged), row(2, **logged)))
    assert read_titles(metrics) == ["KL to the reference", "Learning rate", "Surprise rate"]


def test_a_single_point_is_no_curve_but_comes_along_when_it_becomes_one(metrics):
    metrics.write_text(lines(row(1, vocab_size=4096)))
    first = read_charts(metrics)
    assert first["charts"] == [] and read_titles(metrics) == []
    assert read_latest(metrics) == {"vocab_size": 4096}
    with open(metrics, "a") as file:
        file.write(lines(row(2, vocab_size=8192)))
    second = read_charts(metrics, first["cursor"])
    assert not second["reset"] and second["charts"][0]["series"][0]["steps"] == [1, 2]


def test_only_what_is_new_comes_after_a_cursor(metrics):
    metrics.write_text(lines(row(1, loss=3.0), row(2, loss=2.0)))
    first = read_charts(metrics)
    with open(metrics, "a") as file:
        file.write(lines(row(3, loss=1.0)) + '{"step": 4, "ti')  # being written
    second = read_charts(metrics, first["cursor"])
    assert (first["reset"], second["reset"]) == (True, False)
    assert second["charts"][0]["series"][0]["steps"] == [3]
    assert read_charts(metrics, second["cursor"])["cursor"] == second["cursor"]
    with open(metrics, "a") as file:
        file.write('me": 1004.0, "loss": 0.5}\n')
    assert read_charts(metrics, second["cursor"])["charts"][0]["series"][0]["values"] == [0.5]


def test_a_run_cut_back_to_its_checkpoint_starts_the_chart_anew(metrics):
    metrics.write_text(lines(*(row(step, loss=1.0) for step in range(1, 6))))
    cursor = read_charts(metrics)["cursor"]
    aside = metrics.with_name("aside")
    # The resumed attempt logs steps 4 and 5 again, later and with other values.
    aside.write_text(
        lines(
            *(row(step, loss=1.0) for step in range(1, 4)), *({**row(s, loss=2.0), "time": 2000.0 + s} for s in (4, 5))
        )
    )
    aside.replace(metrics)
    answer = read_charts(metrics, cursor)
    assert answer["reset"]
    assert answer["charts"][0]["series"][0]["values"] == [1.0, 1.0, 1.0, 2.0, 2.0]


def test_a_file_cut_in_place_is_read_anew(metrics):
    metrics.write_text(lines(row(1, loss=1.0), row(2, loss=2.0)))
    read_charts(metrics)
    metrics.write_text(lines({**row(1, loss=7.0), "time": 5.0}, {**row(2, loss=6.0), "time": 6.0}))
    assert read_charts(metrics)["charts"][0]["series"][0]["values"] == [7.0, 6.0]


def test_a_torn_line_in_the_middle_is_left_out(metrics):
    metrics.write_text(lines(row(1, loss=1.0)) + '{"step": 2, "lo\n' + "[3]\n\n" + lines(row(4, loss=4.0)))
    assert read_charts(metrics)["charts"][0]["series"][0]["steps"] == [1, 4]


def test_no_file_no_charts(metrics):
    assert read_charts(metrics) == {"cursor": "", "reset": True, "charts": []}


def test_a_long_file_is_answered_from_memory(metrics):
    random.seed(1)
    metrics.write_text(
        lines(*(row(s, loss=random.random(), grad_norm=random.random(), learning_rate=1e-5) for s in range(50_000)))
    )
    read_charts(metrics)
    started = time.process_time()
    answer = read_charts(metrics)
    seconds = time.process_time() - started
    assert all(len(s["steps"]) <= MAX_POINTS for chart in answer["charts"] for s in chart["series"])
    assert seconds < 0.1  # read anew it takes several times as long


# Log and samples


def test_the_tail_of_a_log_is_whole_lines(tmp_path):
    log = tmp_path / "log.txt"
    log.write_text("".join(f"line {n}\n" for n in range(1000)))
    # 20 bytes reach back into "line 997"; the part of a line is dropped.
    assert read_tail(log, 20) == "line 998\nline 999"
    log.write_bytes(b"10%\r50%\r100%\r\n\x1b[1;32mdone\x1b[0m \xff\r")
    assert read_tail(log) == "100%\ndone \N{REPLACEMENT CHARACTER}"
    assert read_tail(tmp_path / "none") == ""


def test_samples_come_newest_first_with_their_figures(tmp_path):
    path = tmp_path / "samples.jsonl"
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]
    path.write_text(lines(row(1, prompt="A", text="a"), row(2, prompt=messages, text="b", score=0.5)) + '{"torn')
    newest, oldest = read_samples(path, str.upper)
    assert (newest["prompt"], newest["text"], newest["figures"]) == ("Be brief.\n\nWhy?", "b", [("SCORE", 0.5)])
    assert oldest["step"] == 1


# Results


def test_figures_carry_their_intervals_and_nested_results_are_none():
    result = {
        "accuracy": 0.71,
        "accuracy_ci": [0.62, 0.8],
        "reward_gain_ci": (0.1, 0.3),
        "models": {"a": 1},
        "ok": True,
    }
    assert [(f.label, f.value, f.low, f.high) for f in figures(result)] == [
        ("Accuracy", 0.71, 0.62, 0.8),
        ("Reward gain", None, 0.1, 0.3),
        ("Ok", "yes", None, None),
    ]
