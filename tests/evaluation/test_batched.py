"""Energies of many points: double precision, and the place where an energy computes."""

import torch
from torch import nn

from ebm_cli.evaluation.batched import CHUNK_ROWS, in_chunks, placement
from tests.support import harmonic, normal


def test_values_in_chunks_are_in_double_precision() -> None:
    rows = normal(CHUNK_ROWS + 3, 2).float()
    calls = []

    def counted(part: torch.Tensor) -> torch.Tensor:
        calls.append(len(part))
        return harmonic(part)

    values = in_chunks(counted, rows)
    assert calls == [CHUNK_ROWS, 3]
    assert values.dtype == torch.float64
    assert torch.equal(values, harmonic(rows).double())


def test_placement_is_that_of_the_parameters_or_buffers() -> None:
    assert placement(nn.Linear(2, 1).double()) == (torch.float64, torch.device("cpu"))
    assert placement(nn.BatchNorm1d(2, affine=False).half())[0] == torch.float16
    assert placement(harmonic) == (torch.get_default_dtype(), torch.device("cpu"))
