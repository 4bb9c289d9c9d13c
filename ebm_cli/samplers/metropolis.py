"""Random-walk Metropolis: propose x plus noise, accept by the ratio of densities.

It needs no gradient and works on any energy. The price in dimension D is a step size of O(1/√D), with O(D) steps
between independent samples; MALA needs O(D^⅓).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ebm_cli.derivatives import EnergyFn
from ebm_cli.samplers.acceptance import accept_reject
from ebm_cli.samplers.base import Cost, Info, Kernel, State, energy_of, normal_like


@dataclass(frozen=True)
class Metropolis(Kernel):
    """Symmetric Gaussian proposal with a Metropolis correction; leaves exp(−E/T) invariant.

        x' = x + step_size · z,   z ~ N(0, I)

    accepted with probability min(1, exp((E(x) − E(x'))/T)).

    Sources: Metropolis et al. (1953), J. Chem. Phys. 21; target acceptance 0.234: Roberts, Gelman & Gilks (1997),
    Ann. Appl. Probab. 7(1) (the limit of high dimension; 0.44 is best for D = 1).

    Args:
        step_size: standard deviation of the proposal, > 0, in standardised units.
        temperature: T > 0.

    Raises:
        ValueError: a number is out of range.

    Shapes: x [B, *D]; energy [B], nats.  Cost: one energy a step, and one at the start; no gradient.
    """

    step_size: float = 0.25
    target_accept = 0.234

    def evaluations(self, n_steps: int) -> Cost:
        return Cost(energy=n_steps + 1)

    def good_accept(self, dimension: int) -> tuple[float, float]:
        """Between 0.15 and 0.5 (Roberts & Rosenthal 2001, Stat. Sci. 16(4)); around the best rate of 0.44 for D = 1."""
        return (0.2, 0.7) if dimension == 1 else (0.15, 0.5)

    def init(self, energy: EnergyFn, x: Tensor, rng: torch.Generator) -> State:
        return State(x.detach(), _value(energy, x), None, {})

    def step(self, energy: EnergyFn, state: State, rng: torch.Generator) -> tuple[State, Info]:
        x = torch.add(state.x, normal_like(state.x, rng), alpha=self.step_size)
        value = _value(energy, x)
        drop = energy_of(state) - value
        return accept_reject(state, State(x, value, None, {}), drop / self.temperature, rng)


def _value(energy: EnergyFn, x: Tensor) -> Tensor:
    with torch.no_grad():
        return energy(x)
