"""Row-wise functions of many rows, computed in chunks that fit into memory or cache."""

from collections.abc import Callable

import torch
from torch import Tensor


def in_chunks(function: Callable[[Tensor], Tensor], rows: Tensor, size: int) -> Tensor:
    """function(rows) of a row-wise function, computed `size` rows at a time.

    Args:
        function: [B, *D] → [B, …], each row on its own.
        rows: [N, *D].
        size: rows of one call, ≥ 1.
    """
    if len(rows) <= size:
        return function(rows)
    return torch.cat([function(part) for part in torch.split(rows, size)])
