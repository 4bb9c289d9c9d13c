"""The prediction of a normal distribution from few rows."""

import torch

from ebm_cli.densities import Gaussian
from ebm_cli.densities.one_component import predictive_gaussian
from tests.support import seeded


def test_few_rows_are_predicted_better_than_by_their_moments() -> None:
    """Mean log-density of fresh rows over 30 tables of 20 rows in 6 dimensions: the paired gain exceeds 5 errors."""
    rng, gains = seeded(), []
    for _ in range(30):
        rows, fresh = (torch.randn(n, 6, generator=rng, dtype=torch.float64) for n in (20, 500))
        gain = predictive_gaussian(rows).log_prob(fresh) - Gaussian(rows, 1e-6).log_prob(fresh)
        gains.append(float(gain.mean()))
    found = torch.tensor(gains)
    assert found.mean() > 5 * found.std() / 30**0.5


def test_prediction_does_not_depend_on_the_units() -> None:
    rows = torch.randn(30, 3, generator=seeded(), dtype=torch.float64)
    mix = torch.tensor([[2.0, 1.0, 0.0], [0.0, 0.5, 0.3], [0.0, 0.0, 3.0]], dtype=torch.float64)
    here, there = predictive_gaussian(rows), predictive_gaussian(rows @ mix)
    torch.testing.assert_close(
        there.log_prob(rows @ mix) + torch.linalg.slogdet(mix).logabsdet, here.log_prob(rows), rtol=1e-4, atol=1e-4
    )


def test_many_rows_give_the_normal_distribution_of_their_moments() -> None:
    rows = torch.randn(20_000, 3, generator=seeded(), dtype=torch.float64)
    found = predictive_gaussian(rows)
    assert found.dof.isinf().all()
    torch.testing.assert_close(found.log_prob(rows), Gaussian(rows, 1e-6).log_prob(rows), atol=2e-2, rtol=0)


def test_fewer_rows_than_columns_give_a_proper_density() -> None:
    rows = torch.randn(5, 8, generator=seeded(), dtype=torch.float64)
    fresh = torch.randn(200, 8, generator=seeded(1), dtype=torch.float64)
    found = predictive_gaussian(rows).log_prob(fresh).mean()
    assert found > Gaussian(rows, 1e-4).log_prob(fresh).mean() + 10
