"""Unadjusted Langevin dynamics: follow the gradient, add noise.

The diffusion dx = ∇log p(x) dt + √2 dW has the stationary distribution p; the chain of this file is Euler's scheme with
a time step ε. Without the noise (`noise_scale=0`) it is gradient descent on the energy, which ends in the nearest mode.
Euler's scheme is not exact: on N(0, σ²) the stationary variance of the chain is σ² / (1 − ε/(2σ²)), and the chain
diverges for ε > 2σ². `mala` removes this bias.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf, sqrt

import torch
from torch import Tensor

from ebm_cli.derivatives import EnergyFn, detached_gradient
from ebm_cli.errors import require_positive
from ebm_cli.samplers.base import Cost, Info, Kernel, State, normal_like


@dataclass(frozen=True)
class Langevin(Kernel):
    """Unadjusted Langevin step; its stationary distribution tends to exp(−E/T) as eps → 0.

        x' = x − eps ∇E(x) + √(2 eps T) · s · z,   z ~ N(0, I)

    A chain that diverges stays visible: non-finite values are not replaced.

    Source: Roberts & Tweedie (1996), Bernoulli 2(4), with eps half their step.

    Args:
        step_size: eps > 0, in squared standardised units.
        temperature: T > 0.
        noise_scale: s, factor of the noise, ≥ 0; 1 samples, 0 is gradient descent.
        clamp_grad: bound > 0 of each component of ∇E, in nats per standardised unit; None is no bound. A bound biases.
        clamp_sample: bound > 0 of each component of x', in standardised units; None is no bound. A bound biases.

    Raises:
        ValueError: a number is out of range.

    Shapes: x [B, *D].  Cost: one gradient a step; k gradients for k steps, since ∇E is taken where a step starts.
    """

    step_size: float = 0.01
    noise_scale: float = 1.0
    clamp_grad: float | None = None
    clamp_sample: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.noise_scale < float("inf"):
            raise ValueError(f"noise_scale must be >= 0 and finite, got {self.noise_scale}")
        require_positive(clamp_grad=self.clamp_grad, clamp_sample=self.clamp_sample)

    def evaluations(self, n_steps: int) -> Cost:
        return Cost(grad=n_steps)

    def stationary_variance(self, variance: float) -> float | None:
        """Stationary variance s² T σ² / (1 − eps/(2σ²)), the fixed point of v = (1 − eps/σ²)² v + 2 eps T s².

        Infinite for eps ≥ 2σ²; None with a clamp.
        """
        if self.clamp_grad is not None or self.clamp_sample is not None:
            return None
        shrink = 1 - self.step_size / (2 * variance)
        return self.noise_scale**2 * self.temperature * variance / shrink if shrink > 0 else inf

    def of_runs(self, factors: Sequence[float], x: Tensor) -> "Langevin | None":
        return replace(self, step_size=self.step_size * factors[0]) if len(set(factors)) == 1 else None

    def init(self, energy: EnergyFn, x: Tensor, rng: torch.Generator) -> State:
        return State(x.detach(), None, None, {})

    def step(self, energy: EnergyFn, state: State, rng: torch.Generator) -> tuple[State, Info]:
        grad = detached_gradient(energy, state.x)
        if self.clamp_grad is not None:
            grad = grad.clamp(-self.clamp_grad, self.clamp_grad)
        noise = sqrt(2 * self.step_size * self.temperature) * self.noise_scale
        x = torch.add(state.x, grad, alpha=-self.step_size).add_(normal_like(state.x, rng), alpha=noise)
        if self.clamp_sample is not None:
            x = x.clamp(-self.clamp_sample, self.clamp_sample)
        return State(x, None, None, {}), Info(x.new_ones(x.shape[0]))
