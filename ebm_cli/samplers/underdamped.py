"""Underdamped (kinetic) Langevin dynamics: a particle with momentum, friction and heat.

    dx = v dt,   dv = −∇E(x) dt − γ v dt + √(2γT) dW

has the stationary distribution exp(−E(x)/T) N(v; 0, T I). Momentum carries the chain through flat regions that
overdamped Langevin dynamics crosses by diffusion. Each of the three parts is solved exactly on its own: A the drift of
x, B the kick of v, O the Ornstein–Uhlenbeck process of v. Composed as B A O A B, half steps of B and A around a full O,
averages over x have an error of second order in the step. On a Gaussian that error vanishes: x is exact at every stable
step, while v has the variance T (1 − eps²/(4σ²)).

With `test_every` a Metropolis test corrects every so many steps, begun with a fresh velocity. The heat that O exchanges
is not an error of the integrator; the test is on the sum of what is left, error = ΔH − heat, and makes the chain exact:

    error = E(x') − E(x) + ½(‖v'‖² − ‖v_O‖²) + ½(‖v_B‖² − ‖v‖²),   v_B → v_O under O

With `energy_error` burn-in finds step size and friction by the variance of that error per dimension
(`error_adaptation`). Both together are two phases: unadjusted steps that are tuned and forget the start, then tested
ones whose step size is adapted to the acceptance.

Sources of the test: Riou-Durand & Vogrinc (2022), arXiv:2202.13230; of both phases: Robnik & Seljak (2026),
arXiv:2601.16696.
"""

from dataclasses import dataclass, replace
from math import exp, expm1, inf, sqrt
from typing import Self

import torch
from torch import Tensor

from ebm_cli.derivatives import EnergyFn, value_and_grad
from ebm_cli.errors import require_positive
from ebm_cli.samplers.acceptance import accept_reject
from ebm_cli.samplers.base import Cost, Info, State, energy_of, grad_of, inner, normal_like
from ebm_cli.samplers.tuned import Tuned

COOLING = 0.3
"""Friction of burn-in, at least, in units of 1/eps: a start off the target turns into speed, and speed asks for shorter
steps, which at a fixed friction would lose it ever more slowly."""


@dataclass(frozen=True)
class Underdamped(Tuned):
    """BAOAB steps of unit mass, the velocity in `state.aux["velocity"]`; with or without a Metropolis correction.

        v ← v − (eps/2) ∇E(x);   x ← x + (eps/2) v;   v ← c v + √(T (1 − c²)) z,   c = exp(−friction · eps)
        x ← x + (eps/2) v;       v ← v − (eps/2) ∇E(x)

    A chain that diverges stays visible without a correction: non-finite values are not replaced.

    Source: Leimkuhler & Matthews (2013), "Rational construction of stochastic numerical methods for molecular
    sampling", arXiv:1203.5428, the method [BAOAB].

    Args:
        step_size: eps > 0, in standardised units (unit mass); stable on N(0, σ²) for eps < 2σ.
        temperature: T > 0.
        friction: γ > 0, in inverse units of time; for large γ the chain is overdamped Langevin with the step eps²/2.
        energy_error: V > 0, variance of the energy error per dimension that burn-in adapts eps and γ to; None is none.
        test_every: steps, ≥ 1, from a fresh velocity to a Metropolis test; None is no test.
        metric: scales that burn-in measures: none, diagonal or full.

    Raises:
        ValueError: a number is out of range.

    Shapes: x [B, *D]; velocity [B, *D].  Cost: one gradient a step, test_every with a test, and one at the start.
    """

    step_size: float = 0.1
    friction: float = 1.0
    energy_error: float | None = None
    test_every: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(friction=self.friction, energy_error=self.energy_error)
        if self.test_every is not None and self.test_every < 1:
            raise ValueError(f"test_every must be >= 1, got {self.test_every}")
        if self.wanted != "none" and not self.can_adapt:
            raise ValueError("metric needs energy_error or test_every, by which burn-in adapts the steps")

    @property
    def target_accept(self) -> float | None:
        """0.8 with a test (Robnik & Seljak 2026: between 0.7 and 0.9)."""
        return None if self.test_every is None else 0.8

    @property
    def target_error(self) -> float | None:
        return self.energy_error

    def pace(self, dimension: int) -> float:
        return self.step_size * sqrt(self.temperature * dimension)

    def cooled(self) -> Self:
        return replace(self, friction=max(self.friction, COOLING / self.step_size))

    def with_length(self, length: float, dimension: int) -> Self:
        return replace(self, friction=sqrt(self.temperature * dimension) / length)

    def evaluations(self, n_steps: int) -> Cost:
        return Cost(grad=n_steps * (self.test_every or 1) + 1)

    def good_accept(self, dimension: int) -> tuple[float, float]:
        """Between 0.6 and 0.95: several steps are tested at once."""
        return 0.6, 0.95

    def stationary_variance(self, variance: float) -> float | None:
        """Stationary variance T σ²: BAOAB's positions are exact on a Gaussian (Leimkuhler & Matthews 2013, section 4).

        Infinite for eps ≥ 2σ without a test.
        """
        stable = self.step_size < 2 * sqrt(variance) or self.test_every is not None
        return self.temperature * variance if stable else inf

    def init(self, energy: EnergyFn, x: Tensor, rng: torch.Generator) -> State:
        velocity = self._fresh(x, rng)
        aux = {"velocity": velocity}
        if self.energy_error is not None and self.test_every is None:
            aux["error"] = x.new_zeros(len(x))
        return State(x.detach(), *value_and_grad(energy, x), aux)

    def step(self, energy: EnergyFn, state: State, rng: torch.Generator) -> tuple[State, Info]:
        if self.test_every is None:
            moved, error = self._moved(energy, state, rng, self.energy_error is not None)
            aux = moved.aux if error is None else moved.aux | {"error": error}
            return moved._replace(aux=aux), Info(state.x.new_ones(state.x.shape[0]))
        total = torch.zeros_like(energy_of(state))
        moved = state._replace(aux={"velocity": self._fresh(state.x, rng)})
        for _ in range(self.test_every):
            moved, error = self._moved(energy, moved, rng, True)
            assert error is not None
            total = total + error
        after, info = accept_reject(state, moved, -total, rng)
        return after._replace(aux=moved.aux), info

    def _fresh(self, x: Tensor, rng: torch.Generator) -> Tensor:
        """A velocity ~ N(0, T I)."""
        return sqrt(self.temperature) * normal_like(x, rng)

    def _moved(
        self, energy: EnergyFn, state: State, rng: torch.Generator, measured: bool
    ) -> tuple[State, Tensor | None]:
        """One step, and its energy error in units of T [B] if that is measured."""
        half = 0.5 * self.step_size
        decay = exp(-self.friction * self.step_size)
        heat = sqrt(-self.temperature * expm1(-2 * self.friction * self.step_size))
        start = state.aux["velocity"]
        v = torch.add(start, self.to_unit(grad_of(state)), alpha=-half)
        x = torch.add(state.x, self.to_target(v), alpha=half)
        gained = inner(v - start, v + start) if measured else None
        v = v.mul_(decay).add_(normal_like(v, rng), alpha=heat)
        x = x.add_(self.to_target(v), alpha=half)
        value, grad = value_and_grad(energy, x)
        end = torch.add(v, self.to_unit(grad), alpha=-half)
        after = State(x, value, grad, {"velocity": end})
        if gained is None:
            return after, None
        kinetic = 0.5 * (gained + inner(end - v, end + v))
        return after, (value - energy_of(state) + kinetic) / self.temperature
