"""Gaussian mixtures: known entropy, moments and weights."""

import math

import pytest
import torch

from ebm_cli.datasets import Mixture
from tests.datasets.support import grid, shipped_target
from tests.support import seeded

pytestmark = pytest.mark.usefixtures("float64")


def test_eight_gaussians_have_entropy_2_8316():
    density = shipped_target("eight_gaussians")
    points, log_area = grid(density)
    log_p = density.log_prob(points)
    assert round(-float(((log_p + log_area).exp() * log_p).sum()), 4) == 2.8316


@pytest.mark.parametrize("dim", [1, 3, 40])
def test_mixture_has_the_moments_and_weights_of_its_components(dim: int):
    density = Mixture([[-4.0] * dim, [4.0] * dim], [0.5, 1.0], [1.0, 3.0])
    x = density.sample(50_000, seeded())
    heavy = density.modes(x) == 1
    assert abs(float(heavy.double().mean()) - 0.75) < 5.0 * math.sqrt(0.75 * 0.25 / 50_000)
    assert abs(float(x[heavy].std()) - 1.0) < 5.0 / math.sqrt(2 * 37_500)
    one = torch.distributions.Normal(4.0, 1.0).log_prob(x[heavy]).sum(1) + math.log(0.75)
    assert (density.log_prob(x[heavy]) - one).abs().median() < 1e-6


def test_mixture_in_one_dimension_integrates_to_1():
    x = torch.linspace(-12.0, 12.0, 2001)[:, None]
    density = Mixture([[-2.0], [2.0]], [0.5, 0.7], [0.3, 0.7])
    assert abs(float(density.log_prob(x).exp().sum()) * 24.0 / 2000 - 1.0) < 1e-9
