"""Training a scorer and loading it: Detoxify's own class, offline, and nothing that a crafted file could run."""

import json
import pickle
import random

import pytest
import torch
from detoxify import Detoxify

from studio.runs.directory import RunDirectory, Stopped, make_run_directory
from tests.training.tiny import save_model
from training.recipes.train_scorer import RECIPE, load_labelled, run, warmup_and_decay
from training.scorers import load_scorer

RUDE = ["idiot", "moron", "rubbish", "pathetic", "worthless"]
KIND = ["friend", "genius", "lovely", "helpful", "careful"]


def sentences(count, seed):
    """Texts that are toxic exactly when they hold one of the rude words; `insult` follows the first two."""
    rng = random.Random(seed)
    rows = []
    for _ in range(count):
        word = rng.choice(RUDE + KIND)
        filler = " ".join(rng.choice(["you", "are", "a", "the", "code", "is", "so", "what"]) for _ in range(5))
        rows.append({"text": f"{filler} {word} {filler}", "toxic": int(word in RUDE), "insult": int(word in RUDE[:2])})
    return rows


def save_labelled(path, train, test=None, labels=("toxic", "insult")):
    path.mkdir()
    for name, rows in (("train", train), ("test", test)):
        if rows is not None:
            (path / f"{name}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    (path / "dataset.json").write_text(json.dumps({"type": "labelled", "labels": list(labels)}))
    return path


def make(tmp_path, dataset, name="run", **config) -> RunDirectory:
    values = {"hidden_size": 32, "layers": 1, "vocabulary_size": 400, "max_length": 32, "epochs": 5, **config}
    info = {"dataset": [{"id": 5, "name": "Rude words", "kind": "dataset", "metadata": {}}]}
    return RunDirectory(make_run_directory(tmp_path / name, RECIPE, values, {"dataset": [dataset]}, info), RECIPE)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    path = tmp_path_factory.mktemp("scorer")
    dataset = save_labelled(path / "labelled", sentences(300, 0), sentences(100, 1))
    directory = make(path, dataset, epochs=10, learning_rate=3e-3)
    run(directory)
    return directory.path / "output" / "scorer"


def test_learns_what_can_be_learnt_and_says_how_well(trained):
    card = json.loads((trained / "scorer.json").read_text())
    assert card["labels"] == ["toxicity", "insult"]  # Detoxify's name for "toxic"
    assert card["auroc"]["toxicity"]["value"] > 0.95
    assert card["auroc"]["toxicity"]["low"] < card["auroc"]["toxicity"]["value"] <= card["auroc"]["toxicity"]["high"]
    assert card["auroc"]["toxicity"]["n"] == 100
    description = load_scorer(trained).describe()
    assert description["trained_on"]["dataset"] == "Rude words" and description["trained_on"]["texts"] == 300
    assert len(description["sha256"]) == 64 and description["auroc"] == card["auroc"]


def test_scores_are_detoxifys_own(trained, tmp_path):
    texts = ["you are a moron", "lovely code", "", "what an idiot is the code, so pathetic", "the friend"]
    ours = load_scorer(trained).score(texts)
    # Detoxify by hand, one text at a time, its hub name rewritten to the directory
    checkpoint = torch.load(trained / "scorer.ckpt", weights_only=True)
    checkpoint["config"]["arch"]["args"]["model_type"] = str(trained / "encoder")
    torch.save(checkpoint, tmp_path / "by_hand.ckpt")
    detoxify = Detoxify(checkpoint=str(tmp_path / "by_hand.ckpt"))
    for label in ("toxicity", "insult"):
        assert ours[label] == pytest.approx([detoxify.predict(text)[label] for text in texts], abs=1e-5)


def test_long_texts_are_cut_and_many_are_batched(trained):
    scorer = load_scorer(trained)
    texts = [f"you moron {i} " + "so " * (i % 90) for i in range(150)]
    together = scorer.score(texts)["toxicity"]
    assert len(together) == 150
    assert together[149] == pytest.approx(scorer.score([texts[149]])["toxicity"][0], abs=1e-5)


def test_a_checkpoint_that_would_run_code_is_refused(trained, tmp_path):
    class Payload:
        def __reduce__(self):
            return (open, (str(tmp_path / "owned"), "w"))

    (tmp_path / "encoder").symlink_to(trained / "encoder")
    crafted = tmp_path / "scorer.ckpt"
    crafted.write_bytes(pickle.dumps(Payload()))
    with pytest.raises(ValueError, match="not a Detoxify checkpoint"):
        load_scorer(tmp_path)
    torch.save({"config": Payload(), "state_dict": {}}, crafted)
    with pytest.raises(ValueError, match="not a Detoxify checkpoint"):
        load_scorer(crafted)
    assert not (tmp_path / "owned").exists()
    checkpoint = torch.load(trained / "scorer.ckpt", weights_only=True)
    checkpoint["config"]["arch"]["args"]["model_name"] = "pipeline"
    torch.save(checkpoint, crafted)
    with pytest.raises(ValueError, match="names pipeline"):
        load_scorer(crafted)


def test_missing_scorers_are_explained(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="No toxicity scorer at .*original, unbiased"):
        load_scorer(tmp_path / "nothing")

    def unreachable(*_, **__):  # torch.hub's download is the only part that needs the network
        raise OSError("Network is unreachable")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", unreachable)
    with pytest.raises(ValueError, match="'original' could not be downloaded .*Train a scorer from labelled data"):
        load_scorer("original")


def test_a_stopped_run_resumes_with_the_same_losses(tmp_path):
    dataset = save_labelled(tmp_path / "labelled", sentences(80, 0), sentences(40, 1))
    settings = {"batch_size": 4}  # 20 steps an epoch: rows at 10, 20, …
    whole = make(tmp_path, dataset, "whole", **settings)
    run(whole)
    stopped = make(tmp_path, dataset, "stopped", **settings)
    stopped.stop_requested = True
    with pytest.raises(Stopped, match="after epoch 1 of 5"):
        run(stopped)
    run(RunDirectory(stopped.path, RECIPE))
    losses = [[(row["step"], row["loss"]) for row in d.metrics()] for d in (whole, stopped)]
    assert losses[0] == losses[1] and len(losses[0]) == 10


def test_starts_from_a_given_model(tmp_path):
    dataset = save_labelled(tmp_path / "labelled", sentences(40, 0), sentences(40, 1))
    model = save_model(tmp_path / "model")
    values = {"epochs": 1, "max_length": 64, "learning_rate": 1e-4}
    made = make_run_directory(tmp_path / "run", RECIPE, values, {"dataset": [dataset], "model": [model]})
    run(RunDirectory(made, RECIPE))
    scorer = load_scorer(tmp_path / "run/output/scorer")
    assert type(scorer._detoxify.model).__name__ == "LlamaForSequenceClassification"
    together = scorer.score(["you", "are a moron and so is the code"])["toxicity"]
    assert together[0] == pytest.approx(scorer.score(["you"])["toxicity"][0], abs=1e-5)  # padding changes nothing


def test_split_keeps_equal_texts_together(tmp_path):
    rows = sentences(400, 2)
    labels, train, test = load_labelled(save_labelled(tmp_path / "labelled", rows + rows), 0.25, seed=1)
    assert not {r["text"] for r in train} & {r["text"] for r in test}
    assert len(train) + len(test) == 800
    # 400 draws at 0.25: sd = √(.25·.75/400) = 0.022
    assert len(test) / 800 == pytest.approx(0.25, abs=0.07)


def test_bad_datasets_say_what_to_do(tmp_path):
    good = sentences(50, 0)
    cases = {
        "a": ([{**good[0], "toxic": 2}, *good], "row 1: 'toxic' must be 0 or 1, not 2"),
        "b": ([*good, {"text": " ", "toxic": 0, "insult": 0}], "row 51: 'text' must be"),
        "c": ([{**row, "insult": 0} for row in good], "training texts need at least one with and one without 'insult'"),
    }
    for name, (rows, message) in cases.items():
        with pytest.raises(ValueError, match=message):
            load_labelled(save_labelled(tmp_path / name, rows), 0.2, 0)
    (tmp_path / "a" / "dataset.json").write_text("{}")
    with pytest.raises(ValueError, match="not a labelled dataset"):
        load_labelled(tmp_path / "a", 0.2, 0)


def test_schedule():
    # 20 steps: warm-up over 2 (1/2, 1), then (20 − step)/18 down to 1/18 at the last step
    assert [warmup_and_decay(s, 20) for s in (0, 1, 2, 19)] == pytest.approx([0.5, 1.0, 1.0, 1 / 18])
