"""Score matching in whitened coordinates, where no direction of the data is steeper than another.

The Fisher divergence weighs a direction by the inverse square of the data's scale along it: of nearly collinear columns
the few narrowest directions are all that the loss sees. With m the data's mean and S = LLᵀ their covariance, score
matching of z = L⁻¹(x − m) with the energy f(Lz + m) is

    J(θ) = E_data[ ½‖Lᵀ∇f(x)‖² − tr(Lᵀ∇²f(x)L) ]

It has the same minimum where the model can hold the data, and does not change when columns are mixed by an invertible
matrix. Source: Barp, Briol, Duncan, Girolami & Mackey (2019), "Minimum Stein discrepancy estimators", arXiv:1906.08283
(diffusion score matching, here with the constant diffusion matrix L).
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ebm_cli.densities.moments import RIDGE, Moments
from ebm_cli.derivatives import Differentiable, Jet, Pullback, sweep
from ebm_cli.energies import Energy


class Whitening(nn.Module):
    """What a loss takes in place of f and x: the energy z ↦ f(Lz + m), and z = L⁻¹(x − m).

    Args:
        shape: shape of one point, () where it is not known yet.
        data: rows [N, D] that m and L are fitted to, standardised units. None is the identity, for what is loaded next.

    Raises:
        ValueError: points that are no vectors.
    """

    factor: Tensor
    mean: Tensor

    def __init__(self, shape: tuple[int, ...], data: Tensor | None) -> None:
        super().__init__()
        if len(shape) > 1:
            raise ValueError(f"whiten must be false for points of the shape {list(shape)}: it is for rows of columns")
        fit = Moments.standard(math.prod(shape or (0,))) if data is None else Moments.of(data.cpu(), RIDGE)
        self.register_buffer("factor", fit.factor.to(torch.get_default_dtype()))
        self.register_buffer("mean", fit.mean.to(torch.get_default_dtype()))

    def of(self, energy: Energy, x: Tensor) -> tuple[Energy, Tensor]:
        """The energy and the points, x [B, D] → [B, D], in whitened coordinates."""
        z = torch.linalg.solve_triangular(self.factor, (x - self.mean).T, upper=False).T
        return _Whitened(energy, self.factor, self.mean), z


class _Whitened(Energy, Differentiable):
    """z ↦ f(Lz + m)."""

    def __init__(self, energy: Energy, factor: Tensor, mean: Tensor) -> None:
        super().__init__()
        self.shape = energy.shape
        self.energy, self.factor, self.mean = energy, factor, mean
        self.compiled = energy.compiled

    def forward(self, x: Tensor) -> Tensor:
        value: Tensor = self.energy(F.linear(x, self.factor, self.mean))
        return value

    def sweep(self, jet: Jet) -> tuple[Jet, Pullback]:
        """Derivative rule: that of a linear layer, then that of f."""
        first = None if jet.first is None else F.linear(jet.first, self.factor)
        second = None if jet.second is None else F.linear(jet.second, self.factor)
        jet, through = sweep(self.energy, Jet(F.linear(jet.value, self.factor, self.mean), first, second))
        return jet, lambda g: through(g) @ self.factor
