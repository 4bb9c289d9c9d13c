"""Row-wise functions in chunks: the same values, and at most as many rows in a call as asked for."""

import pytest
import torch
from torch import Tensor

from ebm_cli.system.chunks import in_chunks
from tests.support import normal


@pytest.mark.parametrize(("size", "calls"), [(1, [1] * 7), (3, [3, 3, 1]), (7, [7]), (100, [7])])
def test_chunks_have_at_most_the_given_size(size: int, calls: list[int]) -> None:
    seen, rows = [], normal(7, 2)

    def function(part: Tensor) -> Tensor:
        seen.append(len(part))
        return part.square().sum(1)

    assert torch.equal(in_chunks(function, rows, size), rows.square().sum(1))
    assert seen == calls


def test_chunks_carry_a_gradient() -> None:
    rows = normal(7, 2).requires_grad_()
    in_chunks(torch.sin, rows, 3).sum().backward()
    assert rows.grad is not None
    torch.testing.assert_close(rows.grad, rows.detach().cos())
