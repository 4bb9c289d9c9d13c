"""Jumps between modes: independent proposals of a density q, mixed into the steps of a kernel.

A proposal y ~ q is accepted with probability min(1, w(y)/w(x)), w = exp(−f/T)/q, which leaves exp(−f/T) invariant,
whatever q is. Where q covers every mode and w varies little, chains cross between modes that no local step would leave;
the kernel between the jumps explores each mode, which q knows roughly.

Source: Tierney (1994), Ann. Statist. 22(4), sections 2.3.3 and 2.4.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from ebm_cli.densities.base import Density
from ebm_cli.derivatives import EnergyFn
from ebm_cli.samplers.base import Cost, Info, Kernel, State, select_chains
from ebm_cli.samplers.loops import trace


class Jump(NamedTuple):
    """Positions after a proposal to every chain [B, *D], and the probability with which each was accepted [B]."""

    x: Tensor
    accept: Tensor


def jump(energy: EnergyFn, density: Density, x: Tensor, rng: torch.Generator, temperature: float = 1.0) -> Jump:
    """Propose an independent draw of the density to every chain, and accept it by the ratio of weights.

    Args:
        energy: f; the target is exp(−f / temperature).
        density: q, positive wherever the target is.
        x: positions [B, *D].
        rng: source of every draw, on x's device.
        temperature: T > 0.

    Cost: two energies, and two log-densities, a chain.
    """
    with torch.no_grad():
        y, log_q = density.sample_with_log_prob(len(x), rng)
        log_ratio = (energy(x) - energy(y)) / temperature + density.log_prob(x) - log_q
        # A proposal whose energy is not a number is rejected.
        accept = log_ratio.clamp(max=0.0).exp().nan_to_num(0.0)
        moves = torch.rand(accept.shape, generator=rng, dtype=accept.dtype, device=accept.device) < accept
        return Jump(select_chains(moves, y, x), accept)


def trace_with_jumps(
    kernel: Kernel,
    energy: EnergyFn,
    density: Density,
    x: Tensor | State,
    n_steps: int,
    thin: int,
    rng: torch.Generator,
    progress: Callable[[int], None] | None = None,
) -> tuple[Tensor, Info, Tensor]:
    """As `samplers.trace`, with a jump to every chain before each kept position.

    Args:
        kernel: the transition between jumps.
        density: q of the jumps.
        energy, x, n_steps, thin, rng, progress: as for `trace`.

    Returns:
        Positions [n_steps / thin, B, *D], `Info` of the kernel averaged over its steps, and the acceptance of the
        jumps averaged over them [B].

    Raises:
        ValueError: as `trace`.

    Cost: `jump_cost`.
    """
    if thin < 1 or n_steps % thin:
        raise ValueError(f"n_steps must be a multiple of thin >= 1, got {n_steps} and {thin}")
    x = x.x if isinstance(x, State) else x
    n_kept = n_steps // thin
    draws = x.new_empty(n_kept, *x.shape)
    accept, jumps = x.new_zeros(len(x)), x.new_zeros(len(x))
    gradients: list[Tensor] = []
    for kept in range(n_kept):
        moved, info = trace(kernel, energy, x, thin, thin, rng)
        x, accepted = jump(energy, density, moved[0], rng, kernel.temperature)
        draws[kept] = x
        accept, jumps = accept + info.accept / n_kept, jumps + accepted / n_kept
        if info.gradients is not None:
            gradients.append(info.gradients)
        if progress is not None:
            progress((kept + 1) * thin)
    return draws, Info(accept, gradients=torch.stack(gradients).mean(0) if gradients else None), jumps


def jump_cost(kernel: Kernel, n_steps: int, thin: int) -> Cost:
    """Evaluations of one chain: the kernel begins anew after each jump."""
    n_kept, piece = n_steps // thin, kernel.evaluations(thin)
    return Cost(energy=n_kept * (piece.energy + 2), grad=n_kept * piece.grad)
