"""The sample recipe with real vLLM engines on models of 2 layers, against greedy decoding by transformers."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from studio.runs.contract import ConfigError, parse_config
from studio.runs.directory import make_run_directory, read_jsonl
from studio.runs.model_directory import check_servable, head_size
from training.recipes.sample import RECIPE, Batch, SampleConfig, load_prompts, plan_batches, request_seed

PROMPTS = [
    {"prompt": [{"role": "user", "content": text}], "prompt_id": f"p{i}", "cluster": "lists" if i % 2 else "dicts"}
    for i, text in enumerate(["How do I sort a list?", "What is a dict?", "len of a str", "Why None?", "for i in x"])
]
GREEDY_TOKENS = 24
CONFIG = {
    "temperatures": [0.0, 1.0],
    "completions_per_prompt": 2,
    "max_tokens": GREEDY_TOKENS,
    "seed": 7,
    "dtype": "float32",
    "kv_cache_gib": 0.1,
    "max_prompts": 4,
}


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, Path]:
    """Two GPT-NeoX that differ in weights, chat template and end token, and a Llama."""
    import torch
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, LlamaConfig, LlamaForCausalLM

    from training.recipes.tokenizer import TokenizerConfig, train_tokenizer

    tokenizer = train_tokenizer(
        iter(["sort a list with sorted", "a dict maps keys to values"] * 3), TokenizerConfig(vocab_size=300)
    )
    root = tmp_path_factory.mktemp("models")
    size = {"vocab_size": 300, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    size |= {"intermediate_size": 128, "max_position_embeddings": 128, "initializer_range": 0.2}
    size |= {"bos_token_id": 0, "eos_token_id": 0}
    paths = {}
    for name, seed in (("neox_a", 0), ("neox_b", 1), ("llama", 2)):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(LlamaConfig(**size)) if name == "llama" else GPTNeoXForCausalLM(GPTNeoXConfig(**size))
        model.save_pretrained(root / name)
        tokenizer.save_pretrained(root / name)
        paths[name] = root / name
    (paths["neox_b"] / "chat_template.jinja").unlink(missing_ok=True)  # a base model: gets the bare text
    return paths


@pytest.fixture(scope="module")
def prompt_set(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("prompts")
    (path / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in PROMPTS))
    (path / "dataset.json").write_text(json.dumps({"type": "prompts", "counts": {"train": 0, "test": len(PROMPTS)}}))
    return path


@pytest.fixture(scope="module")
def greedy(models) -> dict[tuple[str, str], list[int]]:
    """What transformers' own greedy decoding gives, by (model, prompt): no vLLM code is involved."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    expected = {}
    for name, path in models.items():
        model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
        tokenizer = AutoTokenizer.from_pretrained(path)
        for row in PROMPTS[:4]:
            text = row["prompt"][0]["content"]
            if name != "neox_b":
                text = f"<|im_start|>user\n{text}<|endoftext|>\n<|im_start|>assistant\n"
            ids = tokenizer(text, return_tensors="pt").input_ids
            generated = model.generate(ids, max_new_tokens=GREEDY_TOKENS, do_sample=False, eos_token_id=None)
            expected[name, row["prompt_id"]] = generated[0, ids.shape[1] :].tolist()
    return expected


@pytest.fixture(scope="module")
def end_token(models, greedy) -> int:
    """Make the token that neox_b greedily writes sixth to p0 its end token, in generation_config.json alone."""
    token = greedy["neox_b", "p0"][5]
    path = models["neox_b"] / "generation_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "eos_token_id": [0, token]}))
    return token


def start(path: Path, inputs: dict, config: dict = CONFIG) -> subprocess.Popen:
    info = [
        {"id": i + 1, "name": Path(p).name, "kind": "model", "metadata": {}} for i, p in enumerate(inputs["models"])
    ]
    make_run_directory(path, RECIPE, config, inputs, {"models": info})
    return launch(path)


def launch(path: Path) -> subprocess.Popen:
    log = open(path / "log.txt", "a")  # noqa: SIM115 (the process keeps it)
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    return subprocess.Popen(
        [sys.executable, "-m", RECIPE.module, str(path)],
        stdout=log,
        stderr=log,
        env=environment,
        cwd=Path(__file__).parents[2],
    )


def completions(path: Path) -> list[dict]:
    assert (path / "result.json").exists(), (path / "log.txt").read_text()[-3000:]
    return read_jsonl(path / "output" / "completions" / "completions.jsonl")


