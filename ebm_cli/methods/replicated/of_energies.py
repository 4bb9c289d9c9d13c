"""Objectives of energies alone, of several runs: one evaluation of the points of all."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ebm_cli.energies.base import NetworkEnergy
from ebm_cli.methods.of_energies import OfEnergies, Query
from ebm_cli.methods.replicated.base import Losses, Replicated


class ReplicatedOfEnergies(Replicated[OfEnergies]):
    """The losses of the runs, each from the energies at its own points."""

    @staticmethod
    def refusal(method: OfEnergies) -> str | None:
        # They are the runs' own, and only what is stacked gets a gradient here.
        has_own = any(parameter.requires_grad for parameter in method.parameters())
        return "a method that has parameters of its own" if has_own else None

    def losses(self, x: Tensor, rngs: Sequence[torch.Generator]) -> Losses:
        given = zip(self.methods, self.energies, x, rngs, strict=True)
        return answered(self.energy, [method.query(energy, rows, rng) for method, energy, rows, rng in given])


def answered(energy: NetworkEnergy, queries: Sequence[Query]) -> Losses:
    """The losses of runs from their queries, which have as many points each.

    Args:
        energy: of all runs.
        queries: of the runs.

    Raises:
        ValueError: they differ in their number of points, and a block of the energy is not one run's.
    """
    if len({len(query.points) for query in queries}) > 1:
        raise ValueError("a query of replicas must have as many points in every run")
    values = energy(torch.cat([query.points for query in queries])).chunk(len(queries))
    found = [query.loss(value) for query, value in zip(queries, values, strict=True)]
    return Losses(
        torch.stack([out.loss for out in found]), [out.metrics for out in found], [out.evaluations for out in found]
    )
