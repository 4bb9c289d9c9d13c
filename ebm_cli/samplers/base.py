"""The abstraction of this folder: a Markov transition kernel, and the loops that run it.

An algorithm is `init` and `step(state) → (state, info)`. The state caches energy and gradient at the chain's position,
so that no gradient is computed twice; diagnostics live in `Info`, one number a chain, on the device.

A kernel is a value. Another step size or temperature is another kernel, made with `dataclasses.replace`: adaptation and
annealing need nothing from a kernel but that. The cached energy and gradient are those of the energy itself, never
divided by the temperature, so a state stays right when the kernel is replaced between two steps.

Nothing here waits for the device: no decision of a step is taken on the host.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import inf
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from ebm_cli.derivatives import prepare

EnergyFn = Callable[[Tensor], Tensor]
"""x [B, *D] → energy [B], nats; p ∝ exp(−energy)."""

Schedule = Callable[[int], Mapping[str, float]]
"""Index of a step, from 0 → the kernel's fields that differ in that step: {"step_size": …, "temperature": …}."""


class State(NamedTuple):
    """Where B chains are.

    `energy` [B] and `grad` = ∇energy [B, *D] are None where the kernel has not evaluated them at x. `aux` is the
    kernel's own (velocity).
    """

    x: Tensor
    energy: Tensor | None
    grad: Tensor | None
    aux: dict[str, Tensor]


class Cost(NamedTuple):
    """Evaluations of a chain: of the energy alone, and of its gradient (which comes with the energy)."""

    energy: int = 0
    grad: int = 0


class Info(NamedTuple):
    """What happened in a step (or, from the loops, on average over their steps), per chain [B].

    `accept` is the probability with which the proposal is accepted: its mean is the acceptance rate, with less noise
    than a count of acceptances. It is 1 for a kernel without a correction.
    """

    accept: Tensor


@dataclass(frozen=True)
class Kernel(ABC):
    """One transition that leaves exp(−energy / temperature) invariant, exactly or in the limit of small steps.

    Args:
        step_size: the kernel's scale, > 0; its unit is the kernel's.
        temperature: T > 0; T > 1 flattens the target, T < 1 sharpens it.

    Raises:
        ValueError: a number out of range.
    """

    step_size: float
    temperature: float = 1.0

    target_accept: ClassVar[float | None] = None
    """The acceptance rate to adapt the step size to; None for a kernel without a correction."""

    def __post_init__(self) -> None:
        require_positive(step_size=self.step_size, temperature=self.temperature)

    def evaluations(self, n_steps: int) -> Cost:
        """What `run` evaluates in n_steps ≥ 1 of one chain; where the state caches ∇E, its start is one of them."""
        return Cost(grad=n_steps + 1)

    def stationary_variance(self, variance: float) -> float | None:
        """What the variance of x becomes, per coordinate, where the target is N(0, σ² I) before its temperature.

        The energy is ‖x‖²/(2σ²), σ² = `variance` > 0. A kernel with a correction is exact: T σ². Infinite where the
        step is too long for a stationary law to exist; None where it is not known.
        """
        return None if self.target_accept is None else self.temperature * variance

    @abstractmethod
    def init(self, energy: EnergyFn, x: Tensor, rng: torch.Generator) -> State:
        """The state of chains that start at x [B, *D]; `rng` for what the kernel adds (velocities)."""

    @abstractmethod
    def step(self, energy: EnergyFn, state: State, rng: torch.Generator) -> tuple[State, Info]:
        """Advance every chain by one transition."""


def run(
    kernel: Kernel,
    energy: EnergyFn,
    x: Tensor,
    n_steps: int,
    rng: torch.Generator,
    schedule: Schedule | None = None,
) -> tuple[State, Info]:
    """Advance chains by n_steps transitions; memory does not grow with n_steps.

    Args:
        kernel: the transition.
        energy: the target is exp(−energy / kernel.temperature).
        x: where the chains start [B, *D]; it is neither changed nor differentiated through.
        n_steps: ≥ 0.
        rng: source of every draw, on x's device.
        schedule: fields of the kernel that differ from step to step, for annealing.

    Returns:
        The last state, and `Info` averaged over the steps (NaN over none).
    """
    native = getattr(energy, "native", None)
    done: tuple[State, Info] | None = None if native is None else native.run(kernel, energy, x, n_steps, rng, schedule)
    if done is not None:
        return done
    energy = prepare(energy)
    state = kernel.init(energy, x.detach(), rng)
    total = _no_info(x)
    for i in range(n_steps):
        current = kernel if schedule is None else replace(kernel, **schedule(i))
        state, info = current.step(energy, state, rng)
        total = _add(total, info)
    return state, _divide(total, n_steps)


