"""Mixed independent sources: their density, their sampler and the matrix that mixes them."""

import math

import pytest
import torch

from ebm_cli.datasets import ICA, Synthetic
from tests.support import seeded

pytestmark = pytest.mark.usefixtures("float64")


def test_ica_density_of_two_sources_integrates_to_1():
    density = ICA(dim=2)
    # In the coordinates of the sources the grid is square, and dx = ds / |det W|.
    ticks = torch.linspace(-40.0, 40.0, 801)
    s = torch.cartesian_prod(ticks, ticks)
    log_area = 2 * math.log(0.1) - density.log_det
    assert float((density.log_prob(s @ density.mixing.T) + log_area).exp().sum()) == pytest.approx(1.0, abs=1e-6)


def test_ica_sampler_has_the_entropy_in_ten_dimensions():
    density = ICA(dim=10)
    sampled = -density.log_prob(density.sample(100_000, seeded(1)))
    assert abs(float(sampled.mean()) - density.entropy) < 5 * float(sampled.std()) / math.sqrt(len(sampled))


def test_ica_sources_are_independent_and_logistic():
    density = ICA(dim=3)
    s = density.sample(100_000, seeded(2)) @ density.unmixing.T
    # The variance of a sample variance is (μ₄ − σ⁴)/n, and a logistic's kurtosis is 4.2.
    variance = math.pi**2 / 3
    assert (s.var(0) - variance).abs().max() < 5 * variance * math.sqrt(3.2 / len(s))
    assert (torch.corrcoef(s.T) - torch.eye(3)).abs().max() < 5 / math.sqrt(len(s))
    uniform = s.sigmoid().flatten().sort().values
    steps = (torch.arange(len(uniform)) + 0.5) / len(uniform)
    assert (uniform - steps).abs().max() < 2.0 / math.sqrt(len(uniform))  # Kolmogorov–Smirnov, p < 1e-3


def test_ica_samples_extreme_sources_in_float32():
    density = ICA(dim=2).float()
    x = density.sample(2_000_000, seeded(3))
    assert x.dtype == torch.float32
    assert x.isfinite().all()
    # The largest of 4·10⁶ draws is around log(4·10⁶) = 15.2; one of 24 bits would be cut at 16.6, or at 0.
    assert 13 < float((x @ density.unmixing.T).abs().max()) < 30


def test_ica_matrix_is_well_conditioned_and_seeded():
    assert float(torch.linalg.cond(ICA(10, 5).unmixing)) < 10
    assert torch.equal(ICA(4, 1).unmixing, ICA(4, 1).unmixing)
    assert not torch.equal(ICA(4, 1).unmixing, ICA(4, 2).unmixing)
    torch.testing.assert_close(ICA(10).unmixing @ ICA(10).mixing, torch.eye(10))


def test_ica_refuses_a_number_out_of_range():
    with pytest.raises(ValueError, match=r"^dim must be >= 2, got 1"):
        ICA(dim=1)
    with pytest.raises(ValueError, match=r"^seed must be >= 0, got -1"):
        ICA(seed=-1)
    with pytest.raises(ValueError, match=r"^noise_std must be 0"):
        Synthetic(ICA(dim=2), noise_std=0.1)
