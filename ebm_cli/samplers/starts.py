"""Starting points of chains."""

import torch
from torch import Tensor


def wide_starts(like: Tensor, n: int, rng: torch.Generator) -> Tensor:
    """Draw n points from N(0, 4 I) [n, *D]: standardised data have unit scale, and twice that covers them.

    Args:
        like: one point [*D]; gives shape, dtype and device.
        n: ≥ 0.
        rng: source of the draws, on like's device.
    """
    return 2 * torch.randn(n, *like.shape, generator=rng, dtype=like.dtype, device=like.device)
