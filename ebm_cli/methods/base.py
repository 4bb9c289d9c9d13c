"""The abstraction of this package: an objective that trains an energy without its partition function.

A method declares its *players*, disjoint sets of parameters with one optimizer each. Every call of `loss` returns one
loss and the player whose turn it is, which the training loop then steps. Chains, flows and replay buffers are buffers
and sub-modules of the method, so that checkpoint and resume need no special case. The number of evaluations of a step
comes with its loss.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from ebm_cli.densities import Density
from ebm_cli.energies import Energy
from ebm_cli.energies.activations import PIECEWISE_LINEAR
from ebm_cli.samplers import Kernel
from ebm_cli.system.ranks import ONE, Ranks

if TYPE_CHECKING:
    from ebm_cli.methods.replicated import Replicated

LOSS_LIMIT = 1e9
"""Size of a loss from which no run was seen to recover; nearly collinear columns bring score matching to 1e5."""


class Evaluations(NamedTuple):
    """Cost of a step, counted per data row: evaluations of f, of ∇_x f, and of second derivatives in x."""

    energy: float = 0.0
    grad: float = 0.0
    laplacian: float = 0.0

    def add(self, other: "Evaluations") -> "Evaluations":
        """Sum of the evaluations of two steps."""
        return Evaluations(self.energy + other.energy, self.grad + other.grad, self.laplacian + other.laplacian)


@dataclass(frozen=True)
class Symptom:
    """A metric whose value shows that training has diverged, even if it is finite.

    Args:
        metric: a key of `LossOutput.metrics`, or "loss".
        limit: > 0; the symptom shows where the absolute value of the metric is above it (with `below`: under it).
        meaning: its interpretation, the first half of a sentence.
        cure: usual remedy, in the imperative.
        below: see `limit`.
        steps: consecutive steps that must show it, ≥ 1.
        over: a second metric, by which the first is divided; None to take it as it is.
        least: with `over`: absolute value of the first metric under which the symptom does not show, ≥ 0.
        is_of_data: True if its cause is in the data, so that no repetition with smaller steps avoids it.
        names_step_size: whether it is the step size of the chains that is too large, which no learning rate cures.
    """

    metric: str
    limit: float
    meaning: str
    cure: str
    below: bool = False
    steps: int = 1
    over: str | None = None
    least: float = 0.0
    is_of_data: bool = False
    names_step_size: bool = False

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that it is read from."""
        return (self.metric,) if self.over is None else (self.metric, self.over)

    def detect(self, values: Tensor, over: Tensor | None = None) -> Tensor:
        """Mark the steps that show it: values of `metric` and, where it is named, of `over` [N] → bool [N]."""
        size = values.abs()
        if over is not None:
            return (size > self.limit * over.abs()) & (size > self.least)
        return size < self.limit if self.below else size > self.limit


@dataclass(frozen=True)
class LossOutput:
    """Result of one evaluation of the objective.

    Attributes:
        loss: [], differentiable in the parameters of `player`.
        metrics: diagnostics by name, scalars on the device.
        player: whose turn it is.
        evaluations: cost of the step.
    """

    loss: Tensor
    metrics: Mapping[str, Tensor]
    player: str = "energy"
    evaluations: Evaluations = field(default_factory=Evaluations)


