"""Starting points of chains."""

import torch
from torch import Tensor

from ebm_cli.samplers.base import select_chains


def wide_starts(like: Tensor, n: int, rng: torch.Generator) -> Tensor:
    """Draw n points from N(0, 4 I) [n, *D]: standardised data have unit scale, and twice that covers them.

    Args:
        like: one point [*D]; gives shape, dtype and device.
        n: ≥ 0.
        rng: source of the draws, on like's device.
    """
    return 2 * torch.randn(n, *like.shape, generator=rng, dtype=like.dtype, device=like.device)


def replace_diverged(x: Tensor, fresh: Tensor) -> tuple[Tensor, Tensor]:
    """Replace chains with a non-finite coordinate by fresh points.

    Args:
        x: positions of chains [B, *D].
        fresh: one point for each chain [B, *D].

    Returns:
        The positions, and which chains were finite [B].
    """
    finite = x.flatten(1).isfinite().all(1)
    return select_chains(finite, x, fresh), finite
