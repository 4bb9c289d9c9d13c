"""Hamiltonian Monte Carlo: a trajectory along the contours of the energy as proposal, then a Metropolis test.

A velocity v ~ N(0, T I) makes x a particle of unit mass with the total energy H(x, v) = E(x) + ½‖v‖². The leapfrog
integrator conserves H up to O(eps²), preserves volume and is reversible, so that the end of a trajectory is a proposal
with the Metropolis ratio exp(−ΔH/T). L steps move about L·eps, where L Langevin steps would diffuse only about √L·eps.
"""

from dataclasses import dataclass
from math import sqrt
from typing import ClassVar

import torch
from torch import Tensor

from ebm_cli.derivatives import EnergyFn, value_and_grad
from ebm_cli.samplers.acceptance import accept_reject
from ebm_cli.samplers.base import (
    Cost,
    Info,
    Kernel,
    State,
    energy_of,
    grad_of,
    inner,
    normal_like,
)


@dataclass(frozen=True)
class HMC(Kernel):
    """A leapfrog trajectory from a fresh velocity, with a Metropolis correction; leaves exp(−E/T) invariant.

        v ← v − (eps/2) ∇E(x);   x ← x + eps v;   v ← v − (eps/2) ∇E(x)        n_leapfrog times, v(0) ~ N(0, T I)

    accepted with probability min(1, exp((H(x, v) − H(x', v'))/T)).

    Sources: Neal (2011), "MCMC using Hamiltonian dynamics", arXiv:1206.1901, eqs. (2.28)–(2.30) for the leapfrog;
    target acceptance 0.651: Beskos et al. (2013), Bernoulli 19(5A).

    Args:
        step_size: eps > 0 of the leapfrog, in standardised units (unit mass).
        temperature: T > 0.
        n_leapfrog: L ≥ 1, leapfrog steps of a trajectory.

    Raises:
        ValueError: a number is out of range.

    Shapes: x [B, *D]; energy [B], nats.  Cost: n_leapfrog gradients a step, and one at the start.
    """

    step_size: float = 0.1
    n_leapfrog: int = 10
    target_accept: ClassVar[float | None] = 0.651

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_leapfrog < 1:
            raise ValueError(f"n_leapfrog must be >= 1, got {self.n_leapfrog}")

    def evaluations(self, n_steps: int) -> Cost:
        return Cost(grad=n_steps * self.n_leapfrog + 1)

    def good_accept(self, dimension: int) -> tuple[float, float]:
        """Between 0.6 and 0.9 (Betancourt, Byrne & Girolami 2014, arXiv:1411.6669)."""
        return 0.6, 0.9

    def init(self, energy: EnergyFn, x: Tensor, rng: torch.Generator) -> State:
        return State(x.detach(), *value_and_grad(energy, x), {})

    def step(self, energy: EnergyFn, state: State, rng: torch.Generator) -> tuple[State, Info]:
        eps = self.step_size
        old_energy, grad = energy_of(state), grad_of(state)
        start = normal_like(state.x, rng).mul_(sqrt(self.temperature))
        v = torch.add(start, grad, alpha=-0.5 * eps)
        x, new_energy = state.x, old_energy
        for left in reversed(range(self.n_leapfrog)):
            x = torch.add(x, v, alpha=eps)
            new_energy, grad = value_and_grad(energy, x)
            # The half kick at the end of a step and the one at the start of the next are done as one.
            v.add_(grad, alpha=-eps if left else -0.5 * eps)
        # ‖v‖² − ‖v'‖² as (v − v')·(v + v'): the difference of two numbers of size D loses digits in float32.
        drop = torch.add(old_energy - new_energy, inner(start - v, start + v), alpha=0.5)
        return accept_reject(state, State(x, new_energy, grad, {}), drop / self.temperature, rng)
