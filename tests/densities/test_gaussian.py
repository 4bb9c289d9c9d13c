"""The Gaussian fitted to data."""

import torch

from ebm_cli.densities import Gaussian
from tests.densities.support import bent_data


def test_gaussian_has_the_moments_of_the_data() -> None:
    data = torch.cat((bent_data(), torch.ones(4000, 1, dtype=torch.float64)), 1)
    noise = Gaussian(data, ridge=1e-4)
    covariance = noise.factor @ noise.factor.T
    torch.testing.assert_close(noise.mean, data.mean(0))
    torch.testing.assert_close(covariance, torch.cov(data.T, correction=0) + 1e-4 * torch.eye(3, dtype=torch.float64))
    assert torch.isfinite(noise.log_prob(data)).all(), "with a constant column, too"