class Method(nn.Module, ABC):
    """A training objective. Its own parameters belong to the player "energy" unless `players` says otherwise."""

    needs_continuous_density: ClassVar[bool] = False
    """True if the objective is valid only for data whose density falls to 0 without a jump."""
    has_comparable_loss: ClassVar[bool] = True
    """True if the loss on fresh rows measures the quality of an energy. The value of a game and the surrogate of a
    gradient do not."""
    divided: ClassVar[tuple[str, ...] | None] = None
    """Entries of the state that the processes of a run (`ranks`) do not have in common: each has its rows of a tensor
    with rows, and its own number. None if the loss is not the mean of what the processes compute on their rows."""
    ranks: Ranks = ONE
    """The processes that train together; what a loss needs to know in common goes through them."""
    n_chain_steps: int = 0
    """Steps of the chains of a training step, ≥ 0; there are as many chains as rows."""

    @property
    def score_scale(self) -> float | None:
        """Factor of the loss over ½ E‖∇f + score‖² of score matching; None if it is another objective."""
        return None

    def in_coordinates(self, energy: Energy, x: Tensor) -> tuple[Energy, Tensor]:
        """The energy and the points [B, *D] in the coordinates that the loss differentiates in."""
        return energy, x

    def validate(self, energy: Energy, batch_size: int) -> None:
        """Raise ValueError, beginning with the name of the key, for an energy or a batch that it cannot train with."""

    def divide(self, ranks: Ranks) -> None:
        """Keep the part of one of several processes; called once, before anything is fitted or drawn.

        Raises:
            ValueError: this objective cannot be divided; the message begins with a key.
        """
        if ranks.size > 1 and self.divided is None:
            raise ValueError(
                f"parallel.ranks must be 1 with method={type(self).__name__.lower()}: it does not say how it is divided"
            )
        self.ranks = ranks
        self._replace_rows(lambda rows: ranks.part(rows).clone())

    def unite(self) -> None:
        """Take the parts of all processes, at the end of training: the opposite of `divide`, and all must call it."""
        self._replace_rows(self.ranks.join)
        self.ranks = ONE

    def _replace_rows(self, change: Callable[[Tensor], Tensor]) -> None:
        """Replace what the processes have divided among them; nothing in a run of one process."""
        held = dict(self.named_buffers())
        for name in self.divided or ():
            if self.ranks.size > 1 and name in held and held[name].dim():
                place, _, own = name.rpartition(".")
                setattr(self.get_submodule(place), own, change(held[name]))

    def replicated(self) -> "type[Replicated[Any]] | None":
        """The objective of several runs of this class, computed together; None if their steps are taken one by one.

        It is asked for where the class declares it itself: a subclass may have another loss.
        """
        return None

    def n_directions(self, energy: Energy) -> int | None:
        """Directions along which a step differentiates f twice in x; 0 for gradients alone, None for no derivative."""
        return None

    def n_values(self, n_rows: int) -> float:
        """Points of a step on so many rows whose energies are differentiated in the parameters alone."""
        return 0

    @property
    def kernel(self) -> Kernel | None:
        """Transition of the chains that a step runs; None without chains."""
        return None

    def symptoms(self) -> tuple[Symptom, ...]:
        """Signs that training has diverged, in addition to a loss or a gradient that is not finite."""
        return (Symptom("loss", LOSS_LIMIT, "the loss has exploded", "lower optimizer.lr"),)

    def remark(self, energy: Energy) -> str | None:
        """Sentence on what this method may lose with this energy, said when a run begins; None if nothing."""
        return None

    def prepare(self, data: Tensor, rng: torch.Generator) -> None:
        """Fit parts of the method to data [N, *D]; called once, before the first step of a new run (not on resume)."""

    def calibrate(self, energy: Energy, data: Tensor, rng: torch.Generator) -> None:
        """Fit numbers of the method to an energy that has been trained by another method, on rows data [N, *D]."""

    def players(self, energy: Energy) -> dict[str, list[nn.Parameter]]:
        """Disjoint sets of parameters, one optimizer each."""
        return {"energy": [*energy.parameters(), *self.parameters()]}

    def learning_rates(self) -> dict[str, float]:
        """Learning rates of players that do not use the run's own."""
        return {}

    @abstractmethod
    def loss(self, energy: Energy, x: Tensor, rng: torch.Generator) -> LossOutput:
        """Evaluate the objective on a batch x [B, *D], in standardised units."""

    def learned_log_z(self, energy: Energy) -> Tensor | None:
        """Trained log Z [] of this energy, nats; None if the method trains none."""
        return None

    def densities(self) -> dict[str, Density]:
        """Trained densities that are evaluated as well, by name."""
        return {}

    def proposal(self) -> Density | None:
        """A normalised density close to the model, from which annealing may start; None if there is none."""
        return None

    def negatives(self, energy: Energy, x: Tensor, rng: torch.Generator) -> Tensor | None:
        """Draw the negative samples [B, *D] of a step on the batch x, with no change to the method.

        None if the method runs no chain.
        """
        return None

    def shorten_steps(self, factor: float) -> bool:
        """Multiply the step size of chains without an acceptance test by `factor` > 0, in the state that is saved.

        False, and nothing is changed, if the method runs no such chain.
        """
        return False

    def persistent_chains(self) -> Tensor | None:
        """Positions of the chains that continue from step to step [N, *shape]; None if there are none."""
        return None


def require_smooth(energy: Energy) -> None:
    """Refuse an energy whose Hessian is zero almost everywhere.

    The objective of score matching contains tr ∇²f. A piecewise linear activation makes it vanish, and training then
    minimises ‖∇f‖² alone.

    Raises:
        ValueError: the energy has a piecewise linear activation.
    """
    for module in energy.modules():
        if isinstance(module, PIECEWISE_LINEAR):
            raise ValueError(
                f"energy has a {type(module).__name__} activation: its Hessian is zero almost everywhere, so score "
                "matching learns nothing from it; choose a smooth one (silu, softplus, tanh, gelu)"
            )
