"""The thirteen densities of the suite, each with its rows and with the class that it stands for.

None of them, and no other one that the defaults were compared on, is one of the kinds that the defaults are measured on
afterwards. Two of thirteen belong to the family of a baseline, the Gaussian mixtures: `clusters` and `correlated`.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from ebm_cli.datasets.gaussian import Gaussian
from ebm_cli.datasets.table_suite.distributions import Gumbel, JohnsonSU, Laplace, Logistic, Normal, StudentT
from ebm_cli.datasets.table_suite.exact import WeightedSum
from ebm_cli.datasets.table_suite.regression import Conditional, Regression, product
from ebm_cli.datasets.table_suite.shapes import DequantisedCounts, Shell, SpiralArm
from ebm_cli.datasets.target import Target


class Member(NamedTuple):
    """A density of the suite.

    Attributes:
        build: makes the density.
        n_rows: rows of its table.
        is_baselines: True if a baseline's family contains the density.
    """

    build: Callable[[], Target]
    n_rows: int
    is_baselines: bool = False


def skewed_modes() -> Target:
    """1-D: three separate modes with skew and tails of three kinds."""
    parts = [
        product([Gumbel()], [-4.0], [0.5]),
        product([JohnsonSU(-1.0, 1.3)], [1.0], [0.4]),
        product([Logistic()], [9.0], [0.3]),
    ]
    return WeightedSum(parts, [0.5, 0.35, 0.15])


def spike() -> Target:
    """2-D: 6 % of the mass in a spike forty times as narrow as the logistic density around it."""
    broad = Regression([Logistic(), Logistic()], lambda y, j: (0.0, 0.0) if j == 0 else (0.6 * y[:, 0], 0.0))
    return WeightedSum([broad, product([Normal(), Normal()], [1.1, -0.4], [0.05, 0.05])], [0.94, 0.06])


def laplace_grid() -> Target:
    """2-D: nine modes of very different weights, each a product of Laplace densities."""
    places = [(4.0 * i, 4.0 * j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
    parts = [product([Laplace(), Laplace()], list(place), [0.3, 0.45]) for place in places]
    return WeightedSum(parts, [0.24, 0.04, 0.13, 0.08, 0.17, 0.02, 0.10, 0.06, 0.16])


def returns() -> Target:
    """4-D: heavy tails in all columns, and a scale that grows with the size of the column before."""

    def conditional(y: Tensor, j: int) -> tuple[Tensor | float, Tensor | float]:
        return (0.0, 0.0) if j == 0 else (-0.2 * y[:, j - 1], 0.5 * (0.4 + 0.3 * y[:, j - 1].square()).log())

    return Regression([StudentT(6), StudentT(6), JohnsonSU(-0.4, 1.7), StudentT(8)], conditional)


def soft_funnel() -> Target:
    """5-D: one column bends and scales the four others."""

    def conditional(y: Tensor, j: int) -> tuple[Tensor | float, Tensor | float]:
        return (0.0, 0.0) if j == 0 else (0.6 * (1.5 * y[:, 0] + j).sin(), y[:, 0].tanh())

    return Regression([Normal(), Normal(), Logistic(), Normal(), Gumbel()], conditional)


def skewed_chain() -> Target:
    """6-D: each column a curved regression on the two before it, with skewed noise; two columns are positive."""

    def conditional(y: Tensor, j: int) -> tuple[Tensor | float, Tensor | float]:
        if j == 0:
            return 0.0, -0.5
        before = y[:, j - 2].tanh() if j > 1 else 0.0
        return (1.3 * y[:, j - 1]).sin() + 0.5 * before, -1.0 + 0.4 * y[:, j - 1].tanh()

    distributions = [JohnsonSU(-0.9, 1.4), Normal(), Gumbel(), Logistic(), Normal(), JohnsonSU(-0.7, 1.5)]
    return Regression(distributions, conditional, positive=(1, 4))


def clusters() -> Target:
    """8-D: five Gaussians with full covariances."""
    rng = torch.Generator().manual_seed(17)
    parts: list[Target] = []
    for _ in range(5):
        mean = 2.0 * torch.randn(8, generator=rng, dtype=torch.float64)
        factor = 0.3 * torch.randn(8, 8, generator=rng, dtype=torch.float64)
        cov = factor @ factor.T + 0.15 * torch.eye(8, dtype=torch.float64)
        parts.append(Gaussian(8, mean.tolist(), (0.5 * (cov + cov.T)).tolist()))
    return WeightedSum(parts, [0.35, 0.25, 0.20, 0.15, 0.05])


def curved_clusters() -> Target:
    """12-D: three separate modes, each bent along its first column, of weights 0.6, 0.3 and 0.1."""
    corners = ((0.0, 0.0), (6.0, 1.0), (1.0, 7.0))
    parts = [
        Regression([Normal()] * 10 + [Logistic()] * 2, _bent(corner, 0.9 - 0.6 * k)) for k, corner in enumerate(corners)
    ]
    return WeightedSum(parts, [0.6, 0.3, 0.1])


def _bent(corner: tuple[float, float], bend: float) -> Conditional:
    """Columns that follow a parabola over the first one, which starts at a corner."""

    def conditional(y: Tensor, j: int) -> tuple[Tensor | float, Tensor | float]:
        if j == 0:
            return corner[0], 0.0
        centre = corner[1] if j == 1 else 0.0
        t = y[:, 0] - corner[0]
        return centre + bend * math.cos(j) * (t.square() - 1.0) + 0.5 * math.sin(2 * j) * t, math.log(0.5)

    return conditional


def correlated() -> Target:
    """15-D: one Gaussian with correlations 0.8^|i − j|."""
    return Gaussian(15, None, [[0.8 ** abs(i - j) for j in range(15)] for i in range(15)])


def factors() -> Target:
    """20-D: three columns drive seventeen others, by sums, a product and a bump."""

    def conditional(y: Tensor, j: int) -> tuple[Tensor | float, Tensor | float]:
        if j < 3:
            return 0.0, 0.0 if j == 0 else -0.5
        a, b, c = y[:, 0], y[:, 1], y[:, 2]
        linear = math.cos(j) * a + math.sin(1.7 * j) * b + math.cos(2.3 * j + 1.0) * c
        curved = math.sin(3.1 * j) * (a * b).tanh() + math.cos(4.3 * j) * 1.5 / (1.0 + c.square())
        return 0.7 * linear + curved, math.log(0.5 + 0.2 * math.sin(j))

    distributions = [Normal(), Logistic(), JohnsonSU(-0.6, 1.5)] + [
        Logistic() if j % 4 == 0 else Normal() for j in range(17)
    ]
    return Regression(distributions, conditional)


MEMBERS: dict[str, Member] = {
    "skewed_modes": Member(skewed_modes, 3_000),
    "spike": Member(spike, 100_000),
    "counts": Member(DequantisedCounts, 4_000),
    "spiral_arm": Member(SpiralArm, 10_000),
    "laplace_grid": Member(laplace_grid, 6_000),
    "shell": Member(Shell, 20_000),
    "returns": Member(returns, 15_000),
    "soft_funnel": Member(soft_funnel, 10_000),
    "skewed_chain": Member(skewed_chain, 25_000),
    "clusters": Member(clusters, 10_000, is_baselines=True),
    "curved_clusters": Member(curved_clusters, 30_000),
    "correlated": Member(correlated, 1_000, is_baselines=True),
    "factors": Member(factors, 50_000),
}
"""Name → density."""
