"""The kernel density estimate: its formula, and the bandwidth that held-out rows choose."""

import math

import torch
from torch import Tensor

from ebm_cli.evaluation.kernel_density import KernelDensity
from tests.support import normal


def nearest_width(train: Tensor, validation: Tensor) -> float:
    """Bandwidth of the estimate in units of the data, of one column."""
    return 1.0 / float(KernelDensity(train, validation).whiten[0, 0])


def test_estimate_is_the_mean_of_its_kernels():
    train, x = normal(300, 2) @ torch.tensor([[1.0, 0.8], [0.0, 0.3]]).double(), normal(20, 2, seed=2)
    estimate = KernelDensity(train, normal(100, 2, seed=3))
    cov = torch.linalg.inv(estimate.whiten @ estimate.whiten.T)
    kernels = torch.distributions.MultivariateNormal(train, cov)
    right = torch.stack([kernels.log_prob(point).logsumexp(0) - math.log(300) for point in x])
    # Terms below exp(−60) of the largest are left out.
    torch.testing.assert_close(estimate.log_prob(x), right, atol=1e-8, rtol=0.0)


def test_estimate_of_the_line_integrates_to_1():
    estimate = KernelDensity(normal(500, 1), normal(100, 1, seed=2))
    t = torch.linspace(-9.0, 9.0, 20_001, dtype=torch.float64)
    assert abs(float(estimate.log_prob(t[:, None]).exp().sum()) * 18.0 / 20_000 - 1.0) < 1e-9


def test_bandwidth_is_scotts_for_one_gaussian_and_narrow_for_two():
    one = [normal(800, 1, seed=seed) for seed in (1, 2)]
    scott = 800 ** (-1 / 5)
    assert 0.5 * scott < nearest_width(*one) < 1.5 * scott
    two = [torch.cat([x[:400] * 0.01 - 1.0, x[400:] * 0.01 + 1.0]) for x in one]
    assert nearest_width(*two) < 0.1 * scott
