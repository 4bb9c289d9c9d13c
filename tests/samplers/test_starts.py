"""Starting points of chains."""

import torch

from ebm_cli.samplers import wide_starts
from tests.support import seeded


def test_wide_starts_have_twice_the_unit_scale() -> None:
    x = wide_starts(torch.zeros(2, 3, dtype=torch.float64), 20_000, seeded())
    assert x.shape == (20_000, 2, 3)
    assert x.dtype == torch.float64
    # Five standard errors of the mean of a square with variance 2 · 4².
    assert abs(float(x.square().mean()) - 4) < 5 * (32 / x.numel()) ** 0.5
