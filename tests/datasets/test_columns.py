"""Statistics of columns: the same in one piece and in many."""

import pytest
import torch

from ebm_cli.datasets.columns import column_moments, whole_columns
from tests.support import seeded


def test_moments_of_many_chunks_are_those_of_all_rows():
    rows = torch.tensor([1.0, 1e-3, 1e4]) * torch.randn(50, 3, generator=seeded()) + torch.tensor([0.0, 50.0, -1e5])
    index = torch.randperm(50, generator=seeded(1))[:35]
    moments = column_moments(rows, index, chunk_numbers=3 * 8)
    train = rows[index].double()
    assert moments.n == 35
    torch.testing.assert_close(moments.mean, train.mean(0), rtol=1e-12, atol=0.0)
    torch.testing.assert_close(moments.squares / 34, train.var(0), rtol=1e-9, atol=0.0)
    assert torch.equal(moments.largest, train.abs().amax(0))


def test_whole_columns_finds_the_columns_of_whole_numbers():
    rows = torch.tensor([[1.0, 0.5, -3.0], [2.0, 1.0, 0.0]])
    assert whole_columns(rows).tolist() == [True, False, True]


def test_whole_columns_refuses_numbers_without_room_for_noise():
    rows = torch.stack([torch.arange(9), torch.arange(9) + 2**22], dim=1).float()
    message = r"^dequantise must be false: column 1 \(counted from 0\) holds whole numbers of 4194304 and more"
    with pytest.raises(ValueError, match=message):
        whole_columns(rows)


def test_whole_columns_refuses_rows_without_any():
    with pytest.raises(ValueError, match=r"^dequantise must be false: no column holds only whole numbers"):
        whole_columns(torch.full((9, 2), 0.5))
