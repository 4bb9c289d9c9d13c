"""Columns that number the rows: whole numbers that rise from row to row, or by a constant step."""

from typing import Any, NamedTuple

import numpy as np

from ebm_cli.datasets.io.mapped import CHUNK_NUMBERS, MappedRows, slices

MIN_ROWS = 4
"""Rows of a data set, at least; a column of fewer has a constant step by chance."""
MIN_RISING = 10
"""Rows from which whole numbers that rise by any steps count: the order of ten has a chance of 3·10⁻⁷."""


class Numbering(NamedTuple):
    """A column that numbers the rows.

    Attributes:
        column: position among the columns of the rows.
        first, last: numbers of the first and the last row.
        step: from row to row, not 0; None if the numbers rise by different steps.
    """

    column: int
    first: int
    last: int
    step: int | None

    @property
    def is_count(self) -> bool:
        """True for 0, 1, 2, … and 1, 2, 3, …."""
        return self.step == 1 and self.first in (0, 1)


def numbered_columns(rows: MappedRows, chunk_numbers: int = CHUNK_NUMBERS) -> list[Numbering]:
    """Find the columns of rows [N, D] that number the rows, in the order of the file; none of fewer than four rows."""
    if len(rows) < MIN_ROWS:
        return []
    step = _steps(rows.numbers(slice(0, 2)))[0]
    is_constant = step != 0
    is_rising = np.full(rows.shape[1], len(rows) >= MIN_RISING)
    previous = rows.numbers(slice(0, 0))
    for chunk in slices(rows, chunk_numbers):
        x = rows.numbers(chunk)
        steps = _steps(np.concatenate((previous, x)))
        is_whole = (x == np.round(x)).all(axis=0) if x.dtype.kind == "f" else np.full(x.shape[1], x.dtype.kind in "iu")
        is_constant &= is_whole & (steps == step).all(axis=0)
        is_rising &= is_whole & (steps > 0).all(axis=0)
        if not (is_constant | is_rising).any():
            return []
        previous = x[-1:]
    last = len(rows) - 1
    return [
        Numbering(k, int(rows.value(0, k)), int(rows.value(last, k)), int(step[k]) if is_constant[k] else None)
        for k in map(int, np.flatnonzero(is_constant | is_rising))
    ]


def _steps(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Differences of consecutive rows; of whole numbers exact, and signed."""
    if x.dtype.kind == "f":
        with np.errstate(invalid="ignore"):
            return np.diff(x.astype(np.float64), axis=0)
    wide = x if x.dtype.itemsize == 8 else x.astype(np.int64)
    return np.asarray(np.diff(wide, axis=0)).view(np.int64)