@pytest.fixture(scope="module")
def whole(models, prompt_set, end_token, tmp_path_factory) -> Path:
    """All three models in one run. The order given separates the two that share an engine."""
    path = tmp_path_factory.mktemp("whole")
    order = [models["neox_a"], models["llama"], models["neox_b"]]
    assert start(path, {"prompts": [prompt_set], "models": order}).wait(timeout=300) == 0, (
        path / "log.txt"
    ).read_text()
    return path


@pytest.mark.slow
def test_greedy_completions_equal_those_of_transformers_for_every_model(whole, greedy, end_token, models):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(models["llama"])
    rows = [row for row in completions(whole) if row["temperature"] == 0]
    assert len(rows) == 3 * 4  # models × prompts; at temperature 0 one of the two equal completions
    for row in rows:
        expected = greedy[row["model"]["name"], row["prompt_id"]]
        ends = {0, 3} if row["model"]["name"] != "neox_b" else {0, end_token}  # 3: <|im_end|> of the chat template
        cut = next((i for i, token in enumerate(expected) if token in ends), None)
        assert row["finish_reason"] == ("length" if cut is None else "stop")
        assert row["tokens"] == (GREEDY_TOKENS if cut is None else cut + 1)
        assert row["completion"] == tokenizer.decode(expected[:cut], skip_special_tokens=True)


@pytest.mark.slow
def test_end_token_of_generation_config_stops_one_model_only(whole):
    stopped = [r for r in completions(whole) if r["prompt_id"] == "p0" and r["temperature"] == 0]
    assert {r["model"]["name"]: r["finish_reason"] for r in stopped}["neox_b"] == "stop"


@pytest.mark.slow
def test_models_of_one_architecture_share_an_engine(whole):
    assert (whole / "log.txt").read_text().count("vLLM started in") == 2  # two GPT-NeoX in one, the Llama in another


@pytest.mark.slow
def test_every_parameter_is_recorded(whole, models):
    rows = completions(whole)
    assert len(rows) == 3 * 4 * (1 + 2)  # models × prompts × (one greedy, two at temperature 1)
    assert [r["model"] for r in rows[::12]] == [
        {"id": 1, "name": "neox_a"},
        {"id": 2, "name": "llama"},
        {"id": 3, "name": "neox_b"},
    ]
    keys = {(r["model"]["id"], r["prompt_id"], r["temperature"], r["sample"]) for r in rows}
    assert len(keys) == len(rows)
    for row in rows:
        assert row["seed"] == request_seed(7, row["prompt_id"], row["temperature"], row["sample"])
        assert (row["top_p"], row["max_tokens"], row["dtype"]) == (1.0, GREEDY_TOKENS, "float32")
    result = json.loads((whole / "result.json").read_text())
    for by_model in result["metrics"]["models"]:
        own = [r for r in rows if r["model"]["id"] == by_model["id"]]
        assert by_model["completions"] == len(own) == 12
        assert by_model["length"] == round(sum(r["tokens"] for r in own) / 12, 2)
        assert by_model["finished_rate"] == round(sum(r["finish_reason"] == "stop" for r in own) / 12, 4)


@pytest.mark.slow
def test_reloaded_weights_draw_what_a_fresh_engine_draws(whole, models, prompt_set, end_token, tmp_path):
    """The same seed gives the same text, whether the weights were replaced in a live engine or loaded at its start."""
    assert start(tmp_path, {"prompts": [prompt_set], "models": [models["neox_b"]]}).wait(timeout=300) == 0
    fresh = [{**row, "model": row["model"]["name"]} for row in completions(tmp_path)]
    shared = [{**row, "model": row["model"]["name"]} for row in completions(whole) if row["model"]["name"] == "neox_b"]
    assert fresh == shared
    sampled = [row["completion"] for row in fresh if row["temperature"]]
    assert len(set(sampled)) > 4  # two of each prompt differ: the seeds do


@pytest.mark.slow
def test_a_stopped_run_keeps_its_batches_and_ends_with_the_same_completions(whole, tmp_path):
    shutil.copy(whole / "config.json", tmp_path / "config.json")
    process = launch(tmp_path)
    kept = tmp_path / "checkpoints" / "step-00000004"
    while not kept.exists():  # the four batches of the first engine; the second one takes seconds to start
        assert process.poll() is None, (tmp_path / "log.txt").read_text()
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=120) == 0
    assert not (tmp_path / "result.json").exists()
    assert "24 of 36 completions are kept" in (tmp_path / "log.txt").read_text()
    before = (kept / "completions.jsonl").stat().st_mtime_ns
    assert launch(tmp_path).wait(timeout=300) == 0
    assert (kept / "completions.jsonl").stat().st_mtime_ns == before
    assert completions(tmp_path) == completions(whole)
    assert [row["step"] for row in read_jsonl(tmp_path / "metrics.jsonl")] == [1, 2, 3, 4, 5, 6]


