"""The abstraction of this package: a Markov transition kernel.

An algorithm is `init` and `step(state) → (state, info)`. The state caches energy and gradient at the chain's position,
so that no gradient is computed twice; diagnostics live in `Info`, one number a chain, on the device.

A kernel is a value. Another step size or temperature is another kernel, made with `dataclasses.replace`; adaptation and
annealing need nothing else from a kernel. The cached energy and gradient are those of the energy itself, never divided
by the temperature, so a state stays valid when the kernel is replaced between two steps.

Nothing here waits for the device: no decision of a step is taken on the host.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Self

import torch
from torch import Tensor

from ebm_cli.derivatives import EnergyFn
from ebm_cli.errors import require_positive
from ebm_cli.rng import Streams


class State(NamedTuple):
    """State of B chains.

    Attributes:
        x: positions [B, *D].
        energy: energy at x [B]; None if the kernel has not evaluated it.
        grad: ∇energy at x [B, *D]; None if the kernel has not evaluated it.
        aux: tensors of the kernel's own (velocity).
    """

    x: Tensor
    energy: Tensor | None
    grad: Tensor | None
    aux: dict[str, Tensor]


class Cost(NamedTuple):
    """Evaluations of one chain: of the energy alone, and of its gradient (which comes with the energy)."""

    energy: int = 0
    grad: int = 0


class Info(NamedTuple):
    """Diagnostics of a step, or means over the steps of a loop, for each chain.

    Attributes:
        accept: probability with which the proposal is accepted [B]: its mean is the acceptance rate, with less noise
            than a count of acceptances. It is 1 for a kernel without a correction.
        swaps: of a tempered chain, the probability of an exchange of each two neighbours [B, R − 1].
        round_trips: of a tempered chain, the positions that came back from the hottest replica to the cold one [B].
        gradients: of a kernel whose cost depends on what it meets, the gradients of its step [B]; None for others,
            whose cost `Kernel.evaluations` states.
    """

    accept: Tensor
    swaps: Tensor | None = None
    round_trips: Tensor | None = None
    gradients: Tensor | None = None

    def added_to(self, total: "Info | None") -> "Info":
        """The sum of the diagnostics of steps with those of one more; None is no step."""
        if total is None:
            return self
        pairs = zip(total, self, strict=True)
        return Info._make(None if a is None or b is None else a + b for a, b in pairs)

    def over(self, n: float) -> "Info":
        """Every number divided by n: the mean of a sum over n steps."""
        return Info._make(None if field is None else field / n for field in self)


@dataclass(frozen=True)
class Kernel(ABC):
    """A transition that leaves exp(−energy / temperature) invariant, exactly or in the limit of small steps.

    Args:
        step_size: the kernel's scale, > 0; its unit is the kernel's.
        temperature: T > 0; T > 1 flattens the target, T < 1 sharpens it.

    Raises:
        ValueError: a number is out of range.
    """

    step_size: float
    temperature: float = 1.0

    ends_where_last_evaluated: ClassVar[bool] = True
    """True if a chain ends a step where it began, or at the point whose energy was evaluated last."""
    has_ladder: ClassVar[bool] = False
    """True if a chain is a ladder of replicas: it is continued from its whole state, where others begin at x."""

    def __post_init__(self) -> None:
        require_positive(step_size=self.step_size, temperature=self.temperature)

    @property
    def target_accept(self) -> float | None:
        """Acceptance rate that the step size is adapted to; None for a kernel without a correction."""
        return None

    @property
    def target_error(self) -> float | None:
        """Variance of the energy error per dimension that the step size is adapted to; None for most kernels.

        A kernel without a correction that has one keeps the errors of a step in `state.aux["error"]` [B].
        """
        return None

    @property
    def can_adapt(self) -> bool:
        """True where burn-in finds the step size: a kernel with an acceptance rate or an energy error."""
        return self.target_accept is not None or self.target_error is not None

    def why_not(self, dimension: int) -> str | None:
        """Why the kernel cannot move points of so many coordinates, with what can; None where it can."""
        return None

    @property
    def n_points(self) -> int:
        """Points that a chain moves, each with a gradient at the start: one, or its replicas."""
        return 1

    def evaluations(self, n_steps: int) -> Cost:
        """Evaluations by `run` in n_steps ≥ 1 of one chain, including one at the start if the state caches ∇E."""
        return Cost(grad=n_steps + 1)

    def good_accept(self, dimension: int) -> tuple[float, float]:
        """Acceptance rates between which a kernel with a correction is efficient; by default around its target.

        Args:
            dimension: D of the points.
        """
        target = self.target_accept or 0.5
        return 0.7 * target, 1 - 0.5 * (1 - target)

    def stationary_variance(self, variance: float) -> float | None:
        """Stationary variance per coordinate for the target N(0, σ²I), before its temperature.

        A kernel with a correction is exact: T σ². Infinite if the step is too long for a stationary distribution to
        exist; None if the variance is not known.

        Args:
            variance: σ² > 0; the energy is ‖x‖²/(2σ²).
        """
        return None if self.target_accept is None else self.temperature * variance

    def of_runs(self, factors: Sequence[float], x: Tensor) -> Self | None:
        """The kernel of the chains of several runs as one batch, in which a run has a factor of the step size.

        A kernel that has one draws all its numbers by `normal_like` and `uniform_like`, which take `rng.Streams`.

        Args:
            factors: > 0, of the runs.
            x: positions of the chains [B, *D], an equal block of rows for each run.

        Returns:
            None where chains of several runs cannot be one batch.
        """
        return None

    def tuned(self, info: Info) -> Self:
        """The kernel with what is not its step size adapted to the mean `info` of some steps; itself as a rule."""
        return self

    @abstractmethod
    def init(self, energy: EnergyFn, x: Tensor, rng: torch.Generator) -> State:
        """Make the state of chains that start at x [B, *D]; `rng` draws the kernel's auxiliary tensors (velocities)."""

    @abstractmethod
    def step(self, energy: EnergyFn, state: State, rng: torch.Generator) -> tuple[State, Info]:
        """Advance every chain by one transition."""


