"""Smooth steps far out in each column, by which a trained energy gets the tails of the rows.

A network that is trained on all rows sees a few dozen of them in each tail of a column, and is wrong there. One number
is known well of every tail nevertheless: the share of the rows in it. A density of the form

    p′(x) ∝ p(x) exp(−Σ_i h_i φ_i(x))

with heights h of maximum likelihood has the rows' means of all φ_i, and is the one nearest to p in relative entropy
that has them (Csiszár 1975, Annals of Probability 3(1), 146). With φ a smooth step at a quantile, that mean is a share.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn


class Tails(NamedTuple):
    """Thresholds t, signed widths w, both in standardised units, and heights h, nats: [D, M] each."""

    thresholds: Tensor
    widths: Tensor
    heights: Tensor


class Slopes(NamedTuple):
    """g [B] of points, with its first and second derivative in each coordinate [B, D]."""

    value: Tensor
    first: Tensor
    second: Tensor


class ColumnTails(nn.Module):
    """g(x) = Σ_jk h_jk σ((x_j − t_jk)/w_jk), σ the logistic function; it is bounded, and 0 until `take`.

    They are no part of the module's state: training, which continues from one, knows nothing of them. A checkpoint
    holds them beside it, and a loaded model takes them (`runs.model.load`).

    Args:
        size: D, coordinates of a point.

    Attributes:
        thresholds: t [D, M], standardised units.
        widths: w [D, M], standardised units; positive for a step that begins above t, negative for one below.
        heights: h [D, M], nats.

    Shapes: x [B, D] → [B].
    """

    thresholds: Tensor
    widths: Tensor
    heights: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.take(Tails(*torch.zeros(3, size, 0)))

    def clear(self) -> None:
        """Become 0 everywhere."""
        self.take(Tails(*torch.zeros(3, self.size, 0)))

    @property
    def is_zero(self) -> bool:
        """True as long as nothing was taken."""
        return self.heights.shape[1] == 0

    def take(self, tails: Tails) -> None:
        """Take steps, stored with the dtype and device of those before.

        Raises:
            TypeError: shapes that are not [D, M] of this module.
        """
        if len({value.shape for value in tails}) > 1 or tails.heights.shape[:-1] != (self.size,):
            raise TypeError(f"tails of {self.size} coordinates have the shapes {[list(part.shape) for part in tails]}")
        for name, value in tails._asdict().items():
            like = getattr(self, name, torch.zeros(()))
            self.register_buffer(name, value.detach().to(like, copy=True), persistent=False)

    def steps(self, x: Tensor) -> Tensor:
        """The steps σ((x_j − t_jk)/w_jk) of points [B, D]: [B, D, M]."""
        return ((x.unsqueeze(-1) - self.thresholds) / self.widths).sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        return (self.steps(x) * self.heights).sum((1, 2))

    def slopes(self, x: Tensor) -> Slopes:
        """g and its derivatives at points [B, D], by σ′ = σ(1 − σ) and σ″ = σ′(1 − 2σ)."""
        step, slope = self.steps(x), self.heights / self.widths
        bump = step * (1 - step)
        second = (bump * (1 - 2 * step) * (slope / self.widths)).sum(-1)
        return Slopes((step * self.heights).sum((1, 2)), (bump * slope).sum(-1), second)
