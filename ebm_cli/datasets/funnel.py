"""Neal's funnel, in which one coordinate sets the scale of all others."""

import math
from typing import final

import torch
from torch import Tensor

from ebm_cli.datasets.gaussian_sums import GaussianSum
from ebm_cli.datasets.smoothing import ConditionallySmoothed
from ebm_cli.datasets.target import Target
from ebm_cli.errors import require_positive

REACH = 10.0
"""Standard deviations of x₁, to either side, that the smoothed density integrates over."""


@final
class Funnel(Target):
    """x₁ = v ~ N(0, σ²),  x_i | v ~ N(0, exp v) for i = 2 … D.

    Source: Neal (2003), "Slice sampling", Annals of Statistics 31; his has D = 10, σ = 3.

    Args:
        dim: D ≥ 2.
        std: σ > 0, of the logarithm of a variance.

    Shapes: x [B, D]. One mode.

    Raises:
        ValueError: a number out of its range.
    """

    def __init__(self, dim: int = 2, std: float = 1.0) -> None:
        if dim < 2:
            raise ValueError(f"dim must be >= 2, got {dim}")
        require_positive(std=std)
        super().__init__((dim,))
        self.std = std

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        eps = self.normal(n, rng)
        v = self.std * eps[:, :1]
        return torch.cat([v, (0.5 * v).exp() * eps[:, 1:]], dim=1)

    def log_prob(self, x: Tensor) -> Tensor:
        v, rest = x[:, 0], x[:, 1:]
        n = rest.shape[1]
        quadratic = (v / self.std) ** 2 + rest.square().sum(1) * (-v).exp() + n * v
        return -0.5 * (quadratic + (n + 1) * math.log(2.0 * math.pi)) - math.log(self.std)

    def smoothed(self, noise_std: float) -> Target:
        """The exact density in any dimension, a sum over v, given which all coordinates are Gaussian."""
        if noise_std == 0:
            return self
        dim = self.shape[0]
        step = 0.75 / math.hypot(1.0 / noise_std, 1.0 / self.std, math.sqrt(dim))
        v = torch.arange(-REACH * self.std, REACH * self.std, step, dtype=torch.float64)
        centres = torch.zeros(len(v), dim, dtype=torch.float64)
        centres[:, 0] = v
        stds = torch.empty_like(centres)
        stds[:, 0] = noise_std
        stds[:, 1:] = (v.exp() + noise_std**2).sqrt()[:, None]
        weights = (-0.5 * (v / self.std) ** 2).exp()
        return ConditionallySmoothed(self, noise_std, GaussianSum(centres, stds, weights, 1))
