"""The uniform distribution on a box fitted to the data."""

import torch
from torch import Tensor

from ebm_cli.densities.base import Density


class Uniform(Density):
    """Constant density on the data's bounding box, each side extended by `margin` of its length at both ends.

    Outside the box log q = −∞, and a classifier is certain that the point is data: choose a margin that covers
    held-out rows.

    Args:
        data: reference rows [N, *shape] in standardised units.
        margin: ≥ 0, a fraction of each side.

    Shapes: x [B, *shape].

    Raises:
        ValueError: margin < 0.
    """

    low: Tensor
    size: Tensor

    def __init__(self, data: Tensor, margin: float = 0.25) -> None:
        super().__init__()
        if margin < 0:
            raise ValueError(f"margin must be >= 0, got {margin}")
        self.shape = tuple(data.shape[1:])
        low, high = data.amin(0), data.amax(0)
        # A constant column would give a box without volume.
        side = (high - low).clamp_min(1e-3)
        self.register_buffer("low", low - margin * side)
        self.register_buffer("size", (1 + 2 * margin) * side)

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        u = torch.rand(n, *self.shape, generator=rng, dtype=self.low.dtype, device=self.low.device)
        return self.low + self.size * u

    def log_prob(self, x: Tensor) -> Tensor:
        inside = ((x >= self.low) & (x <= self.low + self.size)).flatten(1).all(1)
        return torch.where(inside, -self.size.log().sum(), -torch.inf)
