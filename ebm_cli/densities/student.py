"""A mixture of Student's t distributions: each component has a tail of its own, from Cauchy-like to normal."""

import math

import torch
from torch import Tensor

from ebm_cli.densities.elliptical import EllipticalMixture
from ebm_cli.densities.gamma import sample_gamma
from ebm_cli.densities.place import Profile


class StudentMixture(EllipticalMixture):
    """q(x) = Σ_k w_k t_ν_k(x; m_k, S_k), full scatter matrices.

        log t_ν(x; m, S) = log Γ((ν+D)/2) − log Γ(ν/2) − ½ D log πν − ½ log det S − ½ (ν+D) log(1 + s/ν),
        s = (x − m)ᵀ S⁻¹ (x − m)

    ν = ∞ is a normal distribution. It starts as N(0, I); `student_em` fits one, and any state can be loaded.

    Args:
        shape: shape of one point.

    Shapes: x [B, *shape].  Cost: K · D² operations a point.
    """

    inverse_dof: Tensor

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__(shape)
        size = math.prod(shape)
        one = torch.ones(1)
        self.set_components(one, torch.zeros(1, size), torch.eye(size).unsqueeze(0), torch.inf * one, one)

    def set_components(self, weights: Tensor, means: Tensor, scatters: Tensor, dof: Tensor, like: Tensor) -> None:
        """Take other components: [K], [K, D], [K, D, D] and degrees of freedom [K], stored like `like`."""
        self.keep(weights, means, scatters, log_t_at_mode(dof.double(), means.shape[1]), like)
        # 1/ν is finite for a normal distribution, too: a checkpoint holds finite numbers only.
        self.register_buffer("inverse_dof", (1 / dof).to(like))

    @property
    def dof(self) -> Tensor:
        """Degrees of freedom ν [K]; ∞ is a normal distribution."""
        return 1 / self.inverse_dof

    def profile(self, s: Tensor) -> Profile:
        """h(s) = −½ (ν+D) log(1 + s/ν)."""
        rate, size = self.inverse_dof, self.means.shape[1]
        heavy = rate > 0
        some = torch.where(heavy, rate, 1)
        value = torch.where(heavy, -0.5 * (1 / some + size) * (some * s).log1p(), -0.5 * s)
        damped = 1 + rate * s
        slope = -0.5 * (1 + rate * size) / damped
        return Profile(value, slope, -slope * rate / damped)

    def marginal(self, j: int) -> "StudentMixture":
        found = StudentMixture((1,))
        found.set_components(self.weights, self.means[:, j : j + 1], self.variances(j), self.dof, self.means)
        return found

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        k, deviation = self.sample_normal(n, rng)
        dof = self.dof[k]
        half = torch.where(dof.isfinite(), 0.5 * dof, 1)
        stretch = torch.where(dof.isfinite(), (half / sample_gamma(half, rng)).sqrt(), 1)
        return (self.means[k] + stretch.unsqueeze(1) * deviation).view(n, *self.shape)


def log_t_at_mode(dof: Tensor, size: int) -> Tensor:
    """log t_ν(0; 0, I) in `size` dimensions: ν [K], ∞ allowed → [K]."""
    finite = torch.where(dof.isfinite(), dof, 1)
    student = (0.5 * (finite + size)).lgamma() - (0.5 * finite).lgamma() - 0.5 * size * (math.pi * finite).log()
    return torch.where(dof.isfinite(), student, -0.5 * size * math.log(2 * math.pi))
