"""Underdamped (kinetic) Langevin dynamics: a particle with momentum, friction and heat.

    dx = v dt,   dv = −∇E(x) dt − γ v dt + √(2γT) dW

has the stationary distribution exp(−E(x)/T) N(v; 0, T I). Momentum carries the chain through flat regions that
overdamped Langevin dynamics crosses by diffusion. Each of the three parts is solved exactly on its own: A the drift of
x, B the kick of v, O the Ornstein–Uhlenbeck process of v. Composed as B A O A B, half steps of B and A around a full O,
averages over x have an error of second order in the step. On a Gaussian that error vanishes: x is exact at every stable
step, while v has the variance T (1 − eps²/(4σ²)).
"""

from dataclasses import dataclass
from math import exp, expm1, inf, sqrt

import torch
from torch import Tensor

from ebm_cli.derivatives import EnergyFn, value_and_grad
from ebm_cli.errors import require_positive
from ebm_cli.samplers.base import Info, Kernel, State, grad_of, normal_like


@dataclass(frozen=True)
class Underdamped(Kernel):
    """One BAOAB step, without a Metropolis correction; unit mass, the velocity in `state.aux["velocity"]`.

        v ← v − (eps/2) ∇E(x);   x ← x + (eps/2) v;   v ← c v + √(T (1 − c²)) z,   c = exp(−friction · eps)
        x ← x + (eps/2) v;       v ← v − (eps/2) ∇E(x)

    A chain that diverges stays visible: non-finite values are not replaced.

    Source: Leimkuhler & Matthews (2013), "Rational construction of stochastic numerical methods for molecular
    sampling", arXiv:1203.5428, the method [BAOAB].

    Args:
        step_size: eps > 0, in standardised units (unit mass); stable on N(0, σ²) for eps < 2σ.
        temperature: T > 0.
        friction: γ > 0, in inverse units of time; for large γ the chain is overdamped Langevin with the step eps²/2.

    Raises:
        ValueError: a number is out of range.

    Shapes: x [B, *D]; velocity [B, *D].  Cost: one gradient a step, and one at the start.
    """

    step_size: float = 0.1
    friction: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(friction=self.friction)

    def stationary_variance(self, variance: float) -> float | None:
        """Stationary variance T σ²: BAOAB's positions are exact on a Gaussian (Leimkuhler & Matthews 2013, section 4).

        Infinite for eps ≥ 2σ.
        """
        return self.temperature * variance if self.step_size < 2 * sqrt(variance) else inf

    def init(self, energy: EnergyFn, x: Tensor, rng: torch.Generator) -> State:
        velocity = sqrt(self.temperature) * normal_like(x, rng)
        return State(x.detach(), *value_and_grad(energy, x), {"velocity": velocity})

    def step(self, energy: EnergyFn, state: State, rng: torch.Generator) -> tuple[State, Info]:
        half = 0.5 * self.step_size
        decay = exp(-self.friction * self.step_size)
        heat = sqrt(-self.temperature * expm1(-2 * self.friction * self.step_size))
        v = torch.add(state.aux["velocity"], grad_of(state), alpha=-half)
        x = torch.add(state.x, v, alpha=half)
        v = v.mul_(decay).add_(normal_like(v, rng), alpha=heat)
        x = x.add_(v, alpha=half)
        value, grad = value_and_grad(energy, x)
        v = v.add_(grad, alpha=-half)
        return State(x, value, grad, {"velocity": v}), Info(x.new_ones(x.shape[0]))
