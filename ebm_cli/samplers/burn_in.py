"""Burn-in at a kernel's own step size, in pieces that report their progress."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor

from ebm_cli.derivatives import EnergyFn
from ebm_cli.samplers.base import Kernel, State
from ebm_cli.samplers.loops import run
from ebm_cli.samplers.schedules import Schedule
from ebm_cli.samplers.tuning import Tuning

K = TypeVar("K", bound=Kernel)

PIECE = 100
"""Steps between two reports of progress."""


def settle(
    kernel: K,
    energy: EnergyFn,
    x: Tensor | State,
    n_steps: int,
    rng: torch.Generator,
    schedule: Schedule | None = None,
    progress: Callable[[int], None] | None = None,
) -> tuple[K, State]:
    """Run the chains through burn-in at the kernel's own step size; the ladder of a tempered one is tuned meanwhile.

    Args:
        kernel, energy, x, n_steps, rng, schedule: as in `run`.
        progress: called with the number of transitions so far after each piece.

    Returns:
        The kernel, with the tuned ladder if it has one, and the last state.
    """
    state: Tensor | State = x
    tuning = Tuning(n_steps)
    for done in range(0, max(n_steps, 1), PIECE):
        n = min(PIECE, n_steps - done)
        piece = None if schedule is None else partial(_shifted, schedule, done)
        state, info = run(kernel, energy, state, n, rng, piece)
        kernel = tuning.tuned(kernel, info, n)
        if progress is not None:
            progress(done + n)
    assert isinstance(state, State)
    return kernel, state


def _shifted(schedule: Schedule, done: int, i: int) -> Mapping[str, float]:
    """The schedule after `done` steps."""
    return schedule(done + i)
