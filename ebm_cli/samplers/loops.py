"""Loops that run a kernel: `run` for the last state, `trace` for every thin-th position.

An energy that carries native code (`energy.native`) runs in it if that code supports the kernel, and step by step in
torch otherwise. Neither loop waits for the device.
"""

from collections.abc import Callable
from dataclasses import replace
from math import nan

import torch
from torch import Tensor

from ebm_cli.derivatives import EnergyFn, prepare
from ebm_cli.samplers.base import Info, Kernel, State
from ebm_cli.samplers.schedules import Schedule


def run(
    kernel: Kernel,
    energy: EnergyFn,
    x: Tensor | State,
    n_steps: int,
    rng: torch.Generator,
    schedule: Schedule | None = None,
) -> tuple[State, Info]:
    """Advance chains by n_steps transitions; memory does not grow with n_steps.

    Args:
        kernel: the transition.
        energy: the target is exp(−energy / kernel.temperature).
        x: starting points [B, *D], neither changed nor differentiated through; or the state of chains that have run,
            which a tempered kernel continues and any other takes for its positions.
        n_steps: ≥ 0.
        rng: source of every draw, on x's device.
        schedule: fields of the kernel that differ from step to step, for annealing.

    Returns:
        The last state, and `Info` averaged over the steps (NaN over none).
    """
    at = x.x if isinstance(x, State) else x
    native = getattr(energy, "native", None)
    done: tuple[State, Info] | None = None if native is None else native.run(kernel, energy, x, n_steps, rng, schedule)
    if done is not None:
        return done
    energy = prepare(energy)
    state = x if isinstance(x, State) and kernel.has_ladder else kernel.init(energy, at.detach(), rng)
    total: Info | None = None
    for i in range(n_steps):
        current = kernel if schedule is None else replace(kernel, **schedule(i))
        state, info = current.step(energy, state, rng)
        total = info.added_to(total)
    return state, _mean(total, n_steps, at)


def trace(
    kernel: Kernel,
    energy: EnergyFn,
    x: Tensor | State,
    n_steps: int,
    thin: int,
    rng: torch.Generator,
    progress: Callable[[int], None] | None = None,
) -> tuple[Tensor, Info]:
    """Advance chains by n_steps transitions and keep every thin-th position.

    Args:
        kernel: the transition.
        energy: the target is exp(−energy / kernel.temperature).
        x: starting points [B, *D], or a state, as in `run`; not among the kept positions.
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
    at = x.x if isinstance(x, State) else x
    native = getattr(energy, "native", None)
    done: tuple[Tensor, Info] | None = (
        None if native is None else native.trace(kernel, energy, x, n_steps, thin, rng, progress)
    )
    if done is not None:
        return done
    energy = prepare(energy)
    state = x if isinstance(x, State) and kernel.has_ladder else kernel.init(energy, at.detach(), rng)
    draws, total, _ = keep(kernel, energy, state, n_steps, thin, rng, progress)
    return draws, _mean(total, n_steps, at)


def keep(
    kernel: Kernel,
    energy: EnergyFn,
    state: State,
    n_steps: int,
    thin: int,
    rng: torch.Generator,
    progress: Callable[[int], None] | None = None,
) -> tuple[Tensor, Info | None, State]:
    """Step a state n_steps times in torch, and keep every thin-th position.

    Args:
        kernel, n_steps, thin, rng, progress: as in `trace`.
        energy: prepared (`derivatives.prepare`).
        state: of this kernel, continued as it is.

    Returns:
        Positions [n_steps / thin, B, *D], the sum of `Info` over the steps (None over none), and the last state.
    """
    total: Info | None = None
    draws = state.x.new_empty(n_steps // thin, *state.x.shape)
    for kept in range(len(draws)):
        for _ in range(thin):
            state, info = kernel.step(energy, state, rng)
            total = info.added_to(total)
        draws[kept] = state.x
        if progress is not None:
            progress((kept + 1) * thin)
    return draws, total, state


def _mean(total: Info | None, n: int, x: Tensor) -> Info:
    """The mean over n steps, NaN over none."""
    return Info(x.new_full((x.shape[0],), nan)) if total is None else total.over(n)
