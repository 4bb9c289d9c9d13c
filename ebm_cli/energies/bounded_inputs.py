"""Inputs of a network that stay bounded wherever a point lies, and are white over the data."""

import torch
from torch import Tensor, nn

from ebm_cli.densities.moments import Moments
from ebm_cli.derivatives import Differentiable, Jet, Pullback, sweep

NORMAL_QUARTILES = 1.349
"""q₇₅ − q₂₅ of N(0, 1)."""


class BoundedInputs(nn.Module, Differentiable):
    """u(x) = L⁻¹(b tanh((x − c)/(b s)) − m), a smooth map into a bounded set.

    Centre c and scale s are median and quartiles of each coordinate, (q₇₅ − q₂₅)/1.349, which rows far out do not move;
    m and LLᵀ are mean and covariance of the bounded coordinates over the data. Where |x − c| is small against b s the
    map is affine, and u has zero mean and unit covariance over the data; far out it is constant.

    Args:
        size: D, coordinates of a point.
        data: rows [N, D], standardised units; None is N(0, I), until a state is loaded.
        bound: b > 0, robust standard deviations.

    Shapes: x [B, D] → [B, D].  Raises: ValueError if bound is not positive.
    """

    centre: Tensor
    scale: Tensor
    mean: Tensor
    whiten: Tensor

    def __init__(self, size: int, data: Tensor | None, bound: float) -> None:
        super().__init__()
        if not 0 < bound < float("inf"):
            raise ValueError(f"bound must be > 0, got {bound}")
        self.tanh = nn.Tanh()
        rows = torch.zeros(0, size) if data is None else data.detach().cpu().flatten(1).double()
        centre, scale = _robust(rows)
        fit = Moments.standard(size)
        if len(rows):
            fit = Moments.from_rows(bound * torch.tanh((rows - centre) / (bound * scale)))
        # 1/(b s) and b L⁻¹, which absorb the bound.
        values = {
            "centre": centre,
            "scale": 1 / (bound * scale),
            "mean": fit.mean / bound,
            "whiten": bound * fit.whiten(),
        }
        for name, value in values.items():
            self.register_buffer(name, value.to(torch.get_default_dtype()))

    def forward(self, x: Tensor) -> Tensor:
        bounded: Tensor = self.tanh((x - self.centre) * self.scale)
        return (bounded - self.mean) @ self.whiten.T

    def sweep(self, jet: Jet) -> tuple[Jet, Pullback]:
        """Derivative rule: affine, elementwise, linear."""
        scale, whiten = self.scale, self.whiten
        first = None if jet.first is None else jet.first * scale
        second = None if jet.second is None else jet.second * scale
        out, through = sweep(self.tanh, Jet((jet.value - self.centre) * scale, first, second))
        bent = Jet(
            (out.value - self.mean) @ whiten.T,
            None if out.first is None else out.first @ whiten.T,
            None if out.second is None else out.second @ whiten.T,
        )
        return bent, lambda g: through(g @ whiten) * scale


def _robust(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Median and robust standard deviation of each column [D]; of half of its moments' one for a column with ties."""
    n, size = rows.shape
    if n == 0:
        return torch.zeros(size, dtype=torch.float64), torch.ones(size, dtype=torch.float64)
    ordered = rows.sort(0).values
    low, middle, high = (ordered[min(n - 1, int(share * n))] for share in (0.25, 0.5, 0.75))
    spread = (high - low) / NORMAL_QUARTILES
    # A column of which half the values are equal has no quartiles; without rows far out the standard deviation serves.
    deviation = (rows - middle).clamp(-10, 10).square().mean(0).sqrt()
    scale = torch.where(spread > 0.1 * deviation, spread, deviation)
    return middle, torch.where(scale > 0, scale, 1.0)
