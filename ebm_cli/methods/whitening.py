"""Score matching in whitened coordinates, in which the data have the same scale along all directions.

The Fisher divergence weighs a direction by the inverse square of the data's scale along it: with nearly collinear
columns the few narrowest directions dominate the loss. With m the data's mean and S = LLᵀ their covariance, score
matching of z = L⁻¹(x − m) with the energy f(Lz + m) is

    J(θ) = E_data[ ½‖Lᵀ∇f(x)‖² − tr(Lᵀ∇²f(x)L) ]

It has the same minimum if the model contains the data's distribution, and it does not change when an invertible matrix
mixes the columns. Source: Barp, Briol, Duncan, Girolami & Mackey (2019), "Minimum Stein discrepancy estimators",
arXiv:1906.08283 (diffusion score matching, here with the constant diffusion matrix L).
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ebm_cli.densities.moments import RIDGE, Moments
from ebm_cli.derivatives import Differentiable, Jet, Pullback, sweep
from ebm_cli.energies import Energy


class Whitening(nn.Module):
    """The change of coordinates z = L⁻¹(x − m), for points and energies.

    Args:
        shape: shape of one point; () if it is not known yet.
        data: rows [N, D] that m and L are fitted to, standardised units. None is the identity, until a state is loaded.

    Raises:
        ValueError: the points are not vectors.
    """

    factor: Tensor
    mean: Tensor

    def __init__(self, shape: tuple[int, ...], data: Tensor | None) -> None:
        super().__init__()
        if len(shape) > 1:
            raise ValueError(
                f"whiten must be false for points of shape {list(shape)}: only rows of columns can be whitened"
            )
        fit = Moments.standard(math.prod(shape or (0,))) if data is None else Moments.from_rows(data.cpu(), RIDGE)
        self.register_buffer("factor", fit.factor.to(torch.get_default_dtype()))
        self.register_buffer("mean", fit.mean.to(torch.get_default_dtype()))

    def transform(self, energy: Energy, x: Tensor) -> tuple[Energy, Tensor]:
        """Return the energy z ↦ f(Lz + m) and the points z [B, D] of x [B, D]."""
        return _Whitened(energy, self.factor, self.mean), self.to_white(x)

    def to_white(self, x: Tensor) -> Tensor:
        """The points z = L⁻¹(x − m) of x [B, D]."""
        z: Tensor = torch.linalg.solve_triangular(self.factor, (x - self.mean).T, upper=False).T
        return z

    def from_white(self, z: Tensor) -> Tensor:
        """The points x = Lz + m of z [B, D]."""
        return F.linear(z, self.factor, self.mean)


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
        """Derivative rule: the rule of a linear layer, then that of f."""
        first = None if jet.first is None else F.linear(jet.first, self.factor)
        second = None if jet.second is None else F.linear(jet.second, self.factor)
        jet, through = sweep(self.energy, Jet(F.linear(jet.value, self.factor, self.mean), first, second))
        return jet, lambda g: through(g) @ self.factor
