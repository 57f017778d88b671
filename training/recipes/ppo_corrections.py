"""What TRL 1.12's PPOTrainer gets wrong, put right from outside while it trains.

Its loop is one method, which calls a few functions of its module by name; for the time of `train()` those names stand
for the methods of `Corrections`, which call the originals:

* `get_reward`. The trainer adds the score at the position behind EOS, one too late, so that the value of the state
  after EOS stands between the score and EOS's advantage (trl#1893, trl#3750). With that value equal to the score, the
  delta behind EOS is score - value = 0 and EOS's own is value(after) - value(before) = score - value(before): what
  adding the score at EOS gives. And an answer without EOS gets a fixed score, where the trainer would only subtract a
  penalty from the reward model's.
* `batch_generation`. Generating collects log-probabilities with a KV cache, token by token; in bfloat16 they differ
  from those of the training forward, and the first ratios with them. They are taken from the training forward
  instead.
* `forward`. Gives logits in float32: the trainer takes log-softmax in the model's precision, and in bfloat16 a log-
  probability has three digits. And measures the probability ratio of the first micro batch after each rollout, which
  must be 1.

Nothing of TRL is imported here: the module is passed in.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Rollout:
    """The answers of one iteration: rows in the order in which they were generated."""

    queries_responses: list[list[int]] = field(default_factory=list)
    context_length: int = 0
    scores: list[float] = field(default_factory=list)  # normalised
    lengths: list[int] = field(default_factory=list)  # tokens, with EOS
    finished: list[bool] = field(default_factory=list)
    first_ratio: float = float("nan")  # mean over tokens of the first micro batch


class Corrections:
    """Holds the current rollout. `ratio_tolerance`: how far the first ratio may lie from 1."""

    def __init__(
        self,
        tokenizer: Any,
        value_model: Any,
        reward_model: Any,
        temperature: float,
        missing_eos_score: float,
        ratio_tolerance: float,
    ):
        assert tokenizer.pad_token_id != tokenizer.eos_token_id
        self.tokenizer = tokenizer
        self.value_model = value_model
        self.reward_model = reward_model
        self.temperature = temperature
        self.missing_eos_score = missing_eos_score
        self.ratio_tolerance = ratio_tolerance
        self.rollout = Rollout()
        self.old_logprobs: dict[tuple[int, ...], Any] | None = None
        self.scores: Any = None
        self.original: dict[str, Any] = {}

    @contextmanager
    def applied_to(self, ppo_trainer_module: Any) -> Iterator[None]:
        names = ("get_reward", "batch_generation", "forward")
        self.original = {name: getattr(ppo_trainer_module, name) for name in names}
        try:
            for name in names:
                setattr(ppo_trainer_module, name, getattr(self, name))
            yield
        finally:
            for name, function in self.original.items():
                setattr(ppo_trainer_module, name, function)

    def batch_generation(
        self, model: Any, queries: Any, batch_size: int, pad_token_id: int, generation_config: Any
    ) -> tuple[Any, Any]:
        """Generate, then take the logits [B, T, V] (divided by the temperature) from the forward pass that training
        uses.
        """
        import torch

        query_responses, _ = self.original["batch_generation"](
            model, queries, batch_size, pad_token_id, generation_config
        )
        context_length = queries.shape[1]
        logits = [
            self._response_logits(self.forward(model, rows, pad_token_id), context_length)
            for rows in query_responses.split(batch_size)
        ]
        self.rollout = Rollout(query_responses.tolist(), context_length)
        logits = torch.cat(logits)
        logprobs = self._response_logprobs(logits, query_responses[:, context_length:])
        self.old_logprobs = {tuple(row): old for row, old in zip(self.rollout.queries_responses, logprobs, strict=True)}
        return query_responses, logits

    def get_reward(
        self, model: Any, query_responses: Any, pad_token_id: int, context_length: int
    ) -> tuple[Any, Any, Any]:
        """Called for the values of some rows, then for their scores: both need the scores, which are computed once."""
        import torch

        if model is self.reward_model:
            return None, self.scores, None
        values, final, ends = self.original["get_reward"](model, query_responses, pad_token_id, context_length)
        _, scores, _ = self.original["get_reward"](self.reward_model, query_responses, pad_token_id, context_length)
        rows = torch.arange(len(query_responses), device=query_responses.device)
        finished = query_responses[rows, ends] == self.tokenizer.eos_token_id
        scores = torch.where(finished, scores, torch.full_like(scores, self.missing_eos_score))
        values = values.clone()
        values[rows[finished], ends[finished]] = scores[finished].unsqueeze(-1).to(values.dtype)
        self.scores = scores
        self.rollout.scores += scores.tolist()
        self.rollout.finished += finished.tolist()
        self.rollout.lengths += (ends - context_length + 1).tolist()
        return values, final, ends

    def forward(self, model: Any, query_responses: Any, pad_token_id: int) -> Any:
        output = self.original["forward"](model, query_responses, pad_token_id)
        training = isinstance(output, tuple)  # the policy's output and the values
        policy_output = output[0] if training else output
        policy_output.logits = policy_output.logits.float()
        if training and self.old_logprobs is not None:
            self._check_first_ratio(policy_output, query_responses, pad_token_id)
        return output

    def _check_first_ratio(self, output: Any, query_responses: Any, pad_token_id: int) -> None:
        import torch

        responses = query_responses[:, self.rollout.context_length :]
        old = torch.stack([self.old_logprobs[tuple(row)] for row in query_responses.tolist()])
        with torch.no_grad():
            new = self._response_logprobs(self._response_logits(output, self.rollout.context_length), responses)
            ratio = (new - old).exp()[responses != pad_token_id].mean().item()
        self.rollout.first_ratio = ratio
        self.old_logprobs = None
        if not abs(ratio - 1) <= self.ratio_tolerance:
            raise AssertionError(
                f"the first minibatch's probability ratio is {ratio:.4f}, not 1: old and new policy differ"
            )

    def _response_logits(self, output: Any, context_length: int) -> Any:
        return output.logits[:, context_length - 1 : -1] / (self.temperature + 1e-7)  # as the trainer divides

    @staticmethod
    def _response_logprobs(logits: Any, responses: Any) -> Any:
        return logits.log_softmax(-1).gather(-1, responses.unsqueeze(-1)).squeeze(-1)
