"""The normal distribution fitted to the data: the default noise of noise contrastive estimation."""

import torch
from torch import Tensor

from ebm_cli.densities.base import Density
from ebm_cli.densities.differentials import Differentials
from ebm_cli.densities.moments import RIDGE, Moments


class Gaussian(Density):
    """The Gaussian with the mean m and the full covariance S of the data.

        log q(x) = −½‖L⁻¹(x − m)‖² − log det L − ½ D log 2π,     L Lᵀ = widen² (S + ridge·I)

    Args:
        data: reference rows [N, *shape] in standardised units.
        ridge: added to the covariance's diagonal, > 0, because a constant column leaves S singular.
        widen: factor on the standard deviations, > 0; above 1 the noise covers more than the data.

    Shapes: x [B, *shape].

    Raises:
        ValueError: a number out of its range.
    """

    mean: Tensor
    factor: Tensor
    whiten: Tensor
    log_norm: Tensor

    def __init__(self, data: Tensor, ridge: float = RIDGE, widen: float = 1.0) -> None:
        super().__init__()
        if ridge <= 0:
            raise ValueError(f"ridge must be > 0, got {ridge}")
        if widen <= 0:
            raise ValueError(f"widen must be > 0, got {widen}")
        self.shape = tuple(data.shape[1:])
        mean, factor = Moments.from_rows(data, ridge)
        fit = Moments(mean, widen * factor)
        parts = {"mean": fit.mean, "factor": fit.factor, "whiten": fit.whiten(), "log_norm": fit.log_norm()}
        for name, value in parts.items():
            self.register_buffer(name, value.to(data))

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        return self.sample_with_log_prob(n, rng)[0]

    def log_prob(self, x: Tensor) -> Tensor:
        z = (x.flatten(1) - self.mean) @ self.whiten.T
        return torch.sub(self.log_norm, z.square().sum(1), alpha=0.5)

    def sample_with_log_prob(self, n: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        return self.from_standard(self.standard(n, rng))

    def standard(self, n: int, rng: torch.Generator) -> Tensor:
        """Draw the standard normal numbers [n, D] of n points."""
        return torch.randn(n, len(self.mean), generator=rng, dtype=self.mean.dtype, device=self.mean.device)

    def from_standard(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """The points of standard normal numbers [n, D], and their log-density."""
        x = torch.addmm(self.mean, z, self.factor.T).view(len(z), *self.shape)
        return x, torch.sub(self.log_norm, z.square().sum(1), alpha=0.5)

    def differentials(self, x: Tensor, v: Tensor | None = None) -> Differentials:
        """∇ log q = −WᵀW (x − m) and vᵀ ∇² log q v = −‖Wv‖², W = L⁻¹."""
        with torch.no_grad():
            z = (x.flatten(1) - self.mean) @ self.whiten.T
            value = torch.sub(self.log_norm, z.square().sum(1), alpha=0.5)
            bent = None if v is None else -(v.flatten(2) @ self.whiten.T).square().sum(2).sum(0).expand_as(value)
            return Differentials(value, -(z @ self.whiten).view_as(x), bent)