def trace(
    kernel: Kernel,
    energy: EnergyFn,
    x: Tensor,
    n_steps: int,
    thin: int,
    rng: torch.Generator,
    progress: Callable[[int], None] | None = None,
) -> tuple[Tensor, Info]:
    """Advance chains by n_steps transitions and keep every thin-th position.

    Args:
        kernel: the transition.
        energy: the target is exp(−energy / kernel.temperature).
        x: where the chains start [B, *D]; not among the kept positions.
        n_steps: ≥ 0, a multiple of thin.
        thin: transitions between two kept positions, ≥ 1.
        rng: source of every draw, on x's device.
        progress: called with the number of transitions done, after each kept position.

    Returns:
        Positions [n_steps / thin, B, *D], and `Info` averaged over the steps.

    Raises:
        ValueError: a thin below 1, or an n_steps that is no multiple of it.
    """
    if thin < 1:
        raise ValueError(f"thin must be >= 1, got {thin}")
    if n_steps % thin:
        raise ValueError(f"n_steps must be a multiple of thin = {thin}, got {n_steps}")
    native = getattr(energy, "native", None)
    done: tuple[Tensor, Info] | None = (
        None if native is None else native.trace(kernel, energy, x, n_steps, thin, rng, progress)
    )
    if done is not None:
        return done
    energy = prepare(energy)
    state = kernel.init(energy, x.detach(), rng)
    total = _no_info(x)
    draws = x.new_empty(n_steps // thin, *x.shape)
    for kept in range(len(draws)):
        for _ in range(thin):
            state, info = kernel.step(energy, state, rng)
            total = _add(total, info)
        draws[kept] = state.x
        if progress is not None:
            progress((kept + 1) * thin)
    return draws, _divide(total, n_steps)


def geometric(n_steps: int, **ends: tuple[float, float]) -> Schedule:
    """A schedule that moves each named field from its first value to its last by a constant factor a step.

    Simulated annealing of `geometric(1000, temperature=(10.0, 1.0))`; annealed step sizes likewise.

    Args:
        n_steps: the step n_steps − 1 is the first at the last values, and so is every later one; ≥ 2.
        ends: name of a kernel's field → (first, last), both > 0.

    Raises:
        ValueError: a number out of range.
    """
    if n_steps < 2:
        raise ValueError(f"n_steps must be >= 2, got {n_steps}")
    for name, values in ends.items():
        for value in values:
            require_positive(**{name: value})

    def overrides(i: int) -> dict[str, float]:
        t = min(i / (n_steps - 1), 1.0)
        return {name: first ** (1 - t) * last**t for name, (first, last) in ends.items()}

    return overrides


def accept_reject(state: State, proposal: State, log_ratio: Tensor, rng: torch.Generator) -> tuple[State, Info]:
    """The Metropolis–Hastings decision: each chain moves to its proposal with probability min(1, exp(log_ratio)).

    A proposal whose energy or gradient is not finite has probability 0: the overflow of a step that is too long is
    then a rejection, which detailed balance allows, and not the end of the chain.

    Source: Hastings (1970), Biometrika 57(1).

    Shapes: log_ratio [B].
    """
    accept = (log_ratio + _nought(proposal)).clamp_(max=0.0).exp_().nan_to_num_(0.0)
    uniform = torch.rand(accept.shape, generator=rng, dtype=accept.dtype, device=accept.device)
    moves = uniform < accept

    def choose(new: Tensor, old: Tensor) -> Tensor:
        return torch.where(moves.view(-1, *(1,) * (new.dim() - 1)), new, old)

    energy = choose(energy_of(proposal), energy_of(state))
    grad = None if proposal.grad is None else choose(proposal.grad, grad_of(state))
    return State(choose(proposal.x, state.x), energy, grad, {}), Info(accept)


def energy_of(state: State) -> Tensor:
    """The energy that the state caches [B]; ValueError for a state of a kernel that caches none."""
    if state.energy is None:
        raise ValueError("state holds no energy: make it with the init of the kernel that steps it")
    return state.energy


def grad_of(state: State) -> Tensor:
    """The gradient that the state caches [B, *D]; ValueError for a state of a kernel that caches none."""
    if state.grad is None:
        raise ValueError("state holds no gradient: make it with the init of the kernel that steps it")
    return state.grad


def normal_like(x: Tensor, rng: torch.Generator) -> Tensor:
    """z ~ N(0, I) of x's shape, dtype and device."""
    return torch.randn(x.shape, generator=rng, dtype=x.dtype, device=x.device)


def inner(a: Tensor, b: Tensor) -> Tensor:
    """aᵀb of each chain: [B, *D], [B, *D] → [B]."""
    return (a * b).flatten(1).sum(1)


def require_positive(**values: float) -> None:
    """Raise ValueError, beginning with the name, for a number that is not > 0 or not finite."""
    for name, value in values.items():
        if not value > 0:
            raise ValueError(f"{name} must be > 0, got {value}")
        if value == inf:
            raise ValueError(f"{name} must be finite, got {value}")


def _nought(state: State) -> Tensor:
    """0 where a chain's energy and gradient are finite, NaN elsewhere [B]: their sum, minus itself.

    torch.isfinite on both says the same in three times as many kernels, which a short chain on a small network feels.
    """
    energy = energy_of(state)
    total = energy if state.grad is None else energy + state.grad.flatten(1).sum(1)
    return total - total


def _no_info(x: Tensor) -> Info:
    return Info(x.new_zeros(x.shape[0]))


def _add(a: Info, b: Info) -> Info:
    return Info(a.accept + b.accept)


def _divide(total: Info, n: int) -> Info:
    return Info(total.accept / n)
