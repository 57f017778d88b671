"""AdamW that clips gradients and leaves out a step whose gradients are not finite.

DeepSpeed's optimizers for ZeRO and bf16 do both. Without them (ZeRO 0 in fp32) it applies any gradient it is given;
`overflow` and `_global_grad_norm` are the attributes in which it looks for what an optimizer did.
"""

from __future__ import annotations

import torch


class GuardedAdamW(torch.optim.AdamW):
    def __init__(self, *args, gradient_clipping: float = 0.0, **kwargs):
        super().__init__(*args, **kwargs)
        self.gradient_clipping = gradient_clipping
        self.overflow = False
        self._global_grad_norm = 0.0

    def step(self, closure=None):
        gradients = [p.grad for group in self.param_groups for p in group["params"] if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        self._global_grad_norm = float(norm)
        self.overflow = not bool(torch.isfinite(norm))
        if self.overflow:
            return None
        if self.gradient_clipping:
            scale = torch.clamp(self.gradient_clipping / (norm + 1e-6), max=1.0)
            for gradient in gradients:
                gradient.mul_(scale)
        return super().step(closure)
