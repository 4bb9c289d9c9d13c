"""The targets of `tests.benchmarks.moments`, each density written once for torch and for JAX.

An energy takes the module of the arrays, `torch` or `jax.numpy`, and points [..., D]. The moments E x_i² and Var x_i²
are in closed form, or of long chains of our NUTS in double precision from which the starts are drawn, too.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from sklearn.datasets import load_breast_cancer
from torch import Tensor

from ebm_cli.samplers import NUTS, adapt

GAUSSIAN_DIM, FUNNEL_DIM = 100, 10
SLOPE, WIDE = 0.03, 10.0
"""The banana: x_0 ~ N(0, WIDE²), x_1 ~ N(SLOPE (x_0² − WIDE²), 1)."""
EFFECTS = (28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0)
ERRORS = (15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0)
"""Effects of coaching in eight schools, and their standard errors (Rubin 1981, J. Educ. Stat. 6(4), table 1)."""
LONG_CHAINS, LONG_BURN_IN, LONG_STEPS = 128, 300, 600
"""The chains of a target without a closed form."""


class Truth(NamedTuple):
    """E x_i² and Var x_i², both [D], and a function that draws points of the target: (n, rng) → [n, D]."""

    mean: Tensor
    variance: Tensor
    draw: Callable[[int, torch.Generator], Tensor]


@dataclass(frozen=True)
class Target:
    """A density p ∝ exp(−energy).

    Args:
        title: what it is.
        dim: D.
        n_chains: of a measurement, more where they are cheap.
        energy: (module of the arrays, points [..., D], the target's data) → [...].
        data: arrays of the energy.
        truth: its moments; computed when it is called.
    """

    title: str
    dim: int
    n_chains: int
    energy: Callable[[Any, Any, tuple[Any, ...]], Any]
    data: tuple[Tensor, ...]
    truth: Callable[["Target"], Truth]

    def in_torch(self, x: Tensor) -> Tensor:
        """The energy of points [B, D], in their precision."""
        value: Tensor = self.energy(torch, x, tuple(part.to(x.dtype) for part in self.data))
        return value


def gaussian(xp: Any, x: Any, data: tuple[Any, ...]) -> Any:
    """½ Σ x_i²/σ_i²."""
    return 0.5 * (x * x / data[0]).sum(-1)


def banana(xp: Any, x: Any, data: tuple[Any, ...]) -> Any:
    """A parabola."""
    across = x[..., 1] - SLOPE * (x[..., 0] ** 2 - WIDE**2)
    return 0.5 * (x[..., 0] / WIDE) ** 2 + 0.5 * across**2


def funnel(xp: Any, x: Any, data: tuple[Any, ...]) -> Any:
    """The funnel in non-centred coordinates, v = 3 x_0 and y_i = exp(v/2) x_i: a standard normal."""
    return 0.5 * (x * x).sum(-1)


def eight_schools(xp: Any, x: Any, data: tuple[Any, ...]) -> Any:
    """μ ~ N(0, 5²), τ half-Cauchy of scale 5, θ_j = μ + τ x_j, effects ~ N(θ_j, errors²); x = (μ, log τ, x_1 … x_8)."""
    effects, errors = data
    mu, log_tau, z = x[..., :1], x[..., 1:2], x[..., 2:]
    tau = xp.exp(log_tau)
    prior = 0.5 * (mu / 5) ** 2 + xp.log(1 + (tau / 5) ** 2) - log_tau
    return prior[..., 0] + 0.5 * (z * z).sum(-1) + 0.5 * (((effects - mu - tau * z) / errors) ** 2).sum(-1)


def logistic(xp: Any, x: Any, data: tuple[Any, ...]) -> Any:
    """Bayesian logistic regression with a standard normal prior of all weights; the last one is the intercept."""
    columns, signs = data
    margin = signs * (x[..., :-1] @ columns + x[..., -1:])
    return xp.logaddexp(-margin, xp.zeros_like(margin)).sum(-1) + 0.5 * (x * x).sum(-1)


def _gaussian_truth(target: Target) -> Truth:
    variance = target.data[0].double() if target.data else torch.ones(target.dim, dtype=torch.float64)
    return Truth(variance, 2 * variance**2, lambda n, rng: _normal(n, target.dim, rng) * variance.sqrt())


def _banana_truth(target: Target) -> Truth:
    """With a = SLOPE WIDE², x_1 = a (z² − 1) + e, z and e ~ N(0, 1): E x_1² = 2a² + 1, E x_1⁴ = 60a⁴ + 12a² + 3."""
    a2 = (SLOPE * WIDE**2) ** 2
    second, fourth = 2 * a2 + 1, 60 * a2**2 + 12 * a2 + 3

    def draw(n: int, rng: torch.Generator) -> Tensor:
        z = _normal(n, 2, rng)
        return torch.stack((WIDE * z[:, 0], SLOPE * WIDE**2 * (z[:, 0] ** 2 - 1) + z[:, 1]), 1)

    mean, variance = [WIDE**2, second], [2 * WIDE**4, fourth - second**2]
    return Truth(*(torch.tensor(both, dtype=torch.float64) for both in (mean, variance)), draw)


def _long_chains(target: Target) -> Truth:
    rng = torch.Generator().manual_seed(7)
    x = 0.1 * _normal(LONG_CHAINS, target.dim, rng)
    kernel, state = adapt(NUTS(0.1, metric="diagonal", max_depth=7), target.in_torch, x, LONG_BURN_IN, rng)
    second, fourth, kept = torch.zeros_like(x[0]), torch.zeros_like(x[0]), []
    for i in range(LONG_STEPS):
        state, _ = kernel.step(target.in_torch, state, rng)
        square = state.x.square()
        second, fourth = second + square.mean(0) / LONG_STEPS, fourth + square.square().mean(0) / LONG_STEPS
        if i % 20 == 19:
            kept.append(state.x)
    pool = torch.cat(kept)
    return Truth(second, fourth - second**2, lambda n, rng: pool[torch.randperm(len(pool), generator=rng)[:n]])


def _normal(n: int, dim: int, rng: torch.Generator) -> Tensor:
    return torch.randn(n, dim, generator=rng, dtype=torch.float64)


def _cancer() -> tuple[Tensor, Tensor]:
    """Standardised columns, transposed [30, 569], and the signs of the two classes [569]."""
    found = load_breast_cancer()
    rows = torch.as_tensor(found.data)
    rows = (rows - rows.mean(0)) / rows.std(0, correction=0)
    return rows.T.contiguous(), 2.0 * torch.as_tensor(found.target).double() - 1


TARGETS = {
    "gaussian": Target(
        "Gaussian of condition 1,000, D = 100",
        GAUSSIAN_DIM,
        256,
        gaussian,
        (torch.logspace(-1.5, 1.5, GAUSSIAN_DIM, dtype=torch.float64),),
        _gaussian_truth,
    ),
    "banana": Target("banana, D = 2", 2, 512, banana, (), _banana_truth),
    "funnel": Target("funnel, non-centred, D = 10", FUNNEL_DIM, 1024, funnel, (), _gaussian_truth),
    "schools": Target(
        "eight schools, non-centred, D = 10",
        2 + len(EFFECTS),
        512,
        eight_schools,
        (torch.tensor(EFFECTS, dtype=torch.float64), torch.tensor(ERRORS, dtype=torch.float64)),
        _long_chains,
    ),
    "logistic": Target("logistic regression, breast_cancer, D = 31", 31, 128, logistic, _cancer(), _long_chains),
}
