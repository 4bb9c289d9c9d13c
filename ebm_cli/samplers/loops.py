"""Loops that run a kernel: `run` for the last state, `trace` for every thin-th position.

An energy that carries native code (`energy.native`) runs in it if that code supports the kernel, and step by step in
torch otherwise. Neither loop waits for the device.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from ebm_cli.derivatives import EnergyFn, prepare
from ebm_cli.samplers.base import Info, Kernel, State
from ebm_cli.samplers.schedules import Schedule


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
        x: starting points [B, *D]; neither changed nor differentiated through.
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
    total: Info | None = None
    for i in range(n_steps):
        current = kernel if schedule is None else replace(kernel, **schedule(i))
        state, info = current.step(energy, state, rng)
        total = _add(total, info)
    return state, _divided(total, n_steps, x)


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
        x: starting points [B, *D]; not among the kept positions.
        n_steps: ≥ 0, a multiple of thin.
        thin: transitions between two kept positions, ≥ 1.
        rng: source of every draw, on x's device.
        progress: called after each kept position with the number of transitions so far.

    Returns:
        Positions [n_steps / thin, B, *D], and `Info` averaged over the steps.

    Raises:
        ValueError: thin is below 1, or n_steps is not a multiple of it.
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
    total: Info | None = None
    draws = x.new_empty(n_steps // thin, *x.shape)
    for kept in range(len(draws)):
        for _ in range(thin):
            state, info = kernel.step(energy, state, rng)
            total = _add(total, info)
        draws[kept] = state.x
        if progress is not None:
            progress((kept + 1) * thin)
    return draws, _divided(total, n_steps, x)


def _add(a: Info | None, b: Info) -> Info:
    if a is None:
        return b
    more = None if a.gradients is None or b.gradients is None else a.gradients + b.gradients
    return Info(a.accept + b.accept, more)


def _divided(total: Info | None, n: int, x: Tensor) -> Info:
    if total is None:
        return Info(x.new_full(x.shape[:1], torch.nan))
    return Info(total.accept / n, None if total.gradients is None else total.gradients / n)
