"""Tensors of torch.save: one dense tensor of real numbers, or refused."""

from pathlib import Path

import pytest
import torch

from tests.datasets.support import assert_refused


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {"a": torch.ones(5, 2), "b": torch.ones(5)},
            "must hold one tensor, got a dict of 2: a, b; dataset.array=a chooses",
        ),
        ([torch.ones(5, 2)], "must hold one tensor, or a dict of tensors, got a list"),
        (torch.nn.Linear(2, 2), "is damaged, or holds more than the one tensor"),
        (b"not a tensor", "is damaged, or holds more than the one tensor"),
        (torch.ones(5, 2, dtype=torch.complex64), "must hold a dense tensor of real numbers, got .*complex64"),
        (torch.ones(5, 2).to_sparse(), "must hold a dense tensor of real numbers, got torch.sparse_coo"),
    ],
)
def test_read_tensor_refuses_anything_else(content: object, message: str, tmp_path: Path):
    path = tmp_path / "x.pt"
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    assert_refused(tmp_path, "x.pt", path.read_bytes(), message)
