"""Attention head sizes that vLLM can serve."""

# Of vLLM's CPU attention kernels; its GPU kernels take these too.
from studio.runs.model_directory import CPU_HEAD_SIZES


def unservable_head_size(head_size: int) -> str:
    """Why vLLM cannot serve a model with this head size; empty when it can."""
    if head_size in CPU_HEAD_SIZES:
        return ""
    sizes = ", ".join(map(str, CPU_HEAD_SIZES))
    return f"vLLM cannot serve attention heads of size {head_size}; it takes {sizes}."
