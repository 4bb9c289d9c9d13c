"""Laws of one number: each integrates to 1, and its sampler has its distribution function."""

import math

import pytest
import torch

from ebm_cli.datasets.table_suite.laws import Gumbel, JohnsonSU, Laplace, Law, Logistic, Normal, StudentT
from tests.support import seeded

LAWS = [Normal(), StudentT(3), StudentT(8), Logistic(), Laplace(), Gumbel(), JohnsonSU(-0.9, 1.4)]


def integral(law: Law) -> tuple[torch.Tensor, torch.Tensor]:
    """Points e [N] and the distribution function at them, by e = sinh t, which reaches far into the tails."""
    t = torch.linspace(-16.0, 16.0, 400_001, dtype=torch.float64)
    mass = (law.log_prob(t.sinh()) + t.cosh().log()).exp() * (t[1] - t[0])
    return t.sinh(), mass.cumsum(0) - 0.5 * mass


@pytest.mark.parametrize("law", LAWS, ids=repr)
def test_law_integrates_to_1(law: Law):
    assert abs(float(integral(law)[1][-1]) - 1.0) < 1e-6


def greatest_distance(x: torch.Tensor, law: Law) -> float:
    """√n times the largest distance between the empirical and the exact distribution function (Kolmogorov)."""
    e, cdf = integral(law)
    exact = cdf[torch.searchsorted(e, x.sort().values).clamp(max=len(e) - 1)]
    return float((exact - (torch.arange(len(x)) + 0.5) / len(x)).abs().max()) * math.sqrt(len(x))


@pytest.mark.parametrize("law", LAWS, ids=repr)
def test_sampler_follows_the_law(law: Law):
    # The distance exceeds 2.3 with probability 5e-5.
    x = law.sample(100_000, seeded(3), torch.zeros((), dtype=torch.float64))
    assert greatest_distance(x, law) < 2.3


def test_distance_detects_a_scale_that_is_3_percent_off():
    assert (
        greatest_distance(1.03 * Normal().sample(100_000, seeded(3), torch.zeros((), dtype=torch.float64)), Normal())
        > 2.3
    )


@pytest.mark.parametrize("law", LAWS, ids=repr)
def test_tails_of_a_law_are_finite_in_float32(law: Law):
    e = torch.tensor([-1e4, -200.0, 0.3, 200.0, 1e4]).requires_grad_()
    log_p = law.log_prob(e)
    (score,) = torch.autograd.grad(log_p.sum(), e)
    assert log_p.isfinite().all()
    assert score.isfinite().all()
