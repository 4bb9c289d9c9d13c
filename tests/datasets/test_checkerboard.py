"""The checkerboard in the limit of no blur."""

import math

import pytest
import torch

from ebm_cli.datasets import Checkerboard

pytestmark = pytest.mark.usefixtures("float64")


def test_checkerboard_with_little_blur_is_uniform_in_its_squares():
    board = Checkerboard(noise=1e-3)
    inside = torch.tensor([[-1.5, -1.5], [0.3, 0.4], [1.5, -0.5]])
    torch.testing.assert_close(board.log_prob(inside), torch.full((3,), -math.log(8.0)))
    assert (board.log_prob(inside + torch.tensor([0.0, 1.0])) < -1000).all()
