"""Energies and densities of many points, in double precision and in chunks that fit into memory."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ebm_cli.system import chunks

CHUNK_ROWS = 8192
"""Points in one call of an energy: 4 MB a layer of a network 128 wide."""


def in_chunks(function: Callable[[Tensor], Tensor], rows: Tensor) -> Tensor:
    """function(rows) [N], computed CHUNK_ROWS rows at a time, as float64 on the rows' device."""
    return chunks.in_chunks(lambda part: function(part).to(rows.device, torch.float64), rows, CHUNK_ROWS)


def placement(energy: Callable[[Tensor], Tensor]) -> tuple[torch.dtype, torch.device]:
    """The dtype and device that an energy computes in: those of its floating-point parameters or buffers."""
    if isinstance(energy, nn.Module):
        for tensor in (*energy.parameters(), *energy.buffers()):
            if tensor.is_floating_point():
                return tensor.dtype, tensor.device
    return torch.get_default_dtype(), torch.device("cpu")