def fail(path: Path, models: list, prompts: Path, **config) -> str:
    """The sentence shown to the user."""
    process = start(path, {"prompts": [prompts], "models": models}, {**CONFIG, **config})
    assert process.wait(timeout=120) == 1
    error = json.loads((path / "error.json").read_text())
    assert error["user_error"], error
    return error["message"]


@pytest.mark.slow
def test_bad_inputs_are_explained(models, prompt_set, tmp_path):
    llama = models["llama"]
    assert "no prompts in 'train' (it has 5 in test)" in fail(tmp_path / "1", [llama], prompt_set, split="train")
    too_long = fail(tmp_path / "2", [llama], prompt_set, max_tokens=100)
    assert "prompts are too long for llama: it takes 128 tokens" in too_long
    (tmp_path / "none").mkdir()
    assert "has no config.json" in fail(tmp_path / "3", [tmp_path / "none"], prompt_set)


def model_directory(path: Path, **config) -> Path:
    path.mkdir()
    (path / "config.json").write_text(json.dumps({"model_type": "llama", **config}))
    (path / "model.safetensors").touch()
    (path / "tokenizer.json").touch()
    return path


def test_head_sizes_that_vllm_cannot_serve_are_refused(tmp_path):
    # 4 heads in 96 are 24 wide each: not among the sizes of the CPU kernels; 128 / 4 = 32 is
    odd = model_directory(tmp_path / "odd", hidden_size=96, num_attention_heads=4)
    with pytest.raises(ValueError, match="attention heads of size 24"):
        check_servable(odd, "odd")
    check_servable(model_directory(tmp_path / "even", hidden_size=128, num_attention_heads=4))
    assert head_size({"hidden_size": 96, "num_attention_heads": 4, "head_dim": 64}) == 64


def test_directories_that_are_no_models_are_refused(tmp_path):
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text("{}")
    with pytest.raises(ValueError, match="only a LoRA adapter"):
        check_servable(tmp_path / "adapter")
    with pytest.raises(ValueError, match="there is no such directory"):
        check_servable(tmp_path / "missing")
    reward = model_directory(tmp_path / "reward", architectures=["LlamaForSequenceClassification"])
    with pytest.raises(ValueError, match="is a reward model"):
        check_servable(reward)
    (model_directory(tmp_path / "bare") / "model.safetensors").unlink()
    with pytest.raises(ValueError, match="has no weights"):
        check_servable(tmp_path / "bare")


def test_batches_cover_every_completion_once_in_a_fixed_order():
    config = SampleConfig(temperatures=(0.0, 0.7), completions_per_prompt=3)
    groups = plan_batches([[0, 2], [1]], 100, config)
    batches = [batch for group in groups for batch in group]
    # a model has 100 at temperature 0 and 300 at 0.7, the latter in two batches: 256 + 44
    assert [len(b.samples) for b in batches] == [100, 256, 44] * 3
    assert [b.model for b in batches] == [0, 0, 0, 2, 2, 2, 1, 1, 1]
    assert batches[1].samples + batches[2].samples == [(p, s) for p in range(100) for s in range(3)]
    assert batches[0] == Batch(0, 0.0, [(p, 0) for p in range(100)])


def test_bad_temperatures_are_refused():
    for temperatures, sentence in (([], "at least one"), ([1, 1], "each may stand there once"), ([-1], "at least 0")):
        with pytest.raises(ConfigError, match=sentence):
            parse_config(SampleConfig, {"temperatures": temperatures})


def test_a_limit_draws_from_the_whole_set_with_the_seed(tmp_path):
    rows = [{"prompt": [{"role": "user", "content": f"Question {i}"}], "prompt_id": i} for i in range(100)]
    (tmp_path / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    drawn = {
        seed: [r["prompt_id"] for r in load_prompts(tmp_path, SampleConfig(max_prompts=20, seed=seed))]
        for seed in (0, 1)
    }
    assert len(drawn[0]) == len(set(drawn[0])) == 20
    assert drawn[0] == sorted(drawn[0]) and max(drawn[0]) > 50  # in the set's order, not only its beginning
    assert drawn[0] != drawn[1]
    assert drawn[0] == [r["prompt_id"] for r in load_prompts(tmp_path, SampleConfig(max_prompts=20, seed=0))]
