"""Models and data whose log Z, distances and divergences are known, and small evaluations of them."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ebm_cli.datasets import Dataset, Gaussian
from ebm_cli.datasets.base import Part
from ebm_cli.datasets.batches import Batches
from ebm_cli.datasets.standardizer import Standardizer
from ebm_cli.densities import Density
from ebm_cli.energies import Energy
from ebm_cli.energies.quadratic import Quadratic
from ebm_cli.evaluation.context import Context
from ebm_cli.evaluation.metric_group import MetricGroup
from ebm_cli.evaluation.protocol import Protocol
from ebm_cli.evaluation.suite import Evaluation, evaluate
from ebm_cli.methods import Method
from ebm_cli.methods.sm import SM
from ebm_cli.samplers.langevin import Langevin
from ebm_cli.samplers.mala import MALA
from tests.support import harmonic

LOG_2PI = math.log(2 * math.pi)
DIVERGING = Langevin(step_size=1e30)
"""A kernel whose chains overflow within a few steps."""


class Bumps:
    """Mixture of Gaussians Σ_k w_k N(m_k, s_k² I) as an energy with log Z = 0, and its exact samples.

    Args:
        means: m [K, D].
        stds: s, one for all components or [K].
        weights: w [K], sum 1; None for equal ones.
    """

    def __init__(self, means: Tensor, stds: Tensor | float, weights: Tensor | None = None) -> None:
        k, dim = means.shape
        self.means, self.stds = means, torch.as_tensor(stds, dtype=means.dtype).expand(k)
        self.weights = torch.full((k,), 1 / k, dtype=means.dtype) if weights is None else weights
        self.log_scale = self.weights.log() - dim * (0.5 * LOG_2PI + self.stds.log())
        self.square = means.square().sum(1)

    def __call__(self, x: Tensor) -> Tensor:
        square = x.square().sum(1, keepdim=True) - 2 * x @ self.means.T + self.square
        return -torch.logsumexp(self.log_scale - square / (2 * self.stds.square()), 1)

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        k = torch.multinomial(self.weights, n, replacement=True, generator=rng)
        return self.means[k] + self.stds[k, None] * torch.randn(n, self.means.shape[1], generator=rng)


class FunctionEnergy(Energy):
    """A function [B, dim] → [B] as an energy that does not know its log Z; harmonic by default."""

    def __init__(self, dim: int, function: Callable[[Tensor], Tensor] = harmonic) -> None:
        super().__init__()
        self.shape, self.function = (dim,), function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class Bent(Energy):
    """f = −log q + g: a density q that a function g [B, *shape] → [B] bends; 0 by default."""

    def __init__(self, density: Density, bend: Callable[[Tensor], Tensor] = lambda x: x.new_zeros(len(x))) -> None:
        super().__init__()
        self.shape, self.density, self.bend = density.shape, density, bend

    @property
    def reference(self) -> Density:
        return self.density

    def forward(self, x: Tensor) -> Tensor:
        return self.bend(x) - self.density.log_prob(x)


class BumpsDensity(Density):
    """The normalised density of `Bumps`."""

    def __init__(self, bumps: Bumps) -> None:
        super().__init__()
        self.bumps, self.shape = bumps, (bumps.means.shape[1],)

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        return self.bumps.sample(n, rng)

    def log_prob(self, x: Tensor) -> Tensor:
        return -self.bumps(x)


class Rows(Dataset):
    """Rows without a density: all of them are training rows and held-out rows."""

    def __init__(self, rows: Tensor, is_table: bool = False) -> None:
        super().__init__()
        self.shape, self.density, self.rows, self._is_table = tuple(rows.shape[1:]), None, rows, is_table
        self.standardizer = Standardizer.fit(rows)

    @property
    def is_table(self) -> bool:
        return self._is_table

    @property
    def reference(self) -> Tensor:
        return self.standardizer.standardise(self.rows)

    def held_out(self, n: int) -> Tensor:
        return self.rows[:n]

    def validation(self, n: int) -> Tensor:
        return self.held_out(n)

    def batches(self, batch_size: int, rng: torch.Generator) -> Batches:
        raise NotImplementedError


def normal_density(dim: int, variance: float = 1.0) -> Gaussian:
    """The density N(0, variance I)."""
    return Gaussian(dim, cov=(variance * torch.eye(dim, dtype=torch.float64)).tolist())


def skewed_gaussian(dim: int = 3) -> Quadratic:
    """A Gaussian energy off the origin, of another scale in each direction."""
    energy = Quadratic((dim,))
    with torch.no_grad():
        energy.mean.copy_(torch.linspace(-1, 1, dim))
        energy.raw_precision.copy_(torch.linspace(0.5, 4, dim).diag())
    return energy.requires_grad_(False)


def exact_log_z(energy: Quadratic) -> float:
    """log Z in closed form."""
    log_z = energy.log_z()
    assert log_z is not None
    return float(log_z.detach())


def given_labelling(n: int) -> Tensor:
    """The labelling [2n, 1] in which the first n rows are one sample."""
    return torch.where(torch.arange(2 * n) < n, 1.0, -1.0).double()[:, None]


def rows_of(dataset: Dataset, part: Part, without: int = -1) -> Tensor:
    """Rows of a part in the run's units, without one class."""
    found = dataset.labelled(part, 10_000)
    assert found is not None
    return dataset.standardizer(found.x[found.labels != without])


def small_protocol(*metrics: str | MetricGroup, **changes: Any) -> Protocol:
    """A protocol of 40 rows and samples, and 20 chains."""
    sizes = {"n_samples": 40, "n_chains": 20, "burn_in": 10, "n_temperatures": 20, "batch_size": 16, "seed": 0}
    return Protocol(metrics, **{"kernel": MALA(), "base": "gaussian", "init": "annealed", **sizes, **changes})


def small_context(
    energy: Energy, data: Dataset, *metrics: str, method: Method | None = None, **changes: Any
) -> Context:
    """The context of a small evaluation."""
    return Context(energy, method or SM(), data, small_protocol(*metrics, **changes))


def small_evaluation(
    energy: Energy, data: Dataset, *metrics: str | MetricGroup, method: Method | None = None, **changes: Any
) -> Evaluation:
    """A small evaluation of an energy, as if score matching had trained it."""
    return evaluate(energy, method or SM(), data, small_protocol(*metrics, **changes))
