"""What a process sets before it trains on a GPU."""

import torch


def compute_alike() -> None:
    """Let cuDNN give the same bits each time, in float32: its default for convolutions is TF32.

    TF32 keeps 10 of float32's 23 bits, so that a GPU would agree with a CPU to three digits only.
    """
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.allow_tf32 = False
