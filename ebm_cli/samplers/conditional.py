"""Chains on a conditional distribution: some coordinates of a point are fixed, the others are sampled given them.

With x = (x_free, x_kept) and x_kept given,

    p(x_free | x_kept) ∝ exp(−f(x_free, x_kept)),

so that z ↦ f(z, x_kept) is the energy of the conditional distribution, and a kernel that runs on z, the free
coordinates alone, is as exact there as it is on f. A chain of all coordinates whose kept ones are reset after each step
is not exact: its Metropolis ratio weighs a move that is then undone in part.

The rows of a batch may keep different coordinates, and different numbers of them. A row with fewer free coordinates
than others has unused places in z. Each of those has the energy ½z², which makes it a standard normal number,
independent of everything else.
"""

from typing import ClassVar

import torch
from torch import Tensor

from ebm_cli.derivatives import EnergyFn


class Conditional:
    """z ↦ f(x), where x has z in its free coordinates: the energy of p(x_free | x_kept), an `EnergyFn` of z [B, F].

    Args:
        energy: f.
        given: points with the values of the kept coordinates [B, *D]; their other coordinates have no effect.
        keep: bool [B, *D], true for the coordinates of each point that are kept.

    Raises:
        ValueError: the shapes differ, or a row keeps all its coordinates.

    Shapes: z [B, F], F the largest number of free coordinates of a row → [B].  Cost: that of f.
    """

    is_of_chains: ClassVar[bool] = True
    """Each row has a distribution of its own: a batch has as many rows as there are chains, in their order."""

    def __init__(self, energy: EnergyFn, given: Tensor, keep: Tensor) -> None:
        if keep.shape != given.shape:
            raise ValueError(f"keep must have the shape {tuple(given.shape)} of given, got {tuple(keep.shape)}")
        n_free = (~keep).flatten(1).sum(1)
        if not bool((n_free > 0).all()):
            raise ValueError(f"keep must leave a coordinate free, row {int(n_free.argmin())} keeps all")
        self.energy = energy
        self.given = given
        # Free coordinates first, in their order; a row with fewer of them than others is filled up with kept ones.
        self._index = keep.flatten(1).to(torch.uint8).argsort(dim=1, stable=True)[:, : int(n_free.max())]
        self.free = ~keep.flatten(1).gather(1, self._index)
        """True for places of z that hold a coordinate of x [B, F]; the others are unused."""

    def __call__(self, z: Tensor) -> Tensor:
        unused = z.masked_fill(self.free, 0.0)
        return self.energy(self.point(z)) + 0.5 * unused.square().sum(1)

    def point(self, z: Tensor) -> Tensor:
        """The point x of z, with the kept coordinates bit for bit as given: [B, F] → [B, *D]."""
        flat = self.given.flatten(1)
        placed = torch.where(self.free, z, flat.gather(1, self._index))
        return flat.scatter(1, self._index, placed).view_as(self.given)

    def coordinates(self, x: Tensor) -> Tensor:
        """The free coordinates of x, and 0 in unused places: [B, *D] → [B, F]."""
        return x.flatten(1).gather(1, self._index).masked_fill(~self.free, 0.0)


def posterior(energy: EnergyFn, observed: Tensor, std: Tensor) -> EnergyFn:
    """Make the energy of p(x | y) for an observation y = x + N(0, diag s²): x ↦ f(x) + ½ Σ_j ((x_j − y_j)/s_j)².

    This is Bayes' rule with the prior exp(−f), up to the constant log p(y).

    Args:
        energy: f.
        observed: y, one observation for each point [B, *D].
        std: s > 0, in the units of x, [*D].
    """

    return _Posterior(energy, observed, std)


class _Posterior:
    """The energy of `posterior`."""

    is_of_chains: ClassVar[bool] = True

    def __init__(self, energy: EnergyFn, observed: Tensor, std: Tensor) -> None:
        self.energy, self.observed, self.std = energy, observed, std

    def __call__(self, x: Tensor) -> Tensor:
        return self.energy(x) + 0.5 * ((x - self.observed) / self.std).square().flatten(1).sum(1)
