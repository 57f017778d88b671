"""Start DeepSpeed's process group in a rank, on GPUs or on a machine that has none."""

from __future__ import annotations

import os


def choose_accelerator() -> None:
    """Tell DeepSpeed that it runs on CPUs where there is no GPU; call it before importing more of it."""
    import torch

    if torch.cuda.is_available():
        return
    os.environ["DS_ACCELERATOR"] = "cpu"
    import deepspeed.ops

    # An all-reduce for inference that training never calls; it would be compiled for a minute first.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False


def initialise_distributed() -> None:
    """Join the ranks that the launcher started (NCCL on GPUs, gloo without), with deterministic kernels."""
    import torch

    choose_accelerator()
    import deepspeed

    cuda = torch.cuda.is_available()
    if cuda:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is deterministic only with it
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    deepspeed.init_distributed(dist_backend="nccl" if cuda else "gloo", verbose=False)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False
