"""Whitened coordinates of several runs: `methods.whitening` with one more dimension."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ebm_cli.derivatives import Differentiable, Jet, Pullback, StackedLinear, sweep
from ebm_cli.energies import Energy
from ebm_cli.methods.whitening import Whitening


def in_coordinates(whitenings: Sequence[Whitening | None], energy: Energy, x: Tensor) -> tuple[Energy, Tensor]:
    """The energy of all runs and their points in the coordinates that the losses differentiate in.

    Args:
        whitenings: of the runs; None for all, or for none.
        energy: of points of all, R blocks of rows [R·B, D].
        x: [R, B, *D].

    Returns:
        The energy z ↦ f_r(L_r z + m_r), and the points z of x, both of R blocks of rows; f and x without whitening.
    """
    own = [whitening for whitening in whitenings if whitening is not None]
    if not own:
        return energy, x.flatten(0, 1)
    z = torch.stack([whitening.to_white(rows) for whitening, rows in zip(own, x, strict=True)])
    factors, means = torch.stack([w.factor for w in own]), torch.stack([w.mean for w in own])
    return _WhitenedOfRuns(energy, StackedLinear(factors, means)), z.flatten(0, 1)


class _WhitenedOfRuns(Energy, Differentiable):
    """z ↦ f_r(L_r z + m_r)."""

    needs_whole_batch = True

    def __init__(self, energy: Energy, to_x: StackedLinear) -> None:
        super().__init__()
        self.shape = energy.shape
        self.energy, self.to_x = energy, to_x

    def forward(self, z: Tensor) -> Tensor:
        value: Tensor = self.energy(self.to_x(z))
        return value

    def sweep(self, jet: Jet) -> tuple[Jet, Pullback]:
        """Derivative rule: the rule of a linear layer, then that of f."""
        at, back = self.to_x.sweep(jet)
        out, through = sweep(self.energy, at)
        return out, lambda g: back(through(g))
