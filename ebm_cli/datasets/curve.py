"""Curves blurred by a Gaussian (moons, spirals, the swiss roll), whose density is a one-dimensional integral.

    x = c(t) + σ ε,   t ~ density ∝ t^power on [a, b],   ε ~ N(0, I)
    p(x) = ∫ p(t) N(x; c(t), σ² I) dt

The integrand is a smooth bump of width ~ σ / |c'(t)|, cut off at the ends of the curve. Gauss–Legendre nodes crowd
at the ends, where the cut is, and converge exponentially once they lie less than about σ apart along the curve.
"""

import math
from abc import abstractmethod

import torch
from torch import Tensor

from ebm_cli.datasets.gaussian_sums import GaussianSum, gauss_legendre
from ebm_cli.datasets.target import Target
from ebm_cli.errors import require_positive

SPACING = 1.0
"""Largest distance between neighbouring nodes along the curve, in units of the blur σ."""
END_NODES = 16
"""Nodes beyond those that the spacing asks for, which resolve the ends of the curve."""
MAX_NODES = 8_000
"""Nodes above which a blur is refused as too narrow for its curve."""


class Curve(Target):
    """One blurred curve in the plane and, if `reflected_in` is a point, its mirror image through that point.

    Args:
        noise: σ > 0, data units.

    Attributes:
        interval: (a, b), range of the curve's parameter t.
        power: t has density ∝ t^power on the interval, power ∈ {0, 1}.
        reflected_in: the second curve is 2 · reflected_in − c(t); None if there is one curve.

    Shapes: x [B, 2]. Modes: the curves.

    Raises:
        ValueError: noise ≤ 0, or so narrow that the integral would need more than 8,000 nodes.
    """

    interval: tuple[float, float]
    power: int = 0
    reflected_in: tuple[float, float] | None = None

    def __init__(self, noise: float) -> None:
        require_positive(noise=noise)
        super().__init__((2,))
        self.noise = noise
        self.n_modes = 1 if self.reflected_in is None else 2
        self.gaussians = self.quadrature()

    @abstractmethod
    def curve(self, t: Tensor) -> Tensor:
        """c(t): t [N] → points [N, 2], data units."""

    def quadrature(self, spacing: float = SPACING) -> GaussianSum:
        """The density as a sum of Gaussians at nodes that lie at most `spacing` · σ apart along the curve."""
        t, w = gauss_legendre(*self.interval, self._n_nodes(spacing * self.noise))
        centres = self.curve(t)
        if self.reflected_in is not None:
            centres = torch.cat([centres, 2.0 * centres.new_tensor(self.reflected_in) - centres])
        weights = (w * t**self.power).repeat(self.n_modes)
        return GaussianSum(centres, torch.full((len(centres), 1), self.noise), weights, self.n_modes)

    def _n_nodes(self, spacing: float) -> int:
        """The smallest Gauss–Legendre rule whose nodes lie at most `spacing` apart on the curve, data units.

        n nodes at a + (b − a)(1 + cos θ)/2 are π/n apart in θ, so that c moves by |c'(t)| (b − a)/2 sin θ · π/n.
        """
        low, high = self.interval
        theta = torch.linspace(0.0, math.pi, 4001, dtype=torch.float64)
        path = self.curve(low + (high - low) * 0.5 * (1.0 + theta.cos()))
        fastest = float(path.diff(dim=0).norm(dim=1).max()) * 4000 / math.pi
        n = math.ceil(math.pi * fastest / spacing) + END_NODES
        if n > MAX_NODES:
            raise ValueError(f"noise must be >= {self.noise * n / MAX_NODES:.1g} for this curve, got {self.noise}")
        return n

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        low, high = (end ** (self.power + 1) for end in self.interval)
        t = (low + (high - low) * self.uniform(n, rng)) ** (1.0 / (self.power + 1))
        x = self.curve(t)
        if self.reflected_in is not None:
            sign = 1.0 - 2.0 * self.labels(n, rng).to(x.dtype)[:, None]
            centre = x.new_tensor(self.reflected_in)
            x = centre + sign * (x - centre)
        return x.add_(self.normal(n, rng), alpha=self.noise)

    def log_prob(self, x: Tensor) -> Tensor:
        return self.gaussians.log_prob(x)

    def modes(self, x: Tensor) -> Tensor:
        return self.gaussians.largest_group(x)

    def smoothed(self, noise_std: float) -> Target:
        return type(self)(math.hypot(self.noise, noise_std)) if noise_std else self
