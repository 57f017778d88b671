"""Attention head sizes that vLLM can serve."""

# Of vLLM's CPU attention kernels; its GPU kernels take these too.
SERVABLE_HEAD_SIZES = (32, 64, 80, 96, 112, 128, 160, 192, 224, 256, 512)


def unservable_head_size(head_size: int) -> str:
    """Why vLLM cannot serve a model with this head size; empty when it can."""
    if head_size in SERVABLE_HEAD_SIZES:
        return ""
    sizes = ", ".join(map(str, SERVABLE_HEAD_SIZES))
    return f"vLLM cannot serve attention heads of size {head_size}; it takes {sizes}."
