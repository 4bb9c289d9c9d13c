"""Starting points of chains."""

import math

import torch

from ebm_cli.samplers import replace_diverged, wide_starts
from tests.support import seeded


def test_wide_starts_have_twice_the_unit_scale() -> None:
    x = wide_starts(torch.zeros(2, 3, dtype=torch.float64), 20_000, seeded())
    assert x.shape == (20_000, 2, 3)
    assert x.dtype == torch.float64
    # Five standard errors of the mean of a square with variance 2 · 4².
    assert abs(float(x.square().mean()) - 4) < 5 * (32 / x.numel()) ** 0.5


def test_replace_diverged_keeps_finite_chains_bit_for_bit() -> None:
    x = torch.tensor([[1.0, 2.0], [math.nan, 0.0], [0.0, math.inf], [3.0, 4.0]])
    fresh = torch.full((4, 2), 7.0)
    kept, finite = replace_diverged(x, fresh)
    assert finite.tolist() == [True, False, False, True]
    assert kept.tolist() == [[1.0, 2.0], [7.0, 7.0], [7.0, 7.0], [3.0, 4.0]]
