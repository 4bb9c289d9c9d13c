"""Step-size adaptation by dual averaging: find the step size at which a kernel has its target acceptance rate.

A chain whose step size depends on its past is not a Markov chain with the right distribution: adapt during burn-in,
then fix the step size (in training, `methods.step_backoff` shortens steps instead). With δ the target rate and α_m the
acceptance of step m (here its mean over all chains), from H̄ = 0 and μ = log(10 eps_1):

    H̄_m = (1 − 1/(m + t0)) H̄_{m−1} + (δ − α_m)/(m + t0)
    log eps_{m+1} = μ − (√m/γ) H̄_m
    log ēps_m = m^{−κ} log eps_{m+1} + (1 − m^{−κ}) log ēps_{m−1}

With the authors' γ a unit of error moves the step size by a factor of up to e^{20/√m}. That finds its order of
magnitude, but where the acceptance falls steeply it oscillates, and the average is too short (HMC at 0.97 in place of
0.65 after 200 steps of 400 chains, whose mean acceptance has too little noise to end the oscillation). Therefore there
are two rounds: half of the steps with the authors' γ, and then as many from the step size of the first round,
μ = log eps, with ten times γ.

Source: Hoffman & Gelman (2014), JMLR 15, section 3.2, eq. (6), with their γ = 0.05, t0 = 10, κ = 0.75 in the first
round.

A metric (`metric`) is measured in the same burn-in: in three windows of an eighth, an eighth and a quarter of it the
step size is adapted for half of the window, and the other half gives the draws of the next metric, of which the last
counts. The step size for that is adapted in what remains. The windows grow since the first draws are those of the
start.

A common step size leaves chains stuck that start where the energy is much steeper than elsewhere; after each round they
take shorter steps for a while (`stuck`).
"""

from dataclasses import replace
from math import exp, log, sqrt
from typing import Any, TypeVar

import torch
from torch import Tensor

from ebm_cli.derivatives import EnergyFn, prepare
from ebm_cli.samplers.base import Kernel, State
from ebm_cli.samplers.burn_in import settle
from ebm_cli.samplers.error_adaptation import adapt_to_error
from ebm_cli.samplers.loops import run
from ebm_cli.samplers.metric import WINDOWS, Choice, Moments, Preconditioned
from ebm_cli.samplers.schedules import Schedule
from ebm_cli.samplers.stuck import free_stuck
from ebm_cli.samplers.tuned import Tuned
from ebm_cli.samplers.tuning import Tuning
from ebm_cli.samplers.underdamped import Underdamped

K = TypeVar("K", bound=Kernel)
T = TypeVar("T", bound=Tuned)
U = TypeVar("U", bound=Underdamped)

COARSE_GAIN, FINE_GAIN = 0.05, 0.5
"""γ of the first and of the second round."""
T0, KAPPA = 10, 0.75
MAX_SHIFT = log(1e6)
"""Bound of |log eps − μ|: on a flat energy, where every step is accepted, eps would overflow."""


