"""Load, adapt, sample from and save causal language models: what SFT, the reward model and PPO share.

torch, transformers and peft are imported inside the functions: recipes' configs must be importable without them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from training.chat import prepare_tokenizer

OUTPUT_LAYERS = ("lm_head", "embed_out", "score")  # Llama's and GPT-NeoX's unembedding; the reward head


def check_model_directory(path: Path) -> None:
    if not (path / "config.json").is_file():
        raise ValueError(f"{path} is not a model directory: it has no config.json.")
    if not (path / "tokenizer_config.json").is_file() and not (path / "tokenizer.json").is_file():
        raise ValueError(f"{path} has no tokenizer: import the model together with its tokenizer.")


def load_causal_lm(path: Path, dtype: Any = "auto") -> tuple[Any, Any]:
    """(model, tokenizer) of a model directory, ready for dialogues (see `prepare_tokenizer`)."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    check_model_directory(path)
    try:
        tokenizer = AutoTokenizer.from_pretrained(path)
        model = AutoModelForCausalLM.from_pretrained(path, dtype=dtype)
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"The model in {path} cannot be loaded: {str(error).splitlines()[0]}") from error
    prepare_tokenizer(tokenizer, model)
    set_generation_defaults(model, tokenizer)
    return model, tokenizer


def set_generation_defaults(model: Any, tokenizer: Any) -> None:
    """Generation stops at EOS and pads with the pad token; nothing else (penalties, top-p) is inherited from the base
    model.
    """
    from transformers import GenerationConfig

    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )


def lora_config(
    model: Any, rank: int, alpha: float, dropout: float, task_type: str, train_head: bool = False, last_layers: int = 0
) -> Any:
    """LoRA on every linear layer but the output layer (Hu et al. 2021; all layers after Dettmers et al. 2023), or on
    those of the last `last_layers` transformer layers only."""
    from peft import LoraConfig

    count = model.config.num_hidden_layers

    return LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=dropout,
        target_modules=linear_layers(model),
        layers_to_transform=list(range(count - last_layers, count)) if 0 < last_layers < count else None,
        modules_to_save=["score"] if train_head else None,
        task_type=task_type,
    )


def linear_layers(model: Any) -> list[str]:
    """Last parts of the names of all linear layers inside the transformer."""
    import torch

    names = {name.split(".")[-1] for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)}
    return sorted(names - set(OUTPUT_LAYERS))


def device() -> Any:
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@contextmanager
def sampling_seed(seed: int) -> Iterator[None]:
    """Draw from a random stream of one's own, and leave the surrounding one as it was (a resume must find it so)."""
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def sample_answers(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[list[int]],
    *,
    max_new_tokens: int,
    temperature: float,
    seed: int,
    batch_size: int = 48,
) -> list[list[int]]:
    """One answer a prompt: token ids up to and with EOS, or `max_new_tokens` ids of an unfinished answer. Temperature
    0 is greedy.

    Prompts of like length share a batch, so little is padded; the same prompts and seed give every model the same
    noise.
    """
    import torch

    answers: list[list[int]] = [[] for _ in prompts]
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    was_training = model.training
    model.eval()
    how: dict[str, Any] = {"do_sample": False}
    if temperature:
        how = {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0}
    with sampling_seed(seed), torch.no_grad():
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            batch = tokenizer.pad({"input_ids": [prompts[i] for i in rows]}, padding_side="left", return_tensors="pt")
            batch = {name: tensor.to(model.device) for name, tensor in batch.items()}
            generated = model.generate(**batch, max_new_tokens=max_new_tokens, **how)
            for i, ids in zip(rows, generated[:, batch["input_ids"].shape[1] :].tolist(), strict=True):
                answers[i] = cut_at_eos(ids, tokenizer.eos_token_id)
    model.train(was_training)
    return answers


def answer_logprobs(
    model: Any,
    prompts: Sequence[list[int]],
    answers: Sequence[list[int]],
    temperature: float,
    pad_token_id: int,
    batch_size: int = 16,
) -> list[float]:
    """Log-probability, in nats, of each answer (with its EOS) after its prompt, when sampled at `temperature`."""
    import torch

    sums = []
    with torch.no_grad():
        for start in range(0, len(prompts), batch_size):
            pairs = list(zip(prompts, answers, strict=True))[start : start + batch_size]
            longest = max(len(prompt) + len(answer) for prompt, answer in pairs)
            rows = [
                prompt + answer + [pad_token_id] * (longest - len(prompt) - len(answer)) for prompt, answer in pairs
            ]
            ids = torch.tensor(rows, device=model.device)
            mask = torch.tensor(
                [[1] * (len(p) + len(a)) + [0] * (longest - len(p) - len(a)) for p, a in pairs], device=model.device
            )
            logits = model(input_ids=ids, attention_mask=mask).logits[:, :-1].float() / temperature
            logprobs = logits.log_softmax(-1).gather(-1, ids[:, 1:].unsqueeze(-1)).squeeze(-1)
            sums += [
                row[len(p) - 1 : len(p) + len(a) - 1].sum().item() for row, (p, a) in zip(logprobs, pairs, strict=True)
            ]
    return sums


def cut_at_eos(ids: list[int], eos_token_id: int) -> list[int]:
    return ids[: ids.index(eos_token_id) + 1] if eos_token_id in ids else ids


def is_finished(answer: list[int], eos_token_id: int) -> bool:
    return bool(answer) and answer[-1] == eos_token_id


def finished_rate(answers: Sequence[list[int]], eos_token_id: int) -> float:
    """Share of answers that end by themselves."""
    return sum(is_finished(answer, eos_token_id) for answer in answers) / len(answers)


def save_causal_lm(model: Any, tokenizer: Any, path: Path, dtype: Any) -> dict[str, Any]:
    """Write a model directory that transformers, vLLM and lm-eval load; adapters are merged. Returns metadata."""
    merged = merge_adapters(model).to(dtype)
    set_generation_defaults(merged, tokenizer)
    merged.config.use_cache = True
    merged.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return {"parameters": sum(p.numel() for p in merged.parameters())}


def merge_adapters(model: Any) -> Any:
    """The plain model with LoRA's product added to its weights (in float32: bfloat16 would round the sum twice)."""
    return model.float().merge_and_unload() if hasattr(model, "merge_and_unload") else model
