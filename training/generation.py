"""Draw completions from models with vLLM in this process; models of one architecture take turns in one engine.

The engine sees token ids only: each model's own tokenizer renders its prompts and decodes its answers, so models that
differ in chat template, special tokens or end token share an engine all the same.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Entries of a config that say nothing about the shape of the network.
BOOKKEEPING = frozenset(
    (
        "_name_or_path",
        "_model_name_or_path",
        "name_or_path",
        "transformers_version",
        "dtype",
        "torch_dtype",
        "use_cache",
        "bos_token_id",
        "eos_token_id",
        "pad_token_id",
        "unk_token_id",
        "initializer_range",
        "gradient_checkpointing",
    )
)


@dataclass(frozen=True)
class Request:
    """One completion to draw. `seed` fixes its random numbers whatever else is in the batch."""

    prompt_token_ids: list[int]
    temperature: float
    top_p: float
    max_tokens: int
    seed: int
    stop_token_ids: tuple[int, ...]


@dataclass(frozen=True)
class Drawn:
    """What came back: the tokens without the end token; `tokens` counts it too when there is one."""

    token_ids: list[int]
    tokens: int
    finish_reason: str  # "stop" or "length"


class ChatModel:
    """A model directory's tokenizer side: prompts in, text out."""

    def __init__(self, path: Path):
        from transformers import AutoConfig, AutoTokenizer

        self.path = path
        self.config = AutoConfig.from_pretrained(path)
        self.tokenizer = AutoTokenizer.from_pretrained(path)
        self.stop_token_ids = self._find_stop_token_ids()

    @property
    def context_length(self) -> int:
        return self.config.max_position_embeddings

    def architecture(self) -> dict[str, Any]:
        """Everything of the config that the network's shape depends on; equal for models that can share an engine."""
        return {
            key: value
            for key, value in self.config.to_dict().items()
            if key not in BOOKKEEPING and not key.endswith(("_dropout", "_pdrop"))
        }

    def encode(self, messages: list[dict[str, str]]) -> list[int]:
        """Token ids of `messages` up to the turn to be answered.

        A model without a chat template gets the bare text to continue, messages separated by a blank line.
        """
        if self.tokenizer.chat_template:
            text = self.tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
            return self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return self.tokenizer("\n\n".join(message["content"] for message in messages))["input_ids"]

    def decode(self, token_ids: list[int]) -> str:
        return self.tokenizer.decode(token_ids, skip_special_tokens=True)

    def _find_stop_token_ids(self) -> tuple[int, ...]:
        """The end tokens of tokenizer and generation_config.json, and ChatML's end of turn if the template uses it."""
        from transformers import GenerationConfig

        ids = {self.tokenizer.eos_token_id}
        if (self.path / "generation_config.json").is_file():
            generation = GenerationConfig.from_pretrained(self.path).eos_token_id
            ids.update(generation if isinstance(generation, list) else [generation])
        if "<|im_end|>" in (self.tokenizer.chat_template or ""):
            ids.add(self.tokenizer.get_vocab().get("<|im_end|>"))
        return tuple(sorted(i for i in ids if i is not None and i < self.config.vocab_size))


class Engine:
    """A vLLM engine in this process. Only one may be open at a time; `close` gives its memory back."""

    def __init__(self, model: Path, *, dtype: str, max_model_len: int, kv_cache_gib: float):
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"  # weights of a live engine can be replaced in-process only
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
        from vllm import LLM

        self.model = model
        self._next_id = 0
        self._llm = LLM(
            model=str(model),
            dtype=dtype,
            max_model_len=max_model_len,
            kv_cache_memory_bytes=int(kv_cache_gib * 2**30),
            enforce_eager=True,
            # vLLM 0.32 rewinds the generator of a seeded request whose prompt it takes in parts, which CPU generators
            # cannot ("CPU Generator does not use offset"): so a step has room for many whole prompts.
            max_num_batched_tokens=max(max_model_len, 65536),
            skip_tokenizer_init=True,
            generation_config="vllm",
            seed=0,
            disable_log_stats=True,
        )

    def load(self, model: Path) -> None:
        """Replace the weights by those of `model`, which has the same architecture."""
        if model == self.model:
            return
        self._llm.collective_rpc("reload_weights", kwargs={"weights_path": str(model)})
        self._llm.reset_prefix_cache()  # keys and values of the old weights
        self.model = model

    def draw(
        self, requests: Iterable[Request], stop: Callable[[], bool] = lambda: False
    ) -> Iterator[tuple[int, Drawn]]:
        """Yield (index of the request, what was drawn) as completions finish.

        When `stop` turns true the unfinished requests are dropped and the iteration ends.
        """
        engine = self._llm.llm_engine
        waiting = {}
        for index, request in enumerate(requests):
            self._next_id += 1
            waiting[str(self._next_id)] = index
            engine.add_request(
                str(self._next_id), {"prompt_token_ids": request.prompt_token_ids}, _sampling_params(request)
            )
        while engine.has_unfinished_requests():
            if stop():
                engine.abort_request(list(waiting))
                return
            for output in engine.step():
                if output.finished:
                    yield waiting.pop(output.request_id), _drawn(output.outputs[0])

    def close(self) -> None:
        from vllm.distributed import cleanup_dist_env_and_memory

        self._llm.llm_engine.engine_core.shutdown()
        del self._llm
        gc.collect()
        cleanup_dist_env_and_memory()


def _sampling_params(request: Request):
    from vllm import SamplingParams

    return SamplingParams(
        temperature=request.temperature,
        top_p=request.top_p if request.temperature else 1.0,
        max_tokens=request.max_tokens,
        seed=request.seed,
        stop_token_ids=list(request.stop_token_ids),
        detokenize=False,
        output_kind=_final_only(),
    )


def _final_only():
    from vllm.sampling_params import RequestOutputKind

    return RequestOutputKind.FINAL_ONLY


def _drawn(completion: Any) -> Drawn:
    token_ids = list(completion.token_ids)
    finished = completion.finish_reason == "stop"
    return Drawn(token_ids[:-1] if finished else token_ids, len(token_ids), completion.finish_reason)
