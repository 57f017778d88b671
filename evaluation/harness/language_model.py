"""A causal language model directory behind lm-eval's interface, offline.

lm-eval's own `HFLM` gives log-likelihoods of continuations and of whole documents; tasks, held-out loss and
CrowS-Pairs all use it, so that they cannot disagree about tokens, prefixes or windows.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lm_eval.models.huggingface import HFLM

DTYPES = ("bfloat16", "float32")


def work_offline() -> None:
    """Keep Hugging Face libraries from the network and progress bars out of the log. Call before importing them."""
    os.environ.update(
        HF_HUB_OFFLINE="1",
        HF_DATASETS_OFFLINE="1",
        TOKENIZERS_PARALLELISM="false",
        DISABLE_MULTIPROC="1",  # lm-eval's bootstrap would fork a pool inside a worker
        TQDM_MININTERVAL="60",  # lm-eval shows its bars whatever TQDM_DISABLE says
    )


def load_language_model(path: Path, dtype: str, batch_size: int, max_length: int | None = None) -> HFLM:
    """Load a model directory for log-likelihoods, on the GPU where there is one.

    `max_length` (tokens) shortens the context window; the model's own is the upper bound. Log-softmax is taken in
    fp32 whatever the weights' type: summed over a sentence, bf16's eight bits would drown the differences.
    """
    if not (path / "config.json").is_file():
        raise ValueError(
            f"{path.name} is not a model directory: it has no config.json. Choose an artifact of kind model."
        )
    work_offline()
    import torch
    from lm_eval.models.huggingface import HFLM
    from lm_eval.models.utils import resolve_max_length
    from transformers import AutoConfig

    own_length = resolve_max_length(AutoConfig.from_pretrained(path))
    return HFLM(
        pretrained=str(path),
        backend="causal",
        device="cuda" if torch.cuda.is_available() else "cpu",
        dtype=dtype,
        softmax_dtype="float32",
        batch_size=batch_size,
        max_length=min(own_length, max_length or own_length),
        truncation=True,
    )


def loglikelihoods(model: HFLM, texts: list[str]) -> list[float]:
    """log P(text) in nats after the model's beginning-of-text token, each text within one window."""
    from lm_eval.api.instance import Instance

    requests = [Instance("loglikelihood", {}, ("", text), i) for i, text in enumerate(texts)]
    return [logprob for logprob, _ in model.loglikelihood(requests, disable_tqdm=True)]


def rolling_loglikelihoods(model: HFLM, texts: list[str]) -> list[float]:
    """log P(text) in nats of documents of any length: disjoint windows, each token predicted exactly once."""
    from lm_eval.api.instance import Instance

    requests = [Instance("loglikelihood_rolling", {}, (text,), i) for i, text in enumerate(texts)]
    return model.loglikelihood_rolling(requests, disable_tqdm=True)
