"""Neal's funnel and its smoothed density, in any dimension."""

import math

import pytest
import torch

from ebm_cli.datasets import Funnel
from tests.support import seeded

pytestmark = pytest.mark.usefixtures("float64")


@pytest.mark.parametrize(("dim", "std"), [(2, 1.0), (10, 3.0)])
def test_funnel_has_the_entropy_and_moments_of_neals(dim: int, std: float):
    density = Funnel(dim, std)
    x = density.sample(50_000, seeded())
    nll = -density.log_prob(x)
    entropy = 0.5 * dim * (1.0 + math.log(2.0 * math.pi)) + math.log(std)
    assert abs(float(nll.mean()) - entropy) < 5.0 * float(nll.std()) / math.sqrt(len(x))
    white = torch.cat([x[:, :1] / std, x[:, 1:] * (-0.5 * x[:, :1]).exp()], dim=1)
    assert (torch.cov(white.T) - torch.eye(dim)).abs().max() < 5.0 * math.sqrt(2.0 / len(x))


def test_smoothed_funnel_in_ten_dimensions_is_the_integral():
    """Importance sampling over v, given which the smoothed coordinates are Gaussian, agrees with the quadrature."""
    smoothed = Funnel(10, 1.0).smoothed(0.3)
    x = smoothed.sample(4, seeded())
    v = torch.randn(400_000, 1, generator=seeded(1))
    first = torch.distributions.Normal(v, 0.3).log_prob(x[:, 0])
    scale = (v.exp() + 0.09).sqrt()[:, None]
    rest = torch.distributions.Normal(0.0, scale).log_prob(x[:, 1:]).sum(2)
    p = (first + rest).exp()
    estimate, error = p.mean(0), p.std(0) / math.sqrt(len(v))
    assert ((smoothed.log_prob(x).exp() - estimate).abs() < 5.0 * error).all()
