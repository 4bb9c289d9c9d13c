"""Evaluation of an energy on many points, in batches that fit into memory."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

CHUNK = 8192  # nodes in one call of the energy: 4 MB a layer of a network 128 wide


def in_chunks(function: Callable[[Tensor], Tensor], rows: Tensor) -> Tensor:
    """function(rows) [N], computed CHUNK rows at a time, as float64 on the rows' device."""
    return torch.cat([function(part).to(rows.device, torch.float64) for part in torch.split(rows, CHUNK)])


def placement(energy: Callable[[Tensor], Tensor]) -> tuple[torch.dtype, torch.device]:
    """The dtype and device that an energy computes in: those of its floating-point parameters or buffers."""
    if isinstance(energy, nn.Module):
        for tensor in (*energy.parameters(), *energy.buffers()):
            if tensor.is_floating_point():
                return tensor.dtype, tensor.device
    return torch.get_default_dtype(), torch.device("cpu")
