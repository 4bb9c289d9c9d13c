"""A monotone spline of the line: the layer of a flow in one dimension, where there is nothing to couple.

Between neighbouring knots the map is a quotient of two quadratic polynomials, which is monotone, continuously
differentiable and inverted in closed form; beyond the first and the last knot it is the identity. Sources: Gregory &
Delbourgo (1982), "Piecewise rational quadratic interpolation to monotonic data"; Durkan, Bekasov, Murray &
Papamakarios (2019), "Neural spline flows", eq. 4–8.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SMALLEST = 1e-3
"""Smallest slope at a knot, and smallest bin in units of the mean bin: the map stays invertible in single precision."""

GAIN = 10.0
"""Factor on the parameters: the logarithm of a bin's size has to move by units where the weight of a network moves by
hundredths, and Adam moves all parameters alike."""


class Bin(NamedTuple):
    """The bins of points, [B, 1] each: lower corner (x, y), width, height, and the slopes at both ends."""

    x: Tensor
    y: Tensor
    width: Tensor
    height: Tensor
    low: Tensor
    high: Tensor


class Spline(nn.Module):
    """x ↦ y, monotone; in a bin [x_k, x_k + w] with height h, mean slope s = h/w, end slopes d, d', ξ = (x − x_k)/w

        y = y_k + h (s ξ² + d ξ(1 − ξ)) / (s + (d + d' − 2s) ξ(1 − ξ))

    The identity at first, and always beyond ±bound.

    Args:
        n_bins: K ≥ 1.
        bound: of the knots, standardised units, > 0.
    """

    def __init__(self, n_bins: int, bound: float = 6.0) -> None:
        super().__init__()
        self.bound = bound
        self.widths = nn.Parameter(torch.zeros(n_bins))
        self.heights = nn.Parameter(torch.zeros(n_bins))
        self.slopes = nn.Parameter(torch.zeros(n_bins - 1))

    def forward(self, x: Tensor, inverse: bool = False) -> tuple[Tensor, Tensor]:
        """Compute the moved points and log|slope| of this direction: x [B, 1] → [B, 1], [B, 1]."""
        inside = x.abs() < self.bound
        # Points outside take a place inside, because `where` also differentiates what it discards.
        at = torch.where(inside, x, 0)
        bin_, xi = self._place(at, inverse)
        s, mixed = bin_.height / bin_.width, xi * (1 - xi)
        denominator = s + (bin_.high + bin_.low - 2 * s) * mixed
        slope = s.square() * (bin_.high * xi.square() + 2 * s * mixed + bin_.low * (1 - xi).square())
        log_slope = slope.log() - 2 * denominator.log()
        if inverse:
            moved, log_slope = bin_.x + xi * bin_.width, -log_slope
        else:
            moved = bin_.y + bin_.height * (s * xi.square() + bin_.low * mixed) / denominator
        return torch.where(inside, moved, x), torch.where(inside, log_slope, 0)

    def _place(self, at: Tensor, inverse: bool) -> tuple[Bin, Tensor]:
        """The bins of points, and their ξ."""
        x, y = _knots(self.widths, self.bound), _knots(self.heights, self.bound)
        # The slopes are 1 where their parameters are 0, and 1 at both ends, where the identity begins.
        one = math.log(math.expm1(1 - SMALLEST))
        d = F.pad(SMALLEST + F.softplus(GAIN * self.slopes + one), (1, 1), value=1.0)
        k = torch.searchsorted((y if inverse else x)[1:-1].detach(), at.detach(), right=True)
        bin_ = Bin(x[k], y[k], x.diff()[k], y.diff()[k], d[k], d[k + 1])
        if not inverse:
            return bin_, (at - bin_.x) / bin_.width
        s, rise = bin_.height / bin_.width, at - bin_.y
        bend = rise * (bin_.high + bin_.low - 2 * s)
        a, b, c = bin_.height * (s - bin_.low) + bend, bin_.height * bin_.low - bend, -s * rise
        # The form of the quadratic formula that does not cancel; rounding may make the root's argument negative.
        root = (b.square() - 4 * a * c).clamp_min(0).sqrt()
        return bin_, 2 * c / (-b - root)


def _knots(raw: Tensor, bound: float) -> Tensor:
    """K + 1 increasing knots from −bound to bound."""
    share = SMALLEST / len(raw) + (1 - SMALLEST) * (GAIN * raw).softmax(0)
    inner = 2 * bound * share.cumsum(0)[:-1] - bound
    return F.pad(F.pad(inner, (1, 0), value=-bound), (0, 1), value=bound)
