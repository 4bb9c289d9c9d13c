"""The Gaussian target against its formula."""

import math

import pytest
import torch

from ebm_cli.datasets import Gaussian
from tests.support import seeded

pytestmark = pytest.mark.usefixtures("float64")


def test_gaussian_in_five_dimensions_is_its_formula():
    q = torch.linalg.qr(torch.randn(5, 5, generator=seeded())).Q
    s = q @ torch.diag(torch.linspace(0.5, 2.0, 5)) @ q.T
    s = 0.5 * (s + s.T)
    mean = [0.0, 1.0, -2.0, 0.5, 3.0]
    density = Gaussian(5, mean, s.tolist())
    normal = torch.distributions.MultivariateNormal(torch.tensor(mean), s)
    x = density.sample(100_000, seeded())
    torch.testing.assert_close(density.log_prob(x), normal.log_prob(x))
    assert (x.mean(0) - torch.tensor(mean)).abs().max() < 5.0 * math.sqrt(2.0 / 100_000)
    assert (torch.cov(x.T) - s).abs().max() < 5.0 * 2.0 * math.sqrt(2.0 / 100_000)
    wider = torch.distributions.MultivariateNormal(torch.tensor(mean), s + 0.09 * torch.eye(5))
    torch.testing.assert_close(density.smoothed(0.3).log_prob(x), wider.log_prob(x))


def test_gaussian_in_one_dimension_integrates_to_1():
    x = torch.linspace(-12.0, 12.0, 2001)[:, None]
    assert abs(float(Gaussian(1, [1.0], [[2.0]]).log_prob(x).exp().sum()) * 24.0 / 2000 - 1.0) < 1e-9
