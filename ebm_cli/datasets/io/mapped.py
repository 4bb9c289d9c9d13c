"""Rows that stay in their file: a memory-mapped array with the indexing of a tensor."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

CHUNK_NUMBERS = 2**20
"""Numbers that a pass over all rows looks at together: 4 MB in float32."""


@final
class MappedRows:
    """Rows [N, *shape] of a memory-mapped array; an index reads the rows that it names.

    Args:
        array: real numbers, memory-mapped (any array will do).
        columns: positions of the columns of an array [N, D] that belong to a row; None for all.
    """

    def __init__(self, array: np.ndarray[Any, Any], columns: Sequence[int] | None = None) -> None:
        self.array, self.columns = array, None if columns is None else list(columns)
        self.shape = array.shape if self.columns is None else (len(array), len(self.columns))

    def __len__(self) -> int:
        return len(self.array)

    def numbers(self, where: np.ndarray[Any, Any] | slice) -> np.ndarray[Any, Any]:
        """Read rows in the dtype of the array."""
        rows = self.array[where]
        return rows if self.columns is None else rows[:, self.columns]

    def column(self, k: int) -> np.ndarray[Any, Any]:
        """Read a column [N] of rows [N, D] in the dtype of the array."""
        return self.array[:, k if self.columns is None else self.columns[k]]

    def value(self, i: int, *place: int) -> Any:
        """Read one number of row i, for a message."""
        return self.numbers(slice(i, i + 1))[(0, *place)]

    def __getitem__(self, index: Tensor | slice) -> Tensor:
        """Read the rows of an index [n], float32 on the CPU; a number too large for float32 becomes infinite."""
        where = index.cpu().numpy() if isinstance(index, Tensor) else index
        with np.errstate(over="ignore", invalid="ignore"):  # a signalling NaN becomes a quiet one
            return torch.from_numpy(np.array(self.numbers(where), dtype=np.float32))


Rows = Tensor | MappedRows
"""All rows of a data set [N, *shape], in memory or in their file."""


def chunks(rows: Rows, index: Tensor, chunk_numbers: int = CHUNK_NUMBERS) -> Iterator[Tensor]:
    """Yield the rows of an index [n] in pieces of at most `chunk_numbers` numbers, at least one row each."""
    row_numbers = max(1, math.prod(rows.shape[1:]))
    for part in index.split(max(1, chunk_numbers // row_numbers)):
        yield rows[part]


def slices(rows: MappedRows, chunk_numbers: int = CHUNK_NUMBERS) -> Iterator[slice]:
    """Slices of consecutive rows with at most `chunk_numbers` numbers each, at least one row."""
    step = max(1, chunk_numbers // max(1, math.prod(rows.shape[1:])))
    return (slice(start, start + step) for start in range(0, len(rows), step))
