"""log Z by importance sampling: closed forms, an error that covers, and the doubts that exclude it."""

import math
from collections.abc import Callable
from functools import cache

import pytest
import torch
from torch import Tensor

from ebm_cli.datasets import Gaussian
from ebm_cli.densities import Density
from ebm_cli.evaluation.importance_sampling import Draws, Importance, draws_of, importance, log_weights, with_log_prob
from tests.evaluation.toys import Bumps, BumpsDensity, exact_log_z, normal_density, skewed_gaussian
from tests.support import harmonic, seeded

COVERED = 17
"""Intervals that cover, of twenty of two standard errors: 19.1 on average, below 17 once in 60 such sets."""


def estimate(
    energy: Callable[[Tensor], Tensor], density: Density, rows: Tensor, seed: int = 0, target: float = 0.005, n: int = 8
) -> Importance:
    """log Z from draws of a density, 500 in a batch."""
    batch = cache(lambda i: draws_of(density, 500, seeded(1000 * seed + i)))
    return importance(energy, batch, [with_log_prob(density, rows)], target=target, n_batches=n)


def normal_rows(dim: int, shift: float = 0.0) -> Tensor:
    return shift + torch.randn(200, dim, generator=seeded(7), dtype=torch.float64)


def test_log_weights_are_the_energy_against_the_density() -> None:
    density = normal_density(2, 4.0)
    x = density.sample(50, seeded())
    expected = -harmonic(x) - density.log_prob(x)
    assert torch.allclose(log_weights(harmonic, Draws(x, density.log_prob(x))), expected.double())


def test_the_density_itself_has_log_z_without_an_error() -> None:
    density = normal_density(3)
    found = estimate(lambda x: 2.5 - density.log_prob(x), density, normal_rows(3))
    assert found.log_z == pytest.approx(-2.5, abs=1e-6)
    assert found.log_z_se == pytest.approx(0.0, abs=1e-6)
    assert (found.n, found.doubt) == (500, None)


def test_log_z_of_a_gaussian_is_covered_by_its_error() -> None:
    """Over 20 seeds, and not if the error is a third of what it is."""
    energy = skewed_gaussian()
    truth, density = exact_log_z(energy), normal_density(3, 4.0)
    found = [estimate(energy, density, energy.sample(100, seeded()), seed, target=0.01) for seed in range(20)]
    assert all(one.doubt is None for one in found)
    errors = [abs(one.log_z - truth) / one.log_z_se for one in found]
    assert sum(error <= 2 for error in errors) >= COVERED
    assert sum(error <= 2 / 3 for error in errors) < COVERED


def test_more_draws_are_taken_until_the_error_is_small() -> None:
    density, rows = normal_density(2, 2.0), normal_rows(2)
    few, many = (estimate(harmonic, density, rows, target=target) for target in (0.1, 0.02))
    assert (few.n, many.n > few.n) == (500, True)
    assert many.log_z_se <= 0.02 < few.log_z_se
    bound = estimate(harmonic, density, rows, target=1e-6, n=3)
    assert (bound.n, bound.doubt) == (1500, None)


def test_draws_far_from_the_model_are_in_doubt() -> None:
    found = estimate(lambda x: harmonic(x - 6), normal_density(3), normal_rows(3, 6.0))
    assert found.doubt is not None


def test_rare_heavy_weights_are_in_doubt() -> None:
    """A narrow mode of a third of the mass, which one draw in a thousand hits, of 2,000, or none."""
    energy = Bumps(torch.tensor([[0.0, 0.0], [3.3, 0.0]]), torch.tensor([1.0, 0.3]), torch.tensor([0.7, 0.3]))
    rows = energy.sample(200, seeded())
    doubts = [estimate(energy, normal_density(2), rows, seed, n=4).doubt for seed in range(20)]
    assert all(doubt is not None for doubt in doubts)
    # The control: a density that has the mode.
    assert estimate(energy, BumpsDensity(energy), rows).doubt is None


def test_a_mode_of_the_data_that_no_draw_hits_is_in_doubt() -> None:
    """The weights of the draws are all alike, and those of the rows are not."""
    means = torch.tensor([[0.0, 0.0], [9.0, 0.0]])
    energy, density = Bumps(means, 1.0, torch.tensor([0.8, 0.2])), normal_density(2)
    found = estimate(energy, density, energy.sample(200, seeded()))
    assert found.doubt is not None
    assert "twice the weight of any draw" in found.doubt
    # The control: without rows there, nothing shows that a fifth of Z is missing.
    blind = estimate(energy, density, normal_rows(2))
    assert blind.doubt is None
    assert blind.log_z == pytest.approx(math.log(0.8), abs=0.01)


@pytest.mark.parametrize("value", [math.inf, math.nan, -math.inf])
def test_an_energy_that_is_no_number_is_in_doubt(value: float) -> None:
    found = estimate(lambda x: harmonic(x) * 0 + value, normal_density(2), normal_rows(2))
    assert found.doubt is not None


def test_half_of_space_without_mass() -> None:
    """An energy of +inf is a weight of 0."""
    found = estimate(lambda x: torch.where(x[:, 0] < 0, math.inf, harmonic(x)), Gaussian(1), normal_rows(1).abs(), n=20)
    truth = math.log(math.sqrt(2 * math.pi) / 2)
    assert found.doubt is None
    assert abs(found.log_z - truth) <= 4 * found.log_z_se
