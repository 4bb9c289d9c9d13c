"""Expectations under the distribution of the data: sums over a grid, or means over rows.

In one and two dimensions, where the density of the data is known, E_p is a quadrature sum over that density, without
sampling error. Otherwise it is a mean over rows that training never saw, and has a standard error. Everything here is
in standardised units u, in float64 on the CPU, whatever the run computes in.
"""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import torch
from torch import Tensor, nn

from ebm_cli.datasets.base import Dataset, UnseenPart
from ebm_cli.datasets.standardizer import Standardizer
from ebm_cli.densities.base import Density
from ebm_cli.densities.gaussian import Gaussian
from ebm_cli.densities.mixture import FittedMixture
from ebm_cli.densities.mixture_by_bic import mixture_by_bic
from ebm_cli.derivatives import value_and_grad
from ebm_cli.evaluation.batched import CHUNK_ROWS
from ebm_cli.evaluation.quadrature import Quadrature, integrate
from ebm_cli.evaluation.quadrature_grid import FINE_GRID, Grid, Resolution

M = TypeVar("M", bound=nn.Module)

DROPPED = 1e-12  # probability that the nodes left out of an expectation hold together
MOST_COLUMNS = 64  # of a table that a mixture of full covariances is fitted to
UNNORMALISED = 1e-3  # how far from 1 the quadrature of the data's density may be


@dataclass(frozen=True)
class Expectation:
    """E_p as a weighted sum over points.

    Attributes:
        u: points [N, *D], standardised units, float64.
        weight: [N]; they sum to one.
        log_p, score: log p_u [N] and ∇_u log p_u [N, *D]; None where the density is unknown.
        is_sampled: whether the points are rows, and not the nodes of a quadrature.
    """

    u: Tensor
    weight: Tensor
    log_p: Tensor | None
    score: Tensor | None
    is_sampled: bool

    def __call__(self, values: Tensor) -> float:
        """Σ weight · values, values [N]."""
        return float(self.weight @ values)

    def standard_error(self, values: Tensor) -> float | None:
        """Standard error of the mean of values [N]; None for a quadrature or one row, which have none."""
        n = len(values)
        return float(values.std()) / math.sqrt(n) if self.is_sampled and n > 1 else None


