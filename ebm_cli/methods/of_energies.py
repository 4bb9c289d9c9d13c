"""Objectives that need nothing of the energy but its values at some points: the loss in two halves.

The first half draws the points, the second computes the loss from the energies there. What evaluates the energy between
them may do so for several runs at once (`replicated.of_energies`).
"""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from ebm_cli.energies import Energy
from ebm_cli.energies.values import native_evaluation
from ebm_cli.methods.base import LossOutput, Method

if TYPE_CHECKING:
    from ebm_cli.methods.replicated import Replicated


class Query(NamedTuple):
    """Points whose energies a loss asks for.

    Attributes:
        points: [N, *D], standardised units.
        loss: the loss, from the energies at the points [N].
        with_slope: the same without a graph, and the derivative of the loss in each energy [N]; None leaves that to
            autograd.
    """

    points: Tensor
    loss: Callable[[Tensor], LossOutput]
    with_slope: Callable[[Tensor], tuple[LossOutput, Tensor]] | None = None


class OfEnergies(Method):
    """An objective whose loss is `query`."""

    @abstractmethod
    def query(self, energy: Energy, x: Tensor, rng: torch.Generator) -> Query:
        """Draw the points of a step on a batch x [B, *D].

        Only the energies at these points may be differentiated in the parameters of the energy.
        """

    def loss(self, energy: Energy, x: Tensor, rng: torch.Generator) -> LossOutput:
        points, loss, with_slope = self.query(energy, x, rng)
        native = native_evaluation(energy, points)
        if native is None:
            return loss(energy(points))
        if with_slope is None:
            return loss(native.differentiable())
        # As one node of the graph: its small operators would take a tenth of the step.
        with torch.no_grad():
            out, slope = with_slope(native.values)
        return replace(out, loss=native.of_loss(out.loss, slope))

    def replicated(self) -> "type[Replicated[Any]]":
        # It imports this module.
        from ebm_cli.methods.replicated.of_energies import ReplicatedOfEnergies

        return ReplicatedOfEnergies
