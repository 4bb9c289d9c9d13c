"""The Metropolis-adjusted Langevin algorithm: a Langevin step as proposal, and a Metropolis test that makes it exact.

With s = ∇E(x) + ∇E(x') and z the noise that led from x to x', the two proposal densities q = N(x − eps ∇E, 2 eps T
I) give

    T log [q(x | x') / q(x' | x)] = T‖z‖²/2 − ‖x − x' + eps ∇E(x')‖²/(4 eps) = √(eps T/2) sᵀz − eps‖s‖²/4

where the two terms ½‖z‖², which grow with D, have cancelled on paper and not in floating point. With a metric, all of
this holds in its coordinates.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import sqrt

import torch
from torch import Tensor

from ebm_cli.derivatives import EnergyFn, value_and_grad
from ebm_cli.samplers.acceptance import accept_reject
from ebm_cli.samplers.base import Info, State, energy_of, grad_of, inner, normal_like
from ebm_cli.samplers.metric import Preconditioned, ScaleOfChains


@dataclass(frozen=True)
class MALA(Preconditioned):
    """Langevin proposal with a Metropolis correction; leaves exp(−E/T) invariant.

        x' = x − eps ∇E(x) + √(2 eps T) z,   z ~ N(0, I)

    accepted with probability min(1, exp((E(x) − E(x'))/T) q(x | x') / q(x' | x)).

    Sources: Roberts & Tweedie (1996), Bernoulli 2(4); target acceptance 0.574: Roberts & Rosenthal (1998), JRSS B
    60(1).

    Args:
        step_size: eps > 0, in squared standardised units.
        temperature: T > 0.
        metric: scales that burn-in measures: none, diagonal or full; the step is then x' = x − eps C∇E + √(2 eps T) L z
            with C = L Lᵀ, and eps has no unit.

    Raises:
        ValueError: a number is out of range.

    Shapes: x [B, *D]; energy [B], nats.  Cost: one gradient a step, and one at the start.
    """

    step_size: float = 0.05
    target_accept = 0.574

    def good_accept(self, dimension: int) -> tuple[float, float]:
        """Between 0.4 and 0.8 (Roberts & Rosenthal 2001, Stat. Sci. 16(4))."""
        return 0.4, 0.8

    def of_runs(self, factors: Sequence[float], x: Tensor) -> "MALA | None":
        if len(set(factors)) == 1:
            return replace(self, step_size=self.step_size * factors[0])
        if self.metric != "none":
            return None
        # In coordinates of the scale √c a step eps is c eps.
        scales = x.new_tensor(factors).sqrt().repeat_interleave(len(x) // len(factors))
        return replace(self, metric=ScaleOfChains(scales))

    def init(self, energy: EnergyFn, x: Tensor, rng: torch.Generator) -> State:
        return State(x.detach(), *value_and_grad(energy, x), {})

    def step(self, energy: EnergyFn, state: State, rng: torch.Generator) -> tuple[State, Info]:
        eps, temperature = self.step_size, self.temperature
        old_energy, old_grad = energy_of(state), grad_of(state)
        z = normal_like(state.x, rng)
        x = torch.add(state.x, self.to_target(self.to_unit(old_grad)), alpha=-eps)
        x = x.add_(self.to_target(z), alpha=sqrt(2 * eps * temperature))
        new_energy, new_grad = value_and_grad(energy, x)
        s = self.to_unit(old_grad + new_grad)
        # √(eps T/2) sᵀz − eps‖s‖²/4 as one product of s.
        log_q_ratio = inner(s, torch.add(z, s, alpha=-sqrt(eps / (8 * temperature))))
        drop = torch.add(old_energy - new_energy, log_q_ratio, alpha=sqrt(eps * temperature / 2))
        log_ratio = drop / temperature
        return accept_reject(state, State(x, new_energy, new_grad, {}), log_ratio, rng)
