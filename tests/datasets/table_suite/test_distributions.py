"""Distributions of one number: each integrates to 1, and its sampler has its distribution function."""

import math

import pytest
import torch

from ebm_cli.datasets.table_suite.distributions import (
    Distribution,
    Gumbel,
    JohnsonSU,
    Laplace,
    Logistic,
    Normal,
    StudentT,
)
from tests.support import seeded

DISTRIBUTIONS = [Normal(), StudentT(3), StudentT(8), Logistic(), Laplace(), Gumbel(), JohnsonSU(-0.9, 1.4)]


def integral(distribution: Distribution) -> tuple[torch.Tensor, torch.Tensor]:
    """Points e [N] and the distribution function at them, by e = sinh t, which reaches far into the tails."""
    t = torch.linspace(-16.0, 16.0, 400_001, dtype=torch.float64)
    mass = (distribution.log_prob(t.sinh()) + t.cosh().log()).exp() * (t[1] - t[0])
    return t.sinh(), mass.cumsum(0) - 0.5 * mass


@pytest.mark.parametrize("distribution", DISTRIBUTIONS, ids=repr)
def test_distribution_integrates_to_1(distribution: Distribution):
    assert abs(float(integral(distribution)[1][-1]) - 1.0) < 1e-6


def greatest_distance(x: torch.Tensor, distribution: Distribution) -> float:
    """√n times the largest distance between the empirical and the exact distribution function (Kolmogorov)."""
    e, cdf = integral(distribution)
    exact = cdf[torch.searchsorted(e, x.sort().values).clamp(max=len(e) - 1)]
    return float((exact - (torch.arange(len(x)) + 0.5) / len(x)).abs().max()) * math.sqrt(len(x))


@pytest.mark.parametrize("distribution", DISTRIBUTIONS, ids=repr)
def test_sampler_follows_the_distribution(distribution: Distribution):
    # The distance exceeds 2.3 with probability 5e-5.
    x = distribution.sample(100_000, seeded(3), torch.zeros((), dtype=torch.float64))
    assert greatest_distance(x, distribution) < 2.3


def test_distance_detects_a_scale_that_is_3_percent_off():
    assert (
        greatest_distance(1.03 * Normal().sample(100_000, seeded(3), torch.zeros((), dtype=torch.float64)), Normal())
        > 2.3
    )


@pytest.mark.parametrize("distribution", DISTRIBUTIONS, ids=repr)
def test_tails_of_a_distribution_are_finite_in_float32(distribution: Distribution):
    e = torch.tensor([-1e4, -200.0, 0.3, 200.0, 1e4]).requires_grad_()
    log_p = distribution.log_prob(e)
    (score,) = torch.autograd.grad(log_p.sum(), e)
    assert log_p.isfinite().all()
    assert score.isfinite().all()
