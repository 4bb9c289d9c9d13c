"""The losses of several runs, computed together."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Generic, NamedTuple, Self, TypeVar

import torch
from torch import Tensor

from ebm_cli.energies import Energy
from ebm_cli.energies.base import NetworkEnergy
from ebm_cli.methods.base import Evaluations, LossOutput, Method

M = TypeVar("M", bound=Method)


class Losses(NamedTuple):
    """A `LossOutput` of R runs.

    Attributes:
        loss: [R], the r-th differentiable in the parameters of run r.
        metrics: of each run, by name.
        evaluations: cost of a step of each.
    """

    loss: Tensor
    metrics: Sequence[Mapping[str, Tensor]]
    evaluations: Sequence[Evaluations]

    @classmethod
    def of(cls, loss: Tensor, metrics: Mapping[str, Tensor], evaluations: Evaluations) -> Self:
        """The losses [R] of runs with metrics [R] and a step of one cost."""
        values = {name: of_runs.unbind() for name, of_runs in metrics.items()}
        each = [{name: of_runs[r] for name, of_runs in values.items()} for r in range(len(loss))]
        return cls(loss, each, [evaluations] * len(loss))

    def split(self, player: str) -> list[LossOutput]:
        """The result of each run, in a step of this player."""
        parts = zip(self.loss.detach().unbind(), self.metrics, self.evaluations, strict=True)
        return [LossOutput(loss, metrics, player, evaluations) for loss, metrics, evaluations in parts]


class Replicated(ABC, Generic[M]):
    """The objective of R runs in which the same player has its turn.

    Random numbers are drawn as each run's own loss draws them: from its generator, in the same order.

    Args:
        methods: of the runs, of one class and with equal settings.
        energies: of the runs; the weights are those of `energy`, and only this is to be differentiated in them.
        energy: of all runs, of points of all: R blocks of rows [R·B, *shape].
        own: parameters of the methods, [R, *shape] each, in the order of their players: first those that learn with the
            energy.
    """

    def __init__(
        self, methods: Sequence[M], energies: Sequence[Energy], energy: NetworkEnergy, own: Sequence[Tensor]
    ) -> None:
        self.methods, self.energies, self.energy, self.own = list(methods), list(energies), energy, list(own)

    @staticmethod
    @abstractmethod
    def refusal(method: M) -> str | None:
        """The setting of the method that is not supported, as `method.KEY=VALUE`; None if all are."""

    @staticmethod
    def begin_step(methods: Sequence[M]) -> list[str]:
        """Decide whose turn the step is that begins, in each run; returns the players.

        Those whose player is the same then have one objective.
        """
        return ["energy"] * len(methods)

    @abstractmethod
    def losses(self, x: Tensor, rngs: Sequence[torch.Generator]) -> Losses:
        """Evaluate the objectives on the batches of all runs.

        Args:
            x: [R, B, *shape], standardised units.
            rngs: of the runs.
        """