def adapt(
    kernel: K,
    energy: EnergyFn,
    x: Tensor,
    n_steps: int,
    rng: torch.Generator,
    target: float | None = None,
    schedule: Schedule | None = None,
) -> tuple[K, State]:
    """Run the chains for n_steps and adapt their common step size meanwhile, and the metric that the kernel asks for.

    Args:
        kernel: starts at its own step size.
        energy: the target is exp(−energy / kernel.temperature).
        x: starting points [B, *D].
        n_steps: ≥ 1; two hundred bring the acceptance within 0.02 of its target.
        rng: source of every draw, on x's device.
        target: acceptance rate in (0, 1); None is the kernel's own. A kernel without one has its energy error.
        schedule: fields of the kernel, other than its step size, that differ in the first n_steps // 2 steps, for
            annealing. The remaining steps adapt the step size, and measure a metric, of the kernel itself.

    Returns:
        The kernel with the averaged step size and the measured metric, and the last state.

    Raises:
        ValueError: the kernel has no correction, or a number is out of range.

    Cost: that of the steps; each step waits for one number of the device.
    """
    if not kernel.can_adapt:
        raise ValueError(f"kernel {type(kernel).__name__} has no acceptance rate that its step size is adapted to")
    delta = (kernel.target_accept or 0.5) if target is None else target
    if not 0 < delta < 1:
        raise ValueError(f"target must be in (0, 1), got {delta}")
    if n_steps < 1:
        raise ValueError(f"n_steps must be >= 1, got {n_steps}")
    energy = prepare(energy)
    state = kernel.init(energy, x.detach(), rng)
    if isinstance(kernel, Tuned) and kernel.target_accept is None:
        return _to_error(kernel, energy, state, n_steps, n_steps // 2, rng, schedule)
    if isinstance(kernel, Underdamped) and kernel.target_error is not None and n_steps > 1:
        kernel, state, n_steps = _untested(kernel, energy, x.detach(), n_steps, rng, schedule)
        schedule = None
    kind = kernel.wanted if isinstance(kernel, Preconditioned) else "none"
    if kind != "none":
        if schedule is not None:
            # Annealing comes first: the scales of hot chains are not those of the target.
            n_hot = n_steps // 2
            mu = log(10 * kernel.step_size)
            kernel, state = _average(kernel, energy, state, n_hot, rng, delta, mu, COARSE_GAIN, schedule)
            n_steps, schedule = n_steps - n_hot, None
        for length in [n_steps // share for share in WINDOWS]:
            kernel, state = _window(kernel, kind, energy, state, length, rng, delta)
            n_steps -= length
    return _two_rounds(kernel, energy, state, n_steps, rng, delta, schedule)


def _untested(
    kernel: U, energy: EnergyFn, x: Tensor, n_steps: int, rng: torch.Generator, schedule: Schedule | None
) -> tuple[U, State, int]:
    """The first phase of two, without the test, since a start off the target rejects most of what it proposes.

    Returns the kernel with its test, its state, and the steps that are left.
    """
    free, n_free = replace(kernel, test_every=None), n_steps // 2
    if schedule is not None:
        # The annealing takes the half of all steps that `schedule` is of, and this phase adapts after it.
        n_free += (n_steps - n_free) // 2
    free, state = _to_error(free, energy, free.init(energy, x, rng), n_free, n_steps // 2, rng, schedule)
    tested = replace(free, test_every=kernel.test_every)
    return tested, tested.init(energy, state.x, rng), n_steps - n_free


def _to_error(
    kernel: T,
    energy: EnergyFn,
    state: State,
    n_steps: int,
    n_hot: int,
    rng: torch.Generator,
    schedule: Schedule | None,
) -> tuple[T, State]:
    """Adapt a kernel without a correction to its energy error, after the n_hot steps of the annealing, if any."""
    if schedule is None:
        return adapt_to_error(kernel, energy, state, n_steps, rng)
    for i in range(n_hot):
        fields: dict[str, Any] = dict(schedule(i))
        state, _ = replace(kernel, **fields).step(energy, state, rng)
    return adapt_to_error(kernel, energy, state, n_steps - n_hot, rng)


def warm_up(kernel: K, energy: EnergyFn, x: Tensor, n_steps: int, rng: torch.Generator) -> tuple[K, State]:
    """Run the chains through burn-in, and adapt the step size meanwhile if the kernel can (`can_adapt`).

    Args:
        kernel: starts at its own step size.
        energy: the target is exp(−energy / kernel.temperature).
        x: starting points [B, *D].
        n_steps: ≥ 0.
        rng: source of every draw, on x's device.

    Returns:
        The kernel, adapted if it can be, and the last state.
    """
    if kernel.has_ladder and not kernel.can_adapt:
        return settle(kernel, energy, x, n_steps, rng)
    if not kernel.can_adapt or n_steps == 0:
        return kernel, run(kernel, energy, x, n_steps, rng)[0]
    return adapt(kernel, energy, x, n_steps, rng)


def _two_rounds(
    kernel: K,
    energy: EnergyFn,
    state: State,
    n_steps: int,
    rng: torch.Generator,
    delta: float,
    schedule: Schedule | None = None,
) -> tuple[K, State]:
    """Adapt the step size in a coarse and in a fine round, and free stuck chains after each."""
    half = n_steps // 2
    mu = log(10 * kernel.step_size)
    start = state.x
    kernel, state = _average(kernel, energy, state, half, rng, delta, mu, COARSE_GAIN, schedule)
    state = _freed(kernel, energy, state, start, half, rng)
    start = state.x
    kernel, state = _average(kernel, energy, state, n_steps - half, rng, delta, log(kernel.step_size), FINE_GAIN)
    return kernel, _freed(kernel, energy, state, start, n_steps - half, rng)


def _window(
    kernel: K, kind: Choice, energy: EnergyFn, state: State, n_steps: int, rng: torch.Generator, delta: float
) -> tuple[K, State]:
    """Adapt the step size in half of the steps, and measure the metric in the others."""
    kernel, state = _two_rounds(kernel, energy, state, n_steps // 2, rng, delta)
    moments = Moments(kind)
    for _ in range(n_steps - n_steps // 2):
        state, _ = kernel.step(energy, state, rng)
        moments.add(state.x)
    metric = moments.metric()
    fields: dict[str, Any] = {} if metric is None else {"metric": metric}
    return replace(kernel, **fields), state


def _freed(kernel: Kernel, energy: EnergyFn, state: State, start: Tensor, n_steps: int, rng: torch.Generator) -> State:
    """The state after a detour of the chains that are stuck alone."""
    x = free_stuck(kernel, energy, state.x, start, n_steps, rng)
    return state if x is state.x else kernel.init(energy, x, rng)


def _average(
    kernel: K,
    energy: EnergyFn,
    state: State,
    n_steps: int,
    rng: torch.Generator,
    delta: float,
    mu: float,
    gamma: float,
    schedule: Schedule | None = None,
) -> tuple[K, State]:
    """Run one round: n_steps of the update in the module's docstring."""
    error, log_averaged = 0.0, log(kernel.step_size)
    current, tuning = kernel, Tuning(n_steps)
    for m in range(1, n_steps + 1):
        moved = current if schedule is None else replace(current, **schedule(m - 1))
        state, info = moved.step(energy, state, rng)
        kernel = tuning.tuned(kernel, info)
        error += (delta - float(info.accept.mean()) - error) / (m + T0)
        log_eps = min(max(mu - sqrt(m) / gamma * error, mu - MAX_SHIFT), mu + MAX_SHIFT)
        log_averaged += m**-KAPPA * (log_eps - log_averaged)
        current = replace(kernel, step_size=exp(log_eps))
    return replace(kernel, step_size=exp(log_averaged)), state
