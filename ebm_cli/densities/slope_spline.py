"""A smooth monotone map of each coordinate: a line outside the knots, a polynomial of degree 4 between two of them.

    C(y) = a + ∫ C′,    C′(y) = Σ_k c_k B_k(y),    c_k > 0,

with cubic B-splines B_k of each coordinate's own knots. The first three c_k are equal, and the last three: C′ is
constant before the first knot and after the last one, and C has three continuous derivatives everywhere, so that score
matching may differentiate a density through it. Source of the splines: de Boor (1978), "A practical guide to splines",
chapter IX.
"""

import torch
from torch import Tensor

from ebm_cli.densities.monotone import Bend, Monotone
from ebm_cli.densities.state import take_any_shapes

N_STEPS = 16
"""Steps of the inverse: Newton's doubles the digits near the point, and far from it the interval is halved."""


class SlopeSpline(Monotone):
    """C, coordinate by coordinate; it starts as the identity. Points are flat, [B, D].

    Args:
        size: D.

    Attributes:
        knots: t_0 < … < t_m [D, m + 1].
        pieces: coefficients of C − C(t) in powers of y − t, for the m + 2 pieces [D, m + 2, 5]; t is the knot at the
            left of a piece, and the first knot for the first piece.
    """

    knots: Tensor
    pieces: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        take_any_shapes(self)
        pieces = torch.zeros(size, 2, 5)
        pieces[..., 1] = 1.0
        self.take(torch.zeros(size, 1), pieces, pieces)

    def take(self, knots: Tensor, pieces: Tensor, like: Tensor) -> None:
        """Take other knots and pieces, stored with dtype and device of `like`."""
        self.register_buffer("knots", knots.to(like, copy=True))
        self.register_buffer("pieces", pieces.to(like, copy=True))

    def rescale(self, centre: Tensor, scale: Tensor, like: Tensor) -> None:
        powers = scale.view(-1, 1, 1) ** torch.arange(5).to(scale)
        self.take(torch.addcmul(centre.unsqueeze(1), scale.unsqueeze(1), self.knots), self.pieces / powers, like)

    def forward(self, y: Tensor) -> tuple[Tensor, Tensor]:
        a, b, c, d, e, h = self._piece(y)
        value = a + h * (b + h * (c + h * (d + h * e)))
        return value, (b + h * (2 * c + h * (3 * d + h * 4 * e))).log()

    def bend(self, y: Tensor) -> Bend:
        a, b, c, d, e, h = self._piece(y)
        value = a + h * (b + h * (c + h * (d + h * e)))
        slope = b + h * (2 * c + h * (3 * d + h * 4 * e))
        first = (2 * c + h * (6 * d + h * 12 * e)) / slope
        return Bend(value, slope.log(), first, (6 * d + h * 24 * e) / slope - first.square())

    def inverse(self, z: Tensor) -> Tensor:
        """C⁻¹(z): Newton's steps within the piece, and halves of its interval where they leave it."""
        corners = self.pieces[:, 1:, 0].contiguous()
        at = torch.searchsorted(corners, z.T.contiguous(), right=True)
        a, b, c, d, e = self._gathered(at)
        rise = z - a
        n = self.knots.shape[1]
        start, stop = self.knots.gather(1, (at - 1).clamp_min(0)).T, self.knots.gather(1, at.clamp_max(n - 1)).T
        outside = ((at == 0) | (at == n)).T
        low, high = torch.zeros_like(rise), torch.where(outside, 0.0, stop - start)
        top = corners.gather(1, at.clamp_max(n - 1)).T - a
        h = torch.where(outside, rise / b, high * (rise / top))
        for _ in range(N_STEPS):
            over = h * (b + h * (c + h * (d + h * e))) - rise
            low, high = torch.where(over < 0, h, low), torch.where(over > 0, h, high)
            newton = h - over / (b + h * (2 * c + h * (3 * d + h * 4 * e)))
            inside = (newton >= low) & (newton <= high)
            h = torch.where(outside, h, torch.where(inside, newton, 0.5 * (low + high)))
        return start + h

    def _piece(self, y: Tensor) -> tuple[Tensor, ...]:
        """The five coefficients of each point's piece, and y − t: [B, D] each."""
        at = torch.searchsorted(self.knots, y.detach().T.contiguous(), right=True)
        start = self.knots.gather(1, (at - 1).clamp_min(0)).T
        return *self._gathered(at), y - start

    def _gathered(self, at: Tensor) -> tuple[Tensor, ...]:
        """The coefficients of pieces [D, B], each [B, D]."""
        found = self.pieces.gather(1, at.unsqueeze(-1).expand(-1, -1, 5))
        return found.transpose(0, 1).unbind(-1)


