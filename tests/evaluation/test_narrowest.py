"""Width of the narrowest structure of the data."""

import pytest
import torch

from ebm_cli.evaluation.narrowest import narrowest_width
from tests.support import normal


@pytest.mark.parametrize("width", [0.05, 0.3])
def test_width_is_that_of_the_narrower_mode(width: float) -> None:
    narrow = normal(1000, 1, seed=1) * width - 1
    wide = normal(1000, 1, seed=2) * 0.5 + 1.5
    found = narrowest_width(torch.cat((narrow, wide))[torch.randperm(2000, generator=torch.Generator().manual_seed(0))])
    assert found is not None
    assert width / 3 < found < 1.5 * width


def test_width_across_a_thin_line_is_its_thickness() -> None:
    along, across = normal(2000, seed=1), normal(2000, seed=2) * 0.03
    found = narrowest_width(torch.stack((along + across, along - across), 1))
    assert found is not None
    assert 0.02 < found < 0.06


def test_width_of_too_few_or_too_wide_rows_is_unknown() -> None:
    assert narrowest_width(normal(50, 2)) is None
    assert narrowest_width(normal(500, 100)) is None
