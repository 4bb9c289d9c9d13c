"""The metric group of probability masses: closed forms of Gaussians, by draws and by chains."""

import math

import pytest
import torch
from torch import Tensor

from ebm_cli.datasets import Gaussian, Mixture, Synthetic
from ebm_cli.densities import Density
from ebm_cli.energies import Energy
from ebm_cli.evaluation.masses import Masses, Weighted, outside, tail_ratio
from tests.evaluation.toys import Bent, Bumps, BumpsDensity, Rows, skewed_gaussian, small_evaluation
from tests.support import normal

TWO = Mixture([[-4.0, 0.0], [4.0, 0.0]], [1.0, 1.0], [0.8, 0.2])


def equal(x: Tensor) -> Weighted:
    return Weighted(x, torch.full((len(x),), 1 / len(x), dtype=torch.float64))


def beyond(quantile: float, std: float) -> float:
    """Mass of N(0, std²) above a number."""
    return 0.5 * math.erfc(quantile / std / math.sqrt(2))


def test_tail_ratio_of_gaussians_is_that_of_their_tails():
    truth, x = equal(normal(400_000, 2)), normal(400_000, 2, seed=2)
    assert 1.0 <= tail_ratio(equal(x), truth) < 1.25
    for std in (1.2, 0.8):
        right = beyond(3.0902, std) / 0.001
        found = tail_ratio(equal(x * torch.tensor([1.0, std])), truth)
        assert abs(found / max(right, 1 / right) - 1) < 0.3
    heavy = Weighted(x, (1 + 3 * (x[:, 1] > 3.0902).double()).softmax(0))
    assert tail_ratio(heavy, truth) > 10


def test_mass_outside_the_box_is_counted_once_for_a_row():
    points = Weighted(torch.tensor([[0.5, 0.5], [2.0, 2.0], [0.5, -1.0]]), torch.tensor([0.7, 0.2, 0.1]))
    assert outside(points, torch.tensor([[0.0, 0.0], [1.0, 1.0]])) == pytest.approx(0.3)


def bumps(weights: list[float], std: float = 1.0) -> Density:
    means = torch.tensor([[-4.0, 0.0], [4.0, 0.0]])
    return BumpsDensity(Bumps(means, std, torch.tensor(weights)))


def with_reference(weights: list[float]) -> Energy:
    """The mixture with these weights, as a bend of one with equal weights."""
    wide, right = bumps([0.5, 0.5], 1.2), bumps(weights)
    return Bent(wide, lambda x: wide.log_prob(x) - right.log_prob(x))


@pytest.mark.parametrize(("weights", "error"), [([0.8, 0.2], 0.0), ([0.7, 0.3], 0.1)])
def test_mode_error_is_the_difference_of_the_weights(weights: list[float], error: float):
    data = Synthetic(TWO, n_train=2_000, standardize=False)
    found = small_evaluation(with_reference(weights), data, Masses()).results.values
    assert abs(float(found["eval/mode_error"]) - error) < 0.005
    # The weights are those of the tails of the first column, too.
    assert abs(float(found["eval/tail_ratio"]) - (1.5 if error else 1.0)) < 0.25
    assert abs(float(found["eval/outside"]) - float(found["eval/outside_data"])) < 1e-3


def test_exact_model_has_right_tails_whatever_it_bends():
    """Draws of a reference whose tails are too light do not show those of the model: alone they miss the factor 2."""
    size = 8
    narrow = BumpsDensity(Bumps(torch.zeros(1, size), 0.75, torch.ones(1)))
    normal_density = BumpsDensity(Bumps(torch.zeros(1, size), 1.0, torch.ones(1)))
    exact = Bent(narrow, lambda x: narrow.log_prob(x) - normal_density.log_prob(x))
    data = Synthetic(Gaussian(size), n_train=2_000, standardize=False)
    found = small_evaluation(exact, data, Masses()).results.values
    assert float(found["eval/tail_ratio"]) < 1.3
    x = 0.75 * normal(200_000, size).float()
    alone = Weighted(x, (normal_density.log_prob(x) - narrow.log_prob(x)).double().softmax(0))
    assert tail_ratio(alone, equal(normal(200_000, size, seed=2))) > 2


def test_masses_of_an_energy_alone_are_those_of_its_chains():
    energy = skewed_gaussian()
    data = Synthetic(Gaussian(3), n_train=1_000, standardize=False)
    found = small_evaluation(energy, data, Masses(), n_samples=2_000, n_chains=200, burn_in=100).results.values
    assert float(found["eval/tail_ratio"]) > 2
    assert "eval/mode_error" not in found


def test_masses_of_real_rows_are_absent():
    found = small_evaluation(skewed_gaussian(2), Rows(torch.randn(50, 2)), Masses()).results
    assert (found.values, list(found.absent)) == ({}, ["eval/tail_ratio"])
