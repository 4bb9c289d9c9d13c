"""Microcanonical Langevin Monte Carlo: a particle of constant speed that the gradient steers, and noise that turns it.

    dx = u dt,   du = −P(u) ∇E(x)/((D − 1) T) dt + η P(u) dW,   ‖u‖ = 1,   P(u) = I − u uᵀ

has the stationary distribution exp(−E(x)/T) with u uniform on the sphere. A particle whose speed does not depend on the
energy crosses narrow and wide parts of a target in equal times. Both maps are solved exactly: A, the drift of x, and B,
the turn of u towards e = −∇E/‖∇E‖ by δ = t‖∇E‖/((D − 1) T),

    u ← (u + e (sinh δ + (e·u)(cosh δ − 1))) / (cosh δ + (e·u) sinh δ)

which stands for the kinetic energy (D − 1) log(cosh δ + (e·u) sinh δ). Its sum over a step with ΔE/T is the error of
the integrator. It is composed as B A B A B with the coefficients of the smallest error of third order; then noise turns
the direction so that it is forgotten over the length L.

There is no Metropolis test: the bias follows from the variance V of the error per dimension, which grows with eps⁶.
Burn-in finds the step size at which V is `energy_error`, by the mean size of the errors, and L (`error_adaptation`).

Sources: Robnik, De Luca, Silverstein & Seljak (2023), JMLR 24, arXiv:2212.08549; the noise and the exact turn: Robnik &
Seljak (2023), arXiv:2303.18221; the integrator: Omelyan, Mryglod & Folk (2003), Comput. Phys. Commun. 151, eq. (31).
"""

from dataclasses import dataclass, replace
from math import expm1, log, sqrt
from typing import Self

import torch
from torch import Tensor

from ebm_cli.derivatives import EnergyFn, value_and_grad
from ebm_cli.errors import require_positive
from ebm_cli.samplers.base import Cost, Info, State, energy_of, grad_of, inner, normal_like
from ebm_cli.samplers.tuned import Tuned

EDGE = 0.1931833275037836
"""λ of B(λ eps) A(eps/2) B((1 − 2λ) eps) A(eps/2) B(λ eps)."""

MAX_TURN = 60.0


@dataclass(frozen=True)
class MCLMC(Tuned):
    """One step of the integrator and of the noise; the direction in `state.aux["direction"]`, without a correction.

        u ← (u + ν z)/‖u + ν z‖,   ν² = (exp(2 eps/L) − 1)/D,   z ~ N(0, I)        after B A B A B

    `state.aux["error"]` [B] is the error of the step's energy, in units of T. A chain that diverges stays visible.

    Args:
        step_size: eps > 0, a distance in standardised units, or in those of the metric.
        temperature: T > 0.
        length: L > 0, the distance over which the direction is forgotten; None is √D, which suits unit scales.
        energy_error: V > 0, variance of the energy error per dimension that burn-in adapts eps to.
        metric: scales that burn-in measures: none, diagonal or full.

    Raises:
        ValueError: a number is out of range.

    Shapes: x [B, *D] with D ≥ 2; direction [B, *D].  Cost: two gradients a step, and one at the start.
    """

    step_size: float = 0.1
    length: float | None = None
    energy_error: float = 1e-4

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(length=self.length, energy_error=self.energy_error)

    @property
    def target_error(self) -> float:
        return self.energy_error

    def pace(self, dimension: int) -> float:
        return self.step_size

    def cooled(self) -> Self:
        return self

    def with_length(self, length: float, dimension: int) -> Self:
        return replace(self, length=length)

    def why_not(self, dimension: int) -> str | None:
        """A direction in one dimension has no sphere to turn on."""
        return "mclmc needs points of at least two dimensions: take mala, hmc or nuts" if dimension < 2 else None

    def evaluations(self, n_steps: int) -> Cost:
        return Cost(grad=2 * n_steps + 1)

    def init(self, energy: EnergyFn, x: Tensor, rng: torch.Generator) -> State:
        """Start in a uniform direction; ValueError for points of one dimension."""
        reason = self.why_not(x[0].numel())
        if reason is not None:
            raise ValueError(reason)
        direction = _unit(normal_like(x, rng))
        return State(x.detach(), *value_and_grad(energy, x), {"direction": direction, "error": x.new_zeros(len(x))})

    def step(self, energy: EnergyFn, state: State, rng: torch.Generator) -> tuple[State, Info]:
        eps, dim = self.step_size, state.x[0].numel()
        edge, middle = EDGE * eps / self.temperature, (1 - 2 * EDGE) * eps / self.temperature
        u, first = _turned(state.aux["direction"], self.to_unit(grad_of(state)), edge)
        x = torch.add(state.x, self.to_target(u), alpha=0.5 * eps)
        u, second = _turned(u, self.to_unit(value_and_grad(energy, x)[1]), middle)
        x = x.add_(self.to_target(u), alpha=0.5 * eps)
        value, grad = value_and_grad(energy, x)
        u, third = _turned(u, self.to_unit(grad), edge)
        error = (value - energy_of(state)) / self.temperature + (first + second + third)
        # Beyond the bound, which keeps the exponential finite, the direction is forgotten anyhow.
        turn = sqrt(expm1(min(2 * eps / (self.length or sqrt(dim)), MAX_TURN)) / dim)
        u = _unit(torch.add(u, normal_like(u, rng), alpha=turn))
        return State(x, value, grad, {"direction": u, "error": error}), Info(x.new_ones(len(x)))


def _unit(u: Tensor) -> Tensor:
    """u/‖u‖ of each row."""
    return u / _rows(inner(u, u).sqrt(), u)


def _turned(u: Tensor, grad: Tensor, time: float) -> tuple[Tensor, Tensor]:
    """The direction after the map B, and the kinetic energy that it gains [B].

    Multiplied by 2 exp(−δ): neither sinh nor cosh overflows in a steep energy.
    """
    scale = inner(grad, grad).sqrt()
    down = grad / _rows(-scale.clamp_min(torch.finfo(grad.dtype).tiny), grad)
    n = u[0].numel() - 1
    delta, along = scale * (time / n), inner(u, down)
    decay = torch.exp(-delta)
    push = (1 - decay) * (1 + decay + along * (1 - decay))
    turned = _unit(_rows(push, u) * down + _rows(2 * decay, u) * u)
    return turned, n * (delta - log(2) + torch.log(1 + along + (1 - along) * decay.square()))


def _rows(a: Tensor, like: Tensor) -> Tensor:
    """One number a chain [B], shaped to multiply points [B, *D]."""
    return a.view(-1, *(1,) * (like.dim() - 1))
