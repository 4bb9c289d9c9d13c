"""Hamiltonian Monte Carlo: a trajectory along the contours of the energy as proposal, then a Metropolis test.

A velocity v ~ N(0, T I) makes x a particle of unit mass with the total energy H(x, v) = E(x) + ½‖v‖². The leapfrog
integrator conserves H up to O(eps²), preserves volume and is reversible, so that the end of a trajectory is a proposal
with the Metropolis ratio exp(−ΔH/T). L steps move about L·eps, where L Langevin steps would diffuse only about √L·eps.

A trajectory of a fixed length can end where it began: on a Gaussian every coordinate swings, and for eps = 0.618 and
L = 10 on N(0, I) it swings once in L steps, whatever the velocity, so that the chain stays where it is, with an
acceptance of 1. After half a swing x only changes its sign. A step size that is drawn anew for each trajectory has no
such period. The draw depends on nothing else: each step size has its own transition that leaves the target invariant,
and so has their mixture.
"""

from dataclasses import dataclass
from math import sqrt

import torch
from torch import Tensor

from ebm_cli.derivatives import EnergyFn, value_and_grad
from ebm_cli.samplers.acceptance import accept_reject
from ebm_cli.samplers.base import (
    Cost,
    Info,
    State,
    energy_of,
    grad_of,
    inner,
    normal_like,
)
from ebm_cli.samplers.metric import Preconditioned


@dataclass(frozen=True)
class HMC(Preconditioned):
    """A leapfrog trajectory from a fresh velocity, with a Metropolis correction; leaves exp(−E/T) invariant.

        v ← v − (eps/2) ∇E(x);   x ← x + eps v;   v ← v − (eps/2) ∇E(x)        n_leapfrog times, v(0) ~ N(0, T I)

    accepted with probability min(1, exp((H(x, v) − H(x', v'))/T)). Each trajectory of each chain has its own step size
    eps · u, with u uniform in [1 − jitter, 1 + jitter].

    Sources: Neal (2011), "MCMC using Hamiltonian dynamics", arXiv:1206.1901, eqs. (2.28)–(2.30) for the leapfrog, and
    section 3.2 for step sizes from a small interval; random lengths against periods: Mackenzie (1989), Physics Letters
    B 226; acceptance 0.651 of long trajectories on products of many equal densities: Beskos et al. (2013), Bernoulli
    19(5A).

    Args:
        step_size: eps > 0 of the leapfrog, in standardised units (unit mass).
        temperature: T > 0.
        n_leapfrog: L ≥ 1, leapfrog steps of a trajectory.
        jitter: spread of the step size around eps, in [0, 1); 0 is a fixed length, which can be a period of the target.
        target_accept: acceptance in (0, 1) that burn-in adapts eps to. Where the curvature differs from place to place,
            a step that is right on average is unstable in the narrow places, and chains stay there.
        metric: scales that burn-in measures: none, diagonal or full; the mass matrix is then the inverse of their
            covariance L Lᵀ, v is in the metric's coordinates, and eps has no unit.

    Raises:
        ValueError: a number is out of range.

    Shapes: x [B, *D]; energy [B], nats.  Cost: n_leapfrog gradients a step, and one at the start.
    """

    step_size: float = 0.1
    n_leapfrog: int = 10
    jitter: float = 0.2
    target_accept: float = 0.9

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_leapfrog < 1:
            raise ValueError(f"n_leapfrog must be >= 1, got {self.n_leapfrog}")
        if not 0 <= self.jitter < 1:
            raise ValueError(f"jitter must be in [0, 1), got {self.jitter}")
        if not 0 < self.target_accept < 1:
            raise ValueError(f"target_accept must be in (0, 1), got {self.target_accept}")

    def evaluations(self, n_steps: int) -> Cost:
        return Cost(grad=n_steps * self.n_leapfrog + 1)

    def good_accept(self, dimension: int) -> tuple[float, float]:
        """Between 0.6 and 0.9 (Betancourt, Byrne & Girolami 2014, arXiv:1411.6669), or more if more is asked for."""
        return min(0.6, 0.7 * self.target_accept), max(0.9, 1 - 0.5 * (1 - self.target_accept))

    def init(self, energy: EnergyFn, x: Tensor, rng: torch.Generator) -> State:
        return State(x.detach(), *value_and_grad(energy, x), {})

    def step(self, energy: EnergyFn, state: State, rng: torch.Generator) -> tuple[State, Info]:
        old_energy, grad = energy_of(state), grad_of(state)
        start = normal_like(state.x, rng).mul_(sqrt(self.temperature))
        eps = self._step_sizes(state.x, rng)
        v = _moved(start, self.to_unit(grad), eps, -0.5)
        x, new_energy = state.x, old_energy
        for left in reversed(range(self.n_leapfrog)):
            x = _moved(x, self.to_target(v), eps)
            new_energy, grad = value_and_grad(energy, x)
            # The half kick at the end of a step and the one at the start of the next are done as one.
            v = _moved(v, self.to_unit(grad), eps, -1.0 if left else -0.5)
        # ‖v‖² − ‖v'‖² as (v − v')·(v + v'): the difference of two numbers of size D loses digits in float32.
        drop = torch.add(old_energy - new_energy, inner(start - v, start + v), alpha=0.5)
        return accept_reject(state, State(x, new_energy, grad, {}), drop / self.temperature, rng)

    def _step_sizes(self, x: Tensor, rng: torch.Generator) -> float | Tensor:
        """The step size of a trajectory, or that of each chain [B, 1, …]."""
        if self.jitter == 0:
            return self.step_size
        uniform = torch.rand(len(x), generator=rng, dtype=x.dtype, device=x.device)
        factor = uniform.mul_(2 * self.jitter).add_(1 - self.jitter)
        return factor.mul_(self.step_size).view(-1, *(1,) * (x.dim() - 1))


def _moved(a: Tensor, b: Tensor, eps: float | Tensor, share: float = 1.0) -> Tensor:
    """Return a + share · eps · b, in one operation."""
    if isinstance(eps, Tensor):
        return torch.addcmul(a, b, eps, value=share)
    return torch.add(a, b, alpha=share * eps)
