"""Concentric circles blurred by a Gaussian; the integral over a circle is a Bessel function."""

import math
from typing import final

import torch
from torch import Tensor

from ebm_cli.datasets.target import Target
from ebm_cli.errors import require_positive


@final
class Rings(Target):
    """Blurred circles around 0, equally likely and uniform in angle.

        p(x | r) = exp(−(ρ² + r²) / 2σ²) I₀(ρ r / σ²) / (2π σ²),     ρ = ‖x‖

    Source: Rice (1945); the density of ρ is Rice's, divided here by 2πρ.

    Args:
        radii: one or more numbers r > 0, data units.
        noise: σ > 0, data units.

    Shapes: x [B, 2]. Modes: the circles, in the order of `radii`.

    Raises:
        ValueError: no radius, or a number out of its range.
    """

    radii: Tensor

    def __init__(self, radii: list[float], noise: float = 0.1) -> None:
        if not radii or not all(0 < r < math.inf for r in radii):
            raise ValueError(f"radii must be one or more numbers > 0, got {radii}")
        require_positive(noise=noise)
        super().__init__((2,))
        self.noise = noise
        self.n_modes = len(radii)
        self.register_buffer("radii", torch.tensor(radii), persistent=False)

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        angle = 2.0 * math.pi * self.uniform(n, rng)
        r = self.radii[self.labels(n, rng)]
        x = torch.stack([r * angle.cos(), r * angle.sin()], dim=1)
        return x.add_(self.normal(n, rng), alpha=self.noise)

    def _log_terms(self, x: Tensor) -> Tensor:
        """log p(x | r) for every circle [B, n_modes]; i0e(z) = exp(−z) I₀(z) neither overflows nor underflows."""
        rho = x.norm(dim=1, keepdim=True)
        variance = self.noise**2
        log_bessel: Tensor = torch.special.i0e(rho * self.radii / variance).log()
        gap: Tensor = (rho - self.radii) ** 2 / (2.0 * variance)
        return log_bessel - gap - math.log(2.0 * math.pi * variance)

    def log_prob(self, x: Tensor) -> Tensor:
        return self._log_terms(x).logsumexp(1) - math.log(self.n_modes)

    def modes(self, x: Tensor) -> Tensor:
        return self._log_terms(x).argmax(1)

    def smoothed(self, noise_std: float) -> Target:
        return Rings(self.radii.tolist(), math.hypot(self.noise, noise_std)) if noise_std else self
