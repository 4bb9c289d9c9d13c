"""A pinwheel with an exact density: arms of a star, twisted by a rotation that grows with the distance from 0.

A rotation of every point by an angle that depends on ‖x‖ alone moves each circle around 0 along itself. It preserves
area, so that the density is the star's at the point rotated back.
"""

import math
from typing import final

import torch
from torch import Tensor

from ebm_cli.datasets.smoothing import Smoothed
from ebm_cli.datasets.target import Target
from ebm_cli.errors import require_positive

RADIUS = 2.0
"""Distance of the arms' centres from 0, data units."""


@final
class Pinwheel(Target):
    """x = R(rate ‖z‖) z, where z is on one of the arms of a star, all equally likely.

    Arm k is a Gaussian around (2, 0), turned by 2πk / n_arms. After Johnson et al. (2016), whose rotation by
    rate · exp(·) of a hidden coordinate has no closed form; the scale is FFJORD's (Grathwohl et al., 2019).

    Args:
        n_arms: number of arms, ≥ 1.
        radial_std: standard deviation along an arm, > 0, data units.
        tangential_std: standard deviation across an arm, > 0, data units.
        rate: of the rotation, radians a data unit.

    Shapes: x [B, 2]. Modes: the arms.

    Raises:
        ValueError: a number out of its range.
    """

    directions: Tensor

    def __init__(
        self, n_arms: int = 5, radial_std: float = 0.6, tangential_std: float = 0.2, rate: float = 0.5
    ) -> None:
        if n_arms < 1:
            raise ValueError(f"n_arms must be >= 1, got {n_arms}")
        require_positive(radial_std=radial_std, tangential_std=tangential_std)
        if not math.isfinite(rate):
            raise ValueError(f"rate must be finite, got {rate}")
        super().__init__((2,))
        self.n_modes = n_arms
        self.radial_std = radial_std
        self.tangential_std = tangential_std
        self.rate = rate
        angle = torch.arange(n_arms) * (2.0 * math.pi / n_arms)
        self.register_buffer("directions", torch.stack([angle.cos(), angle.sin()], dim=1), persistent=False)

    def _twist(self, x: Tensor, rate: float) -> Tensor:
        angle = rate * x.norm(dim=1)
        cos, sin = angle.cos(), angle.sin()
        return torch.stack([cos * x[:, 0] - sin * x[:, 1], sin * x[:, 0] + cos * x[:, 1]], dim=1)

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        eps = self.normal(n, rng)
        along, across = RADIUS + self.radial_std * eps[:, 0], self.tangential_std * eps[:, 1]
        cos, sin = self.directions[self.labels(n, rng)].unbind(1)
        return self._twist(torch.stack([along * cos - across * sin, along * sin + across * cos], dim=1), self.rate)

    def _log_terms(self, x: Tensor) -> Tensor:
        """log N(z; arm k) for every arm, [B, n_arms]."""
        z = self._twist(x, -self.rate)
        cos, sin = self.directions.to(x.dtype).unbind(1)
        along = (z[:, :1] * cos + z[:, 1:] * sin - RADIUS) / self.radial_std
        across = (z[:, 1:] * cos - z[:, :1] * sin) / self.tangential_std
        return -0.5 * (along**2 + across**2) - math.log(2.0 * math.pi * self.radial_std * self.tangential_std)

    def log_prob(self, x: Tensor) -> Tensor:
        return self._log_terms(x).logsumexp(1) - math.log(self.n_modes)

    def modes(self, x: Tensor) -> Tensor:
        return self._log_terms(x).argmax(1)

    def smoothed(self, noise_std: float) -> Target:
        if noise_std == 0:
            return self
        # The twist shears an arm by r · rate at radius r, which thins it.
        shear = self.rate * (RADIUS + 2.0 * self.radial_std)
        return Smoothed(self, noise_std, min(self.radial_std, self.tangential_std) / math.hypot(1.0, shear))
