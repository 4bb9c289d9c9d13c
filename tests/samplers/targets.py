"""Targets with exact samples, and kernels with steps so long that a missing correction shows."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from scipy import stats
from torch import Tensor

from ebm_cli.samplers import Info, Kernel, State, run
from ebm_cli.samplers import hmc as hmc_module
from ebm_cli.samplers import mala as mala_module
from ebm_cli.samplers import metropolis as metropolis_module
from ebm_cli.samplers.acceptance import accept_reject
from ebm_cli.samplers.hmc import HMC
from ebm_cli.samplers.langevin import Langevin
from ebm_cli.samplers.mala import MALA
from ebm_cli.samplers.mclmc import MCLMC
from ebm_cli.samplers.metropolis import Metropolis
from ebm_cli.samplers.nuts import NUTS
from ebm_cli.samplers.tempering import Tempering
from ebm_cli.samplers.underdamped import Underdamped
from tests.support import normal, seeded

SIGMAS = 5.0
P_VALUE = math.erfc(SIGMAS / math.sqrt(2))
KERNELS = [
    Langevin(),
    MALA(),
    HMC(),
    Metropolis(),
    Underdamped(),
    MCLMC(),
    NUTS(0.5, max_depth=4),
    Tempering(),
]
CORRECTED = [MALA(0.35), HMC(0.9, n_leapfrog=3), Metropolis(0.7)]


def name_of(value: object) -> str:
    return type(value).__name__.lower()


def deviation_of_variance(x: Tensor, variance: float) -> float:
    """Deviation of the variance of independent draws of N(0, variance), in standard errors."""
    return abs(float(x.square().mean()) - variance) / (variance * math.sqrt(2 / x.numel()))


@dataclass(frozen=True)
class Target:
    """A distribution on the plane.

    Args:
        name: of the test's parameter.
        energy: x [n, 2] → [n].
        sample: n → exact samples [n, 2].
        mean: E x.
        second: E x_0², E x_1², E x_0 x_1.
        uniform: x [n, 2] → two coordinates [n, 2] that are uniform on (0, 1) under the target.
    """

    name: str
    energy: Callable[[Tensor], Tensor]
    sample: Callable[[int], Tensor]
    mean: tuple[float, float]
    second: tuple[float, float, float]
    uniform: Callable[[Tensor], Tensor]

    def deviation(self, x: Tensor) -> float:
        """Deviation of independent points x [n, 2] from the target, in standard errors.

        The largest over the first two moments and the Kolmogorov–Smirnov tests of the uniform coordinates, whose
        p-values are converted to the normal deviate of equal probability.
        """
        values = torch.stack((x[:, 0], x[:, 1], x[:, 0] ** 2, x[:, 1] ** 2, x[:, 0] * x[:, 1]), dim=1)
        expected = torch.tensor((*self.mean, *self.second), dtype=x.dtype)
        errors = (values.mean(0) - expected).abs() / (values.std(0) / math.sqrt(len(x)))
        p_value = min(stats.kstest(u.numpy(), "uniform").pvalue for u in self.uniform(x).T)
        return max(float(errors.max()), float(stats.norm.isf(p_value / 2)))


def gaussian_target() -> Target:
    factor = torch.tensor(((1.0, 0.0), (0.8, 1.1)), dtype=torch.float64)
    white = torch.linalg.inv(factor).T
    cov = factor @ factor.T
    return Target(
        "gaussian",
        lambda x: 0.5 * (x @ white).square().sum(1),
        lambda n: normal(n, 2) @ factor.T,
        (0.0, 0.0),
        (float(cov[0, 0]), float(cov[1, 1]), float(cov[0, 1])),
        lambda x: torch.special.ndtr(x @ white),
    )


def mixture_target() -> Target:
    means = torch.tensor(((-1.5, 0.0), (1.5, 1.0)), dtype=torch.float64)
    weights = torch.tensor((0.3, 0.7), dtype=torch.float64)
    sd = 0.8

    def energy(x: Tensor) -> Tensor:
        return -torch.logsumexp(weights.log() - (x[:, None] - means).square().sum(2) / (2 * sd**2), 1)

    def sample(n: int) -> Tensor:
        component = (torch.rand(n, generator=seeded(2), dtype=torch.float64) >= 0.3).long()
        return means[component] + sd * normal(n, 2)

    def uniform(x: Tensor) -> Tensor:
        return (weights[:, None] * torch.special.ndtr((x[:, None] - means) / sd)).sum(1)

    return Target("mixture", energy, sample, (0.6, 0.7), (2.25 + sd**2, 0.7 + sd**2, 0.7 * 1.5), uniform)


def banana_target() -> Target:
    sd = 0.7

    def energy(x: Tensor) -> Tensor:
        return 0.5 * x[:, 0] ** 2 + (x[:, 1] - x[:, 0] ** 2) ** 2 / (2 * sd**2)

    def sample(n: int) -> Tensor:
        z = normal(n, 2)
        return torch.stack((z[:, 0], z[:, 0] ** 2 + sd * z[:, 1]), 1)

    def uniform(x: Tensor) -> Tensor:
        return torch.special.ndtr(torch.stack((x[:, 0], (x[:, 1] - x[:, 0] ** 2) / sd), 1))

    return Target("banana", energy, sample, (0.0, 1.0), (1.0, 3 + sd**2, 0.0), uniform)


GAUSSIAN, MIXTURE, BANANA = TARGETS = [gaussian_target(), mixture_target(), banana_target()]


def accept_always(state: State, proposal: State, log_ratio: Tensor, rng: torch.Generator) -> tuple[State, Info]:
    """The broken correction of the controls: every proposal is accepted."""
    return proposal, Info(torch.ones_like(log_ratio))


def break_correction(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (mala_module, hmc_module, metropolis_module):
        monkeypatch.setattr(module, "accept_reject", accept_always)


def recorded_ratio(
    kernel: Kernel, module: object, target: Target, monkeypatch: pytest.MonkeyPatch
) -> tuple[Tensor, Tensor, Tensor]:
    """(x, x', log of the acceptance ratio) of one step."""
    seen: list[tuple[Tensor, Tensor, Tensor]] = []

    def spy(state: State, proposal: State, log_ratio: Tensor, rng: torch.Generator) -> tuple[State, Info]:
        seen.append((state.x, proposal.x, log_ratio))
        return accept_reject(state, proposal, log_ratio, rng)

    monkeypatch.setattr(module, "accept_reject", spy)
    run(kernel, target.energy, target.sample(100), 1, seeded())
    return seen[0]