class DataDistribution:
    """The distribution of a data set, as divergences need it; each part is computed once, when it is first asked for.

    Args:
        dataset: the data.
        n_rows: rows, for the box and where there is no quadrature.
        resolution: of the quadrature in one and two dimensions: `FINE_GRID`, or `COARSE_GRID` during training.
        part: the rows: "test" for the final evaluation, "validation" for the monitored metric.

    Raises:
        ValueError: n_rows < 2.
    """

    def __init__(
        self,
        dataset: Dataset,
        n_rows: int = 10_000,
        resolution: Resolution = FINE_GRID,
        part: UnseenPart = "test",
    ) -> None:
        if n_rows < 2:
            raise ValueError(f"n_rows must be >= 2, got {n_rows}")
        self.dataset, self.n_rows, self.resolution, self.part = dataset, n_rows, resolution, part

    @property
    def is_on_grid(self) -> bool:
        """True if the data have one or two dimensions, where integrals are sums over cells."""
        return math.prod(self.dataset.shape) <= 2

    @property
    def is_known(self) -> bool:
        """True if the density of the data is known, to this part: what chooses a checkpoint of a table sees rows."""
        is_hidden = self.dataset.is_table and self.part == "validation"
        return self.dataset.density is not None and not is_hidden

    @property
    def is_exact(self) -> bool:
        """True if expectations are sums over the density of the data, so that no rows enter."""
        return self.is_on_grid and self.is_known

    @cached_property
    def rows(self) -> Tensor:
        """The rows of the part [N, *D]."""
        return self.standardizer.standardise(self.dataset.unseen_rows(self.part, self.n_rows))

    @cached_property
    def fitted_gaussian(self) -> Gaussian:
        """The Gaussian fitted to the training rows: the baseline that a model has to beat."""
        return Gaussian(self.dataset.reference.to("cpu", torch.float64))

    @property
    def no_mixture(self) -> str | None:
        """Why no mixture of Gaussians is fitted, in words; None where one is."""
        if not self.dataset.is_table:
            return "a mixture of Gaussians is fitted to tables only"
        n = math.prod(self.dataset.shape)
        return (
            None if n <= MOST_COLUMNS else f"a mixture is fitted to at most {MOST_COLUMNS} columns, and there are {n}"
        )

    @cached_property
    def fitted_mixture(self) -> FittedMixture | None:
        """The mixture of Gaussians, K by BIC, fitted to the training rows of a table; a baseline, too.

        Seconds; none while training is monitored.
        """
        if self.no_mixture is not None or self.part == "validation":
            return None
        return reference_copy(mixture_by_bic(self.dataset.reference))

    @cached_property
    def standardizer(self) -> Standardizer:
        """The standardizer of the data set, in float64 on the CPU."""
        return reference_copy(self.dataset.standardizer)

    @cached_property
    def density(self) -> Density | None:
        """The density of the data, in data units, in float64 on the CPU; None where it is unknown."""
        known = self.dataset.density if self.is_known else None
        return None if known is None else reference_copy(known)

    @property
    def scale(self) -> Tensor:
        """Scale of each column [D], flat."""
        return self.standardizer.scale.flatten()

    @cached_property
    def quadrature(self) -> Quadrature | None:
        """The density of the data on a grid that resolves it; None where there is no density or no grid.

        Raises:
            ValueError: the density does not integrate to 1.
        """
        if not self.is_exact:
            return None
        around = Grid.around(self.rows.flatten(1), self.resolution)
        found = integrate(self._minus_log_p, around, self.resolution, self.dataset.shape, torch.float64)
        if abs(math.expm1(found.log_z)) > UNNORMALISED:
            raise ValueError(f"density of the data integrates to {math.exp(found.log_z):.6g}, not to 1")
        return found

    @cached_property
    def grid(self) -> Grid:
        """The first cells of an energy's integral: they resolve the data already."""
        return Grid.around(self.rows.flatten(1), self.resolution) if self.quadrature is None else self.quadrature.grid

    @cached_property
    def expectation(self) -> Expectation:
        """E_p, over the nodes of the quadrature or over the rows."""
        if self.quadrature is None:
            u, weight = self.rows, torch.full((len(self.rows),), 1 / len(self.rows), dtype=torch.float64)
        else:
            nodes, weight = self.quadrature.heaviest(DROPPED)
            u = nodes.view(-1, *self.dataset.shape)
        if self.density is None:
            return Expectation(u, weight, None, None, is_sampled=True)
        minus_log_p, minus_score = values_and_grads(self._minus_log_p, u)
        return Expectation(u, weight, -minus_log_p, -minus_score, is_sampled=self.quadrature is None)

    def _minus_log_p(self, u: Tensor) -> Tensor:
        """−log p_u(u) = −log p_x(x) − log_det: the energy of the data in standardised units."""
        assert self.density is not None
        return -(self.density.log_prob(self.standardizer.inverse(u)) + self.standardizer.log_det)


def reference_copy(module: M) -> M:
    """A copy in float64 on the CPU, whatever the run computes in."""
    return copy.deepcopy(module).to("cpu", torch.float64)


def values_and_grads(energy: Callable[[Tensor], Tensor], u: Tensor) -> tuple[Tensor, Tensor]:
    """f(u) [N] and ∇f(u) [N, *D] in chunks, float64, on the CPU."""
    parts = [value_and_grad(energy, part) for part in torch.split(u, CHUNK_ROWS)]
    values, grads = (torch.cat([part[i] for part in parts]).to("cpu", torch.float64) for i in (0, 1))
    return values, grads