def slope_basis(knots: Tensor) -> Tensor:
    """The m − 1 splines whose coefficients are free, and their integrals, as polynomials of each of m + 2 pieces.

    The first and the last one are sums of three B-splines, and constant outside the knots.

    Args:
        knots: t_0 < … < t_m of each coordinate [D, m + 1], m ≥ 3, float64.

    Returns:
        [D, m + 2, m − 1, 5]: powers 0 to 4 of y − t, of ∫ B from t_0, for pieces as in `SlopeSpline`.
    """
    m = knots.shape[1] - 1
    head = knots[:, :1] + (knots[:, :1] - knots[:, 1:2]) * torch.arange(3, 0, -1).to(knots)
    tail = knots[:, -1:] + (knots[:, -1:] - knots[:, -2:-1]) * torch.arange(1, 4).to(knots)
    t = torch.cat((head, knots, tail), 1)
    # Cox and de Boor's recursion on polynomials: found[:, j, i] are the powers of y − knots[j] of B_i in interval j.
    n_all = t.shape[1] - 1
    found = torch.zeros(len(knots), m, n_all, 4, dtype=knots.dtype)
    for j in range(m):
        found[:, j, j + 3, 0] = 1.0
    for degree in (1, 2, 3):
        new = torch.zeros_like(found)
        for i in range(n_all - degree):
            up, down = t[:, i + degree] - t[:, i], t[:, i + degree + 1] - t[:, i + 1]
            for j in range(max(0, i - 3), min(m, i - 3 + degree + 1)):
                at = knots[:, j]
                rising = _times(found[:, j, i], (at - t[:, i]) / up, 1 / up)
                falling = _times(found[:, j, i + 1], (t[:, i + degree + 1] - at) / down, -1 / down)
                new[:, j, i] = rising + falling
        found = new
    full = found[:, :, : m + 3]
    free = torch.cat((full[:, :, :3].sum(2, True), full[:, :, 3:-3], full[:, :, -3:].sum(2, True)), 2)
    integral = torch.zeros(*free.shape[:3], 5, dtype=knots.dtype)
    integral[..., 1:] = free / torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=knots.dtype)
    width = knots.diff(dim=1)
    powers = torch.stack([width**k for k in range(5)], -1)
    total = (integral * powers.unsqueeze(2)).sum(-1).cumsum(1)
    integral[:, 1:, :, 0] = total[:, :-1]
    ends = torch.zeros(len(knots), 2, m - 1, 5, dtype=knots.dtype)
    ends[:, 0, 0, 1] = ends[:, 1, -1, 1] = 1.0
    ends[:, 1, :, 0] = total[:, -1]
    return torch.cat((ends[:, :1], integral, ends[:, 1:]), 1)


def _times(polynomial: Tensor, constant: Tensor, linear: Tensor) -> Tensor:
    """A polynomial [D, 4] times constant + linear · h, of degree 3 at the most."""
    raised = torch.cat((torch.zeros_like(polynomial[:, :1]), polynomial[:, :-1]), 1)
    return constant.unsqueeze(1) * polynomial + linear.unsqueeze(1) * raised
