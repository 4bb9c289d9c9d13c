"""Chains that are stuck alone: started where the energy is so steep that the common step size is refused for ever.

A step size that suits most chains can be a hundred times too long for one that starts in the neck of a funnel or far
out in a stiff direction; it then never moves, and spoils every moment. Such a chain moves with shorter steps, down to
where the common step is accepted. Every transition leaves the target invariant at any step size, so that the detour
changes no distribution that is already right, which a restart at the position of another chain would: necks of the
target, in which good chains rest, too, would lose their mass.
"""

from dataclasses import replace

import torch
from torch import Tensor

from ebm_cli.derivatives import EnergyFn
from ebm_cli.samplers.base import Kernel, select_chains
from ebm_cli.samplers.loops import run

FACTORS = 1e-4, 1e-3, 1e-2, 1e-1
"""Step sizes of stuck chains, in turn, in units of the common one."""
SHARE = 10
"""Steps with each of them are one in so many of those in which the chains did not move."""


MIN_STEPS = 20
"""Steps without a move from which a chain is stuck."""


def is_stuck(x: Tensor, start: Tensor) -> Tensor:
    """The chains that stand where they started: positions [B, *D], [B, *D] → bool [B]."""
    return (x == start).flatten(1).all(1)


def free_stuck(
    kernel: Kernel, energy: EnergyFn, x: Tensor, start: Tensor, n_steps: int, rng: torch.Generator
) -> Tensor:
    """Move the chains that have not moved in n_steps by shorter steps; the others stay where they are.

    Nothing is drawn, and x returned, where no chain is stuck, where all are (the step size itself is wrong then), for
    fewer than 20 steps, for a kernel without a correction, and for a tempered one, whose hotter replicas move it.

    Args:
        kernel: its step size is the common one.
        energy: the target is exp(−energy / kernel.temperature).
        x: positions [B, *D].
        start: positions n_steps before [B, *D].
        n_steps: ≥ 0.
        rng: source of every draw, on x's device.

    Returns:
        Positions [B, *D].

    Cost: where chains are stuck, that of 4 n_steps / 10 steps of all chains, since a conditional energy takes no other
    number of them; it waits for one number of the device.
    """
    stuck = is_stuck(x, start)
    n_stuck = int(stuck.sum())
    if n_steps < MIN_STEPS or kernel.target_accept is None or kernel.has_ladder or n_stuck in (0, len(x)):
        return x
    for factor in FACTORS:
        shorter = replace(kernel, step_size=factor * kernel.step_size)
        moved, _ = run(shorter, energy, x, n_steps // SHARE, rng)
        x = select_chains(stuck, moved.x, x)
    return x
