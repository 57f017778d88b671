"""Held-out loss, perplexity and bits per byte of a language model, with the document as the independent unit."""

from __future__ import annotations

import math
from collections.abc import Sequence

from annotation.statistics.intervals import bootstrap_ratio
from evaluation.harness.report import Row

TASK = "held-out text"


def ratio_stderr(numerators: Sequence[float], denominators: Sequence[float]) -> float | None:
    """Standard error of r = Σa/Σb over independent pairs, by the delta method: √(n/(n−1)·Σ(a − r·b)²) / Σb."""
    n = len(numerators)
    if n < 2:
        return None
    ratio = sum(numerators) / sum(denominators)
    squares = sum((a - ratio * b) ** 2 for a, b in zip(numerators, denominators, strict=True))
    return math.sqrt(n / (n - 1) * squares) / sum(denominators)


def heldout_rows(model: str, logprobs: Sequence[float], tokens: Sequence[int], sizes: Sequence[int]) -> list[Row]:
    """Rows from each document's log-likelihood (nats), number of tokens and size in bytes of UTF-8.

    Loss and perplexity are per token, so they compare only models of one tokenizer; bits per byte compare any.
    """
    losses = [-logprob for logprob in logprobs]
    loss = bootstrap_ratio(losses, tokens)
    loss_stderr = ratio_stderr(losses, tokens)
    bits = [value / math.log(2) for value in losses]
    per_byte = bootstrap_ratio(bits, sizes)
    perplexity = math.exp(loss.value)
    note = f"{sum(tokens)} tokens, {sum(sizes)} bytes"
    return [
        Row(model, TASK, "loss", *loss[:3], loss_stderr, loss.n, False, unit="nats per token", note=note),
        Row(
            model,
            TASK,
            "perplexity",
            perplexity,
            *(None if end is None else math.exp(end) for end in loss[1:3]),
            None if loss_stderr is None else perplexity * loss_stderr,  # delta method: d exp(x) = exp(x)·dx
            loss.n,
            False,
            unit="per token",
            note=note,
        ),
        Row(model, TASK, "bits_per_byte", *per_byte[:3], ratio_stderr(bits, sizes), per_byte.n, False, note=note),
    ]
