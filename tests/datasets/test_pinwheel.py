"""The pinwheel without its rotation, and the limits of its smoothing."""

import pytest
import torch

from ebm_cli.datasets import Pinwheel
from tests.support import seeded

pytestmark = pytest.mark.usefixtures("float64")


def test_pinwheel_without_rotation_is_a_star():
    star = Pinwheel(n_arms=1, radial_std=0.6, tangential_std=0.2, rate=0.0)
    x = star.sample(100, seeded())
    one = torch.distributions.MultivariateNormal(torch.tensor([2.0, 0.0]), torch.diag(torch.tensor([0.36, 0.04])))
    torch.testing.assert_close(star.log_prob(x), one.log_prob(x))


def test_smoothed_pinwheel_refuses_more_noise():
    with pytest.raises(ValueError, match=r"^noise_std must be 0"):
        Pinwheel().smoothed(0.1).smoothed(0.1)
