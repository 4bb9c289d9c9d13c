"""Objectives that need nothing of the energy but its values at some points: the loss in two halves.

The first half draws the points, the second computes the loss from the energies there. What evaluates the energy between
them may do so for several runs at once (`replicated.of_energies`).
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from ebm_cli.energies import Energy
from ebm_cli.energies.values import values
from ebm_cli.methods.base import LossOutput, Method

if TYPE_CHECKING:
    from ebm_cli.methods.replicated import Replicated


class Query(NamedTuple):
    """Points whose energies a loss asks for.

    Attributes:
        points: [N, *D], standardised units.
        loss: the loss, from the energies at the points [N].
    """

    points: Tensor
    loss: Callable[[Tensor], LossOutput]


class OfEnergies(Method):
    """An objective whose loss is `query`."""

    @abstractmethod
    def query(self, energy: Energy, x: Tensor, rng: torch.Generator) -> Query:
        """Draw the points of a step on a batch x [B, *D].

        Only the energies at these points may be differentiated in the parameters of the energy.
        """

    def loss(self, energy: Energy, x: Tensor, rng: torch.Generator) -> LossOutput:
        points, loss = self.query(energy, x, rng)
        return loss(values(energy, points))

    def replicated(self) -> "type[Replicated[Any]]":
        # It imports this module.
        from ebm_cli.methods.replicated.of_energies import ReplicatedOfEnergies

        return ReplicatedOfEnergies
