"""Three estimates of log Z of a mixture whose log Z is known."""

import math

import pytest
import torch

from ebm_cli.lecture import Outcome, PartitionFunction, partition_function
from ebm_cli.lecture.partition_function import CONSTANT, energy, grid_log_z
from tests.lecture.measurements import passed
from tests.support import normal, seeded

SMALL = PartitionFunction(
    dims=[1, 3, 12],
    per_axis=12,
    most_points=2000,
    n_draws=2000,
    n_chains=50,
    n_temperatures=10,
    repeats=1,
    seed=0,
)


@pytest.fixture(scope="module")
def outcome() -> Outcome:
    return SMALL.measure([])


def test_energy_of_the_plane_is_that_of_four_gaussians() -> None:
    x = normal(5, 2)
    log_n = [-0.5 * ((x - m) / 0.4).square() - math.log(0.4 * math.sqrt(2 * math.pi)) for m in (-1.5, 1.5)]
    log_p = (torch.logaddexp(*log_n) - math.log(2)).sum(1)
    assert torch.allclose(energy(x), CONSTANT - log_p)


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_grid_finds_the_known_log_z(dim: int) -> None:
    assert grid_log_z(dim, 40) == pytest.approx(-CONSTANT, abs=1e-6)


def test_fitted_gaussian_has_the_moments_of_the_mixture() -> None:
    x = partition_function._fitted(3).sample(40_000, seeded())
    assert torch.allclose(torch.cov(x.T), (1.5**2 + 0.4**2) * torch.eye(3, dtype=x.dtype), atol=0.1)


def test_grid_ends_and_importance_sampling_fails(outcome: Outcome) -> None:
    found = passed(outcome)
    assert found["a grid ends early"]
    assert found["importance sampling fails"]
    assert [row["dimension"] for row in outcome.rows if row["estimate"] == "grid"] == [1, 3]


def test_too_short_an_annealing_is_seen(outcome: Outcome) -> None:
    """Negative control: 10 temperatures and 50 chains leave too large an error in twelve dimensions."""
    assert passed(outcome)["annealing lasts"] is False
