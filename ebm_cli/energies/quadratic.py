"""A Gaussian as an energy. Every objective has a closed form on it, which the tests use."""

import math

import torch
from torch import Tensor, nn

from ebm_cli.derivatives import Differentiable, Jet, Pullback
from ebm_cli.energies.base import Energy


class Quadratic(Energy, Differentiable):
    """f(x) = ½ (x − μ)ᵀP(x − μ), where μ and the symmetric P are trained; log Z = ½ (D log 2π − log det P).

    P is a symmetrised free matrix, so that methods without Z (score matching, noise contrastive estimation with its own
    log Z) have the estimators of the literature; `log_z` is None while P is not positive definite.

    Args:
        shape: shape of one point; points are flattened.
        precision: initial P as a multiple of the identity, > 0.

    Shapes: x [B, *shape] → [B].  Raises: ValueError if the precision is not positive.
    """

    def __init__(self, shape: tuple[int, ...], precision: float = 1.0) -> None:
        super().__init__()
        if precision <= 0:
            raise ValueError(f"precision must be > 0, got {precision}")
        size = math.prod(shape)
        self.shape = shape
        self.mean = nn.Parameter(torch.zeros(size))
        self.raw_precision = nn.Parameter(precision * torch.eye(size))

    @property
    def precision(self) -> Tensor:
        """P [D, D]."""
        return 0.5 * (self.raw_precision + self.raw_precision.T)

    def forward(self, x: Tensor) -> Tensor:
        centred = x.flatten(1) - self.mean
        return 0.5 * (centred @ self.precision * centred).sum(1)

    def sweep(self, jet: Jet) -> tuple[Jet, Pullback]:
        """Derivative rule: ∇f = P(x − μ), and Σ_k v_kᵀP v_k."""
        centred = jet.value.flatten(1) - self.mean
        grad = centred @ self.precision
        value = 0.5 * (grad * centred).sum(1)

        def pullback(g: Tensor) -> Tensor:
            return (g.unsqueeze(-1) * grad).view(len(grad), *self.shape)

        if jet.first is None:
            return Jet(value), pullback
        v = jet.first.flatten(2)
        curvature = (v @ self.precision * v).sum(-1).sum(0)
        return Jet(value, (grad * v).sum(-1), curvature.expand_as(value)), pullback

    def log_z(self) -> Tensor | None:
        size = self.mean.numel()
        factor, info = torch.linalg.cholesky_ex(self.precision)
        if info.item() != 0:
            return None
        log_z: Tensor = 0.5 * size * math.log(2 * math.pi) - factor.diagonal().log().sum()
        return log_z

    def sample(self, n: int, rng: torch.Generator) -> Tensor | None:
        """Draw x = μ + L⁻ᵀ z with L Lᵀ = P; None while P is not positive definite."""
        factor, info = torch.linalg.cholesky_ex(self.precision.detach())
        if info.item() != 0:
            return None
        z = torch.randn(self.mean.numel(), n, generator=rng, dtype=factor.dtype, device=factor.device)
        x = torch.linalg.solve_triangular(factor.T, z, upper=True).T
        return torch.add(self.mean.detach(), x).view(n, *self.shape)
