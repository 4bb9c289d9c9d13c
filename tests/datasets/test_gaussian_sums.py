"""Sums of Gaussians over nodes: the quadrature rule, and gradients over many chunks."""

import numpy as np
import pytest
import torch

from ebm_cli.datasets import Moons
from ebm_cli.datasets.gaussian_sums import KEPT_NUMBERS, gauss_legendre
from tests.support import seeded

pytestmark = pytest.mark.usefixtures("float64")


@pytest.mark.parametrize("n", [1, 2, 3, 16, 101])
def test_gauss_legendre_nodes_and_weights_are_numpys(n: int):
    t, w = np.polynomial.legendre.leggauss(n)
    ours_t, ours_w = gauss_legendre(-1.0, 1.0, n)
    torch.testing.assert_close(ours_t, torch.from_numpy(t), atol=1e-14, rtol=0.0)
    torch.testing.assert_close(ours_w, torch.from_numpy(w), atol=1e-13, rtol=1e-11)


def test_gradient_over_many_chunks_is_that_of_each_row():
    density = Moons(0.1)
    n = KEPT_NUMBERS // len(density.gaussians.centres) + 17
    x = density.sample(n, seeded()).requires_grad_()
    (score,) = torch.autograd.grad(density.log_prob(x).sum(), x)
    last = x[-5:].detach().requires_grad_()
    torch.testing.assert_close(score[-5:], torch.autograd.grad(density.log_prob(last).sum(), last)[0])