def gradients(kernel: Kernel, n_steps: int, info: Info) -> float:
    """Gradients of a chain in n_steps, with those at the start: as `info` counted them, or as the kernel states."""
    if info.gradients is None:
        return kernel.evaluations(n_steps).grad
    return n_steps * float(info.gradients.mean()) + kernel.n_points


def energy_of(state: State) -> Tensor:
    """Return the cached energy [B]; ValueError for a state of a kernel that caches none."""
    if state.energy is None:
        raise ValueError("state holds no energy: make it with the init of the kernel that steps it")
    return state.energy


def grad_of(state: State) -> Tensor:
    """Return the cached gradient [B, *D]; ValueError for a state of a kernel that caches none."""
    if state.grad is None:
        raise ValueError("state holds no gradient: make it with the init of the kernel that steps it")
    return state.grad


def normal_like(x: Tensor, rng: torch.Generator) -> Tensor:
    """Draw z ~ N(0, I) of x's shape, dtype and device; by `Streams` each block of rows from its own."""
    if isinstance(rng, Streams):
        rows = (len(x) // len(rng.each), *x.shape[1:])
        return torch.cat([torch.randn(rows, generator=own, dtype=x.dtype, device=x.device) for own in rng.each])
    return torch.randn(x.shape, generator=rng, dtype=x.dtype, device=x.device)


def uniform_like(x: Tensor, rng: torch.Generator) -> Tensor:
    """Draw u ~ U[0, 1) of x's shape, dtype and device; by `Streams` each block of rows from its own."""
    if isinstance(rng, Streams):
        rows = (len(x) // len(rng.each), *x.shape[1:])
        return torch.cat([torch.rand(rows, generator=own, dtype=x.dtype, device=x.device) for own in rng.each])
    return torch.rand(x.shape, generator=rng, dtype=x.dtype, device=x.device)


def inner(a: Tensor, b: Tensor) -> Tensor:
    """Inner product aᵀb of each chain: [B, *D], [B, *D] → [B]."""
    return (a * b).flatten(1).sum(1)


def select_chains(mask: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """For each chain its row of a where the mask holds, and its row of b elsewhere: [B], [B, *D], [B, *D] → [B, *D]."""
    return torch.where(mask.view(-1, *(1,) * (a.dim() - 1)), a, b)
