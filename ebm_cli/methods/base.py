"""The abstraction of this folder: an objective that trains an energy without its partition function.

A method declares its *players*, sets of parameters with one optimizer each, and every call of `loss` returns one loss
and the player whose turn it is; the loop steps that player. Chains, flows and replay buffers are buffers and
sub-modules of the method: checkpoint and resume need no case of their own. The number of evaluations that a step cost
comes with its loss.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from ebm_cli.densities import Density
from ebm_cli.energies import Energy
from ebm_cli.energies.activations import PIECEWISE_LINEAR
from ebm_cli.samplers import Kernel

EXPLODED = 1e9
"""Size of a loss from which no run has been seen to come back: nearly collinear columns bring score matching to 1e5."""


class Evaluations(NamedTuple):
    """What a step cost, counted per data row: evaluations of f, of ∇_x f, and of second derivatives in x."""

    energy: float = 0.0
    grad: float = 0.0
    laplacian: float = 0.0

    def plus(self, other: "Evaluations") -> "Evaluations":
        """Those of two steps together."""
        return Evaluations(self.energy + other.energy, self.grad + other.grad, self.laplacian + other.laplacian)


@dataclass(frozen=True)
class Symptom:
    """A number of each step that says that training is lost, however finite it is.

    Args:
        metric: a key of `LossOutput.metrics`, or "loss".
        limit: > 0; the symptom shows where the metric's size is above it, or with `below` under it.
        what: what it means, as the first half of a sentence.
        cure: what usually helps.
        below: see `limit`.
        steps: steps in a row that it must show in, ≥ 1.
    """

    metric: str
    limit: float
    what: str
    cure: str
    below: bool = False
    steps: int = 1

    def shows(self, values: Tensor) -> Tensor:
        """In which of these steps [N] → bool [N]."""
        size = values.abs()
        return size < self.limit if self.below else size > self.limit


@dataclass(frozen=True)
class LossOutput:
    """One step's loss, its diagnostics (device scalars), whose turn it is, and what it cost."""

    loss: Tensor
    metrics: Mapping[str, Tensor]
    player: str = "energy"
    evaluations: Evaluations = field(default_factory=Evaluations)


class Method(nn.Module, ABC):
    """An objective. Its own parameters belong to the player "energy" unless `players` says otherwise."""

    needs_soft_edges: ClassVar[bool] = False
    """Whether the objective holds only for data whose density falls to 0 without a jump."""
    comparable: ClassVar[bool] = True
    """Whether the loss on fresh rows says how good an energy is: a game's value and a gradient's surrogate do not."""

    def check(self, energy: Energy, batch_size: int) -> None:
        """Raise ValueError, beginning with the name of the key, for an energy or a batch that it cannot train with."""

    def directions(self, energy: Energy) -> int | None:
        """Along how many directions a step differentiates f twice in x; 0 for gradients alone, None for neither."""
        return None

    @property
    def kernel(self) -> Kernel | None:
        """The transition of the chains that a step runs; None where it runs none."""
        return None

    def symptoms(self) -> tuple[Symptom, ...]:
        """What says that training is lost, beside a loss or a gradient that is not finite."""
        return (Symptom("loss", EXPLODED, "the loss has exploded", "lower optimizer.lr"),)

    def prepare(self, data: Tensor, rng: torch.Generator) -> None:
        """Once, before the first step of a new run (not on resume): fit what must be fitted to data [N, *D]."""

    def players(self, energy: Energy) -> dict[str, list[nn.Parameter]]:
        """Disjoint sets of parameters, one optimizer each."""
        return {"energy": [*energy.parameters(), *self.parameters()]}

    def learning_rates(self) -> dict[str, float]:
        """Learning rates of players that do not use the run's own."""
        return {}

    @abstractmethod
    def loss(self, energy: Energy, x: Tensor, rng: torch.Generator) -> LossOutput:
        """The objective on a batch x [B, *D], in standardised units."""

    def learned_log_z(self) -> Tensor | None:
        """log Z as the method trained it; None where it trains none."""
        return None

    def densities(self) -> dict[str, Density]:
        """Trained densities that deserve an evaluation of their own, by name."""
        return {}

    def proposal(self) -> Density | None:
        """A normalised density that is close to the model: annealing may start from it. None where there is none."""
        return None

    def negatives(self, energy: Energy, x: Tensor, rng: torch.Generator) -> Tensor | None:
        """The points [B, *D] that stand for the model in a step on the batch x; None where no chain is run.

        Nothing of the method changes.
        """
        return None

    def replay(self) -> Tensor | None:
        """Where the chains stand that it keeps from step to step [N, *shape]; None where it keeps none."""
        return None


def require_smooth(energy: Energy) -> None:
    """Refuse an energy whose Hessian is zero almost everywhere.

    Score matching's objective contains tr ∇²f; a piecewise linear activation makes it vanish, and what is minimised is
    ‖∇f‖² alone.
    """
    for module in energy.modules():
        if isinstance(module, PIECEWISE_LINEAR):
            raise ValueError(
                f"energy has a {type(module).__name__} activation: its Hessian is zero almost everywhere, so score "
                "matching learns nothing from it; choose a smooth one (silu, softplus, tanh, gelu)"
            )
