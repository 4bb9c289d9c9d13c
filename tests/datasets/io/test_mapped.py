"""Rows that stay in their file: indexed like a tensor, in float32."""

import numpy as np
import torch

from ebm_cli.datasets.io.mapped import MappedRows, chunks


def test_mapped_rows_are_read_by_index_and_by_slice():
    array = np.arange(12.0).reshape(4, 3)
    rows = MappedRows(array)
    assert (len(rows), rows.shape) == (4, (4, 3))
    assert torch.equal(rows[torch.tensor([3, 0])], torch.tensor([[9.0, 10.0, 11.0], [0.0, 1.0, 2.0]]))
    assert torch.equal(rows[1:2], torch.tensor([[3.0, 4.0, 5.0]]))


def test_mapped_rows_make_infinity_of_numbers_beyond_float32():
    assert MappedRows(np.array([[1e300, -1e300, 1.0]]))[:].tolist() == [[np.inf, -np.inf, 1.0]]


def test_chunks_hold_all_rows_in_order_and_few_numbers_each():
    rows = torch.arange(30).view(10, 3)
    index = torch.tensor([9, 1, 5, 0, 2])
    parts = list(chunks(rows, index, chunk_numbers=7))
    assert [len(part) for part in parts] == [2, 2, 1]
    assert torch.equal(torch.cat(parts), rows[index])
    assert [len(part) for part in chunks(rows, index, chunk_numbers=1)] == [1] * 5, "at least one row"
