"""The losses of several runs, computed together."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Generic, NamedTuple, TypeVar

import torch
from torch import Tensor

from ebm_cli.energies.base import NetworkEnergy
from ebm_cli.methods.base import Evaluations, LossOutput, Method

M = TypeVar("M", bound=Method)


class Losses(NamedTuple):
    """A `LossOutput` of R runs.

    Attributes:
        loss: [R], the r-th differentiable in the parameters of run r.
        metrics: [R] by name.
        evaluations: cost of a step of one run.
    """

    loss: Tensor
    metrics: Mapping[str, Tensor]
    evaluations: Evaluations

    def split(self) -> list[LossOutput]:
        """The result of each run."""
        metrics = {name: values.unbind() for name, values in self.metrics.items()}
        return [
            LossOutput(loss, {name: values[r] for name, values in metrics.items()}, evaluations=self.evaluations)
            for r, loss in enumerate(self.loss.detach().unbind())
        ]


class Replicated(ABC, Generic[M]):
    """The objective of R runs with one player, the energy.

    Random numbers are drawn as each run's own loss draws them: from its generator, in the same order.

    Args:
        methods: of the runs, of one class and with equal settings.
        energy: of all runs, of points of all: R blocks of rows [R·B, *shape].
        own: parameters of the methods, [R, *shape] each, in their order.
    """

    def __init__(self, methods: Sequence[M], energy: NetworkEnergy, own: Sequence[Tensor]) -> None:
        self.methods, self.energy, self.own = list(methods), energy, list(own)

    @staticmethod
    @abstractmethod
    def refusal(method: M) -> str | None:
        """The setting of the method that is not supported, as `method.KEY=VALUE`; None if all are."""

    @abstractmethod
    def losses(self, x: Tensor, rngs: Sequence[torch.Generator]) -> Losses:
        """Evaluate the objectives on the batches of all runs.

        Args:
            x: [R, B, *shape], standardised units.
            rngs: of the runs.
        """
