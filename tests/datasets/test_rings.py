"""Rings: a Bessel function in place of the integral over the angle."""

import math

import pytest
import torch

from ebm_cli.datasets import Rings
from tests.support import seeded

pytestmark = pytest.mark.usefixtures("float64")


def test_ring_density_is_the_integral_over_its_angle():
    ring = Rings([1.5], noise=0.2)
    angle = torch.arange(400) * (2 * math.pi / 400)
    centres = 1.5 * torch.stack([angle.cos(), angle.sin()], dim=1)
    x = 8.0 * torch.rand(500, 2, generator=seeded()) - 4.0
    kernel = -0.5 * (torch.cdist(x, centres) / 0.2) ** 2 - math.log(2 * math.pi * 0.04)
    torch.testing.assert_close(ring.log_prob(x), kernel.logsumexp(1) - math.log(400), atol=1e-9, rtol=1e-9)
