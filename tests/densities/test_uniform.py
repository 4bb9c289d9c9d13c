"""The uniform density on a box."""

import torch

from ebm_cli.densities import Uniform
from tests.densities.support import bent_data


def test_uniform_is_minus_infinity_outside_its_box() -> None:
    noise = Uniform(bent_data(), margin=0.0)
    assert torch.isneginf(noise.log_prob(torch.full((1, 2), 50.0, dtype=torch.float64))).all()
