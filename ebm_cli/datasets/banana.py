"""A Gaussian bent along a parabola by a shear, which preserves area."""

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
class Banana(Target):
    """x₁ ~ N(0, a²),  x₂ | x₁ ~ N(b (x₁² − a²), s²).   E x = 0.

    Source: Haario, Saksman & Tamminen (1999), Computational Statistics 14.

    Args:
        scale: a > 0, data units.
        curvature: b, inverse data units.
        std: s > 0, data units.

    Shapes: x [B, 2]. One mode.

    Raises:
        ValueError: a number out of its range.
    """

    def __init__(self, scale: float = 1.5, curvature: float = 0.5, std: float = 0.5) -> None:
        require_positive(scale=scale, std=std)
        if not math.isfinite(curvature):
            raise ValueError(f"curvature must be finite, got {curvature}")
        super().__init__((2,))
        self.scale = scale
        self.curvature = curvature
        self.std = std

    def _centre(self, x1: Tensor) -> Tensor:
        return self.curvature * (x1**2 - self.scale**2)

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        eps = self.normal(n, rng)
        x1 = self.scale * eps[:, 0]
        return torch.stack([x1, self._centre(x1) + self.std * eps[:, 1]], dim=1)

    def log_prob(self, x: Tensor) -> Tensor:
        z1 = x[:, 0] / self.scale
        z2 = (x[:, 1] - self._centre(x[:, 0])) / self.std
        return -0.5 * (z1**2 + z2**2) - math.log(2.0 * math.pi * self.scale * self.std)

    def smoothed(self, noise_std: float) -> Target:
        """The exact density, a sum over the noiseless x₁, given which both coordinates are Gaussian."""
        if noise_std == 0:
            return self
        across = math.hypot(self.std, noise_std)
        steepest = 2.0 * abs(self.curvature) * REACH * self.scale
        step = 0.75 / math.hypot(1.0 / noise_std, 1.0 / self.scale, steepest / across)
        x1 = torch.arange(-REACH * self.scale, REACH * self.scale, step, dtype=torch.float64)
        centres = torch.stack([x1, self._centre(x1)], dim=1)
        stds = torch.tensor([[noise_std, across]], dtype=torch.float64).expand(len(x1), 2)
        weights = (-0.5 * (x1 / self.scale) ** 2).exp()
        return ConditionallySmoothed(self, noise_std, GaussianSum(centres, stds, weights, 1))
