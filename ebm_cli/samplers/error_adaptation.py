"""Burn-in of a kernel without a Metropolis test: its step size by the error of its energy, and its length.

The error of a step of the size eps has about the variance per dimension

    V = (π/2) E[|error|]²/D

exactly so if it is normal. Errors many times as large, of places where a chain hardly ever is, weigh less in it than in
the mean of the squares, which on the posterior of eight schools was 43 times as large. V/eps⁶ varies little with eps,
for an integrator of second order. Its discounted mean over chains and steps, a, predicts the step size of the wanted
variance,

    eps = (V_wanted / a)^{1/6}

The length over which a direction is forgotten is at first √D, the diameter of a target with unit scales times a
constant, and then 0.4 times the distance that τ steps move, with τ the steps from one independent draw to the next: for
n steps of B chains

    τ = mean over coordinates of n Var(means of the chains) / Var(draws)

Without a metric, unit scales are those of the draws. A chain whose step diverges, to a huge energy or to none that is
finite, stays where it was, and the step size is halved. One that had none before the step says nothing of the step
size.

Sources: Robnik, De Luca, Silverstein & Seljak (2023), arXiv:2212.08549, section 3; the many chains that estimate V at
once: Robnik & Seljak (2026), arXiv:2601.16696.
"""

from dataclasses import replace
from math import exp, isfinite, log, pi, sqrt
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from ebm_cli.derivatives import EnergyFn
from ebm_cli.samplers.base import State, energy_of, grad_of, select_chains
from ebm_cli.samplers.metric import WINDOWS, Moments
from ebm_cli.samplers.tuned import Tuned

K = TypeVar("K", bound=Tuned)

MEMORY = 50
"""Steps over which the mean of V/eps⁶ is discounted."""
MAX_FACTOR, MAX_MOVE = 1.5, 2.0
"""Bound of the change of the step size in one step, since the first errors of a bad start say little about the target;
and change after which the mean begins anew."""
MAX_SHIFT, LEAST = 1e6, 1e-8
"""Bounds of the step size over that of the start, and of its inverse; and of V over the wanted V: a flat energy has no
error."""
MAX_VARIANCE = 1e6
"""Squared error per dimension from which a step has diverged."""
SHARE = 0.4
"""Length in units of the distance between two independent draws."""
MIN_GROUPS = 16
"""Runs of steps, at least, from whose means τ is measured; chains are cut where they are fewer."""


def adapt_to_error(kernel: K, energy: EnergyFn, state: State, n_steps: int, rng: torch.Generator) -> tuple[K, State]:
    """Adapt the step size, the metric that the kernel asks for, and the length in n_steps.

    Args:
        kernel: with a `target_error`.
        energy: the target is exp(−energy / kernel.temperature).
        state: of chains of this kernel.
        n_steps: ≥ 1; some hundred are needed.
        rng: source of every draw.

    Returns:
        The adapted kernel, and the last state.

    Cost: that of the steps, each of which waits for two numbers of the device.
    """
    kind, dim = kernel.wanted, state.x[0].numel()
    windows = [n_steps // share for share in WINDOWS]
    for length in windows:
        kernel, state = _tuned(kernel, energy, state, length // 2, rng)
        moments = Moments("diagonal" if kind == "none" else kind)
        for _ in range(length - length // 2):
            state = _moved(kernel.cooled(), energy, state, rng).state
            moments.add(state.x)
        metric = moments.metric()
        if metric is not None and kind != "none":
            kernel = _with(kernel, metric=metric).with_length(sqrt(dim), dim)
        elif metric is not None:
            kernel = kernel.with_length(float(metric.factor.norm()), dim)
    left = n_steps - sum(windows)
    kernel, state = _tuned(kernel, energy, state, left - left // 2, rng)
    draws = []
    for _ in range(left // 2):
        state = _moved(kernel, energy, state, rng).state
        draws.append(state.x.flatten(1).cpu())
    tau = _steps_to_forget(torch.stack(draws)) if len(draws) >= MIN_GROUPS else None
    return (kernel if tau is None else kernel.with_length(SHARE * kernel.pace(dim) * tau, dim)), state


def _tuned(kernel: K, energy: EnergyFn, state: State, n_steps: int, rng: torch.Generator) -> tuple[K, State]:
    """Move for n_steps towards the step size whose errors have the wanted variance."""
    target, dim = kernel.target_error, state.x[0].numel()
    assert target is not None
    eps, mean, m, logs = kernel.step_size, 0.0, 0, []
    origin, shortest, longest = eps, eps / MAX_SHIFT, MAX_SHIFT * eps
    for _ in range(n_steps):
        state, stayed, left = _moved(_with(kernel, step_size=eps).cooled(), energy, state, rng)
        errors = state.aux["error"][stayed]
        if bool(left.any()):
            eps, m = max(eps / 2, shortest), 0
        elif len(errors):
            # Errors of much shorter steps are rounding errors, and those of the first steps are of a bad start.
            m = m + 1 if origin / MAX_MOVE < eps < origin * MAX_MOVE else 1
            origin = origin if m > 1 else eps
            variance = pi / 2 * float(errors.abs().mean()) ** 2 / dim + LEAST * target
            mean += (variance / eps**6 - mean) / min(m, MEMORY)
            wanted = max((target / mean) ** (1 / 6), eps / MAX_FACTOR, shortest)
            eps = min(wanted, eps * MAX_FACTOR, longest)
        logs.append(log(eps))
    late = logs[len(logs) // 2 :]
    return (_with(kernel, step_size=exp(sum(late) / len(late))) if late else kernel), state


class Moved(NamedTuple):
    """The chains after a step; those with a finite energy before and after it, and those that lost theirs [B]."""

    state: State
    stayed: Tensor
    left: Tensor


def _moved(kernel: Tuned, energy: EnergyFn, state: State, rng: torch.Generator) -> Moved:
    """A step of the chains for which it ends with a finite error that is not one of a divergence."""
    was = (energy_of(state) + grad_of(state).flatten(1).sum(1)).isfinite()
    after, _ = kernel.step(energy, state, rng)
    total = after.aux["error"] + grad_of(after).flatten(1).sum(1)
    # Compared by its root, since the square of an error overflows in float32.
    finite = total.isfinite() & (after.aux["error"].abs() < sqrt(MAX_VARIANCE * after.x[0].numel()))
    aux = {name: select_chains(finite, new, state.aux[name]) for name, new in after.aux.items()}
    x, grad = (select_chains(finite, *pair) for pair in ((after.x, state.x), (grad_of(after), grad_of(state))))
    moved = State(x, select_chains(finite, energy_of(after), energy_of(state)), grad, aux)
    return Moved(moved, finite & was, was & ~finite)


def _steps_to_forget(draws: Tensor) -> float | None:
    """τ of draws [n, B, D]; None where they do not move."""
    n, n_chains = draws.shape[:2]
    n_parts = min(n, -(-MIN_GROUPS // n_chains))
    size = n // n_parts
    parts = draws[: n_parts * size].unflatten(0, (n_parts, size)).double()
    means = parts.mean(1).flatten(0, 1)
    tau = size * means.var(0) / parts.flatten(0, 2).var(0)
    found = float(tau.clamp(1.0, float(size)).mean())
    return found if isfinite(found) else None


def _with(kernel: K, **fields: Any) -> K:
    return replace(kernel, **fields)
