"""The checkerboard: uniform on eight squares and blurred, because a jump of the density breaks score matching.

Score matching integrates by parts, which needs p · s → 0 at the border of the support (Hyvärinen, 2005); a uniform
square has a jump there. The board therefore always has some Gaussian blur, and the blurred density is a product of
differences of the normal distribution function Φ.
"""

import math
from typing import final

import torch
from torch import Tensor

from ebm_cli.datasets.target import Target
from ebm_cli.errors import require_positive


def log_interval_mass(x: Tensor, low: Tensor, std: float) -> Tensor:
    """Compute log ∫_low^{low+1} N(t; x, std²) dt = log( Φ(b) − Φ(a) ), accurate in both tails.

    On one side of the interval Φ(b) − Φ(a) is a difference of numbers near 1; x is mirrored to the other side.
    """
    centred = (x - low - 0.5).abs() / std
    half = 0.5 / std
    log_upper: Tensor = torch.special.log_ndtr(half - centred)
    log_lower = torch.special.log_ndtr(-half - centred)
    return log_upper + torch.log1p(-(log_lower - log_upper).exp())


@final
class Checkerboard(Target):
    """Uniform on the eight squares of side 1 in [−2, 2]² whose corners' coordinates have an even sum, blurred:

        p(x) = 1/8 Σ_{(i, j)} [Φ((x₁ − i)/σ) − Φ((x₁ − i − 1)/σ)] [Φ((x₂ − j)/σ) − Φ((x₂ − j − 1)/σ)]

    Args:
        noise: σ > 0, data units (sides of a square).

    Shapes: x [B, 2]. Modes: the squares.

    Raises:
        ValueError: noise ≤ 0.
    """

    corners: Tensor

    def __init__(self, noise: float = 0.05) -> None:
        require_positive(noise=noise)
        super().__init__((2,))
        self.noise = noise
        corners = [(i, j) for i in range(-2, 2) for j in range(-2, 2) if (i + j) % 2 == 0]
        self.n_modes = len(corners)
        self.register_buffer("corners", torch.tensor(corners, dtype=torch.get_default_dtype()), persistent=False)

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        inside = self.uniform(2 * n, rng).view(n, 2)
        x = self.corners[self.labels(n, rng)] + inside
        return x.add_(self.normal(n, rng), alpha=self.noise)

    def _log_terms(self, x: Tensor) -> Tensor:
        """Logarithm of every square's blurred density [B, 8]; a line of the board is computed once for its squares."""
        ticks = torch.arange(-2, 2, device=x.device)
        first, second = (log_interval_mass(x[:, d, None], ticks, self.noise) for d in range(2))
        index = self.corners.long() + 2
        return first[:, index[:, 0]] + second[:, index[:, 1]]

    def log_prob(self, x: Tensor) -> Tensor:
        return self._log_terms(x).logsumexp(1) - math.log(self.n_modes)

    def modes(self, x: Tensor) -> Tensor:
        return self._log_terms(x).argmax(1)

    def smoothed(self, noise_std: float) -> Target:
        return Checkerboard(math.hypot(self.noise, noise_std)) if noise_std else self
