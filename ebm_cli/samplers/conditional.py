"""A chain on a conditional: some coordinates of a point are kept, the others are sampled given them.

With x = (x_free, x_kept) and x_kept given,

    p(x_free | x_kept) ∝ exp(−f(x_free, x_kept)),

so z ↦ f(z, x_kept) is the energy of the conditional, and a kernel that runs on z, the free coordinates alone, is as
exact there as it is on f. A chain of all coordinates in which the kept ones are put back after each step is not: its
Metropolis ratio weighs a move that is then undone in part.

The rows of a batch may keep different coordinates, and different numbers of them. A row with fewer free ones than
another has places left over in z; each gets the energy ½z², which makes it a standard normal number that is independent
of everything.
"""

import torch
from torch import Tensor

from ebm_cli.derivatives import EnergyFn


class Conditional:
    """z ↦ f(x), where x has z in its free coordinates: the energy of p(x_free | x_kept), an `EnergyFn` of z [B, F].

    Args:
        energy: f.
        given: the points whose kept coordinates are held [B, *D]; what the others hold does not matter.
        keep: which coordinates of each point are kept [B, *D], bool.

    Raises:
        ValueError: shapes that differ, or a row that keeps all its coordinates.

    Shapes: z [B, F], F the most free coordinates of a row → [B].  Cost: that of f.
    """

    def __init__(self, energy: EnergyFn, given: Tensor, keep: Tensor) -> None:
        if keep.shape != given.shape:
            raise ValueError(f"keep must have the shape {tuple(given.shape)} of given, got {tuple(keep.shape)}")
        n_free = (~keep).flatten(1).sum(1)
        if not bool((n_free > 0).all()):
            raise ValueError(f"keep must leave a coordinate free, row {int(n_free.argmin())} keeps all")
        self.energy = energy
        self.given = given
        # Free coordinates first, in their order; behind them, where a row has fewer than others, kept ones.
        self._index = keep.flatten(1).to(torch.uint8).argsort(dim=1, stable=True)[:, : int(n_free.max())]
        self.free = ~keep.flatten(1).gather(1, self._index)
        """Which places of z hold a coordinate of x [B, F]; the others are left over."""

    def __call__(self, z: Tensor) -> Tensor:
        spare = z.masked_fill(self.free, 0.0)
        return self.energy(self.point(z)) + 0.5 * spare.square().sum(1)

    def point(self, z: Tensor) -> Tensor:
        """x, whose kept coordinates are those given, bit for bit: [B, F] → [B, *D]."""
        flat = self.given.flatten(1)
        placed = torch.where(self.free, z, flat.gather(1, self._index))
        return flat.scatter(1, self._index, placed).view_as(self.given)

    def coordinates(self, x: Tensor) -> Tensor:
        """The free coordinates of x, 0 in the places left over: [B, *D] → [B, F]."""
        return x.flatten(1).gather(1, self._index).masked_fill(~self.free, 0.0)


def posterior(energy: EnergyFn, observed: Tensor, std: Tensor) -> EnergyFn:
    """x ↦ f(x) + ½ Σ_j ((x_j − y_j)/s_j)²: the energy of p(x | y) for an observation y = x + N(0, diag s²).

    Bayes' rule with exp(−f) as the prior, up to the constant log p(y).

    Args:
        energy: f.
        observed: y, one for each point [B, *D].
        std: s > 0, in the units of x, [*D].
    """

    def of(x: Tensor) -> Tensor:
        return energy(x) + 0.5 * ((x - observed) / std).square().flatten(1).sum(1)

    return of
