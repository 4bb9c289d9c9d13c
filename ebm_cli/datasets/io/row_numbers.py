"""Columns that number the rows: by a constant step, by numbers that rise, or by whole numbers that never repeat."""

from math import lgamma, log
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ebm_cli.datasets.io.mapped import CHUNK_NUMBERS, MappedRows, slices

MIN_ROWS = 4
"""Rows of a data set, at least; a column of fewer has a constant step by chance."""
MIN_RISING = 10
"""Rows from which numbers that rise by any steps count: the order of ten has a chance of 3·10⁻⁷."""
LOG_CHANCE = log(3e-7)
"""Logarithm of the chance below which whole numbers do not differ from one another by chance."""
HEAD = 1000
"""Rows in which a column is first looked at for numbers that repeat."""
MAX_SPAN = 2**27
"""Whole numbers from the smallest to the largest, at most, that are looked at for repeated ones."""


class Numbering(NamedTuple):
    """A column that numbers the rows.

    Attributes:
        column: position among the columns of the rows.
        first, last: numbers of the first and the last row; whole numbers are integers.
        step: from row to row, not 0; None if the numbers rise by different steps, or in no order.
        is_shuffled: True for different whole numbers in no order; `first` and `last` are the smallest and the largest.
    """

    column: int
    first: float
    last: float
    step: int | None
    is_shuffled: bool = False

    @property
    def is_count(self) -> bool:
        """True for 0, 1, 2, … and 1, 2, 3, …."""
        return self.step == 1 and self.first in (0, 1)


def counts_rows(numbers: NDArray[Any]) -> bool:
    """True for 0, 1, 2, … and 1, 2, 3, … in four rows or more: what is refused as an index, unless a key keeps it."""
    return len(numbers) >= MIN_ROWS and numbers[0] in (0, 1) and bool((np.diff(numbers) == 1).all())


def numbered_columns(rows: MappedRows, chunk_numbers: int = CHUNK_NUMBERS) -> list[Numbering]:
    """Find the columns of rows [N, D] that number the rows, in the order of the file; none of fewer than four rows."""
    if len(rows) < MIN_ROWS:
        return []
    step = _steps(rows.numbers(slice(0, 2)))[0]
    is_constant = step != 0
    is_rising = np.full(rows.shape[1], len(rows) >= MIN_RISING)
    # Most columns repeat a number early, and are not sorted again.
    is_whole, differs = np.full(rows.shape[1], True), _has_no_repeats(rows.numbers(slice(0, HEAD)))
    low = high = rows.numbers(slice(0, 1))[0]
    previous = rows.numbers(slice(0, 0))
    for chunk in slices(rows, chunk_numbers):
        x = rows.numbers(chunk)
        steps = _steps(np.concatenate((previous, x)))
        is_whole &= _are_whole(x)
        is_constant &= is_whole & (steps == step).all(axis=0)
        is_rising &= (steps > 0).all(axis=0)
        differs &= is_whole
        differs[differs] = _has_no_repeats(x[:, differs])
        if not (is_constant | is_rising | differs).any():
            return []
        low, high = np.minimum(low, x.min(axis=0)), np.maximum(high, x.max(axis=0))
        previous = x[-1:]
    found = []
    for k in range(rows.shape[1]):
        number = int if is_whole[k] else float
        if is_constant[k] or is_rising[k]:
            first, last = number(rows.value(0, k)), number(rows.value(len(rows) - 1, k))
            found.append(Numbering(k, first, last, int(step[k]) if is_constant[k] else None))
        elif differs[k] and _all_differ(rows, k, low[k], high[k], chunk_numbers):
            found.append(Numbering(k, int(low[k]), int(high[k]), None, is_shuffled=True))
    return found


def _are_whole(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """True for each column that holds whole numbers only."""
    if x.dtype.kind != "f":
        return np.full(x.shape[1], x.dtype.kind in "iu")
    return np.asarray((np.isfinite(x) & (x == np.round(x))).all(axis=0))


def _has_no_repeats(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """True for each column whose numbers differ from one another."""
    return np.asarray((np.diff(np.sort(x, axis=0), axis=0) != 0).all(axis=0))


def _all_differ(rows: MappedRows, k: int, low: Any, high: Any, chunk_numbers: int) -> bool:
    """True if the whole numbers of a column differ from one another, and would not by chance.

    N numbers drawn from M = high − low + 1 with equal probabilities all differ with probability M! / ((M − N)! Mᴺ);
    with any other probabilities they do so less often.
    """
    n, span = len(rows), int(high) - int(low) + 1
    if not n <= span <= MAX_SPAN or lgamma(span + 1) - lgamma(span - n + 1) - n * log(span) > LOG_CHANCE:
        return False
    seen = np.zeros(span, dtype=bool)
    for chunk in slices(rows, chunk_numbers):
        places = (rows.numbers(chunk)[:, k] - low).astype(np.int64)
        if seen[places].any():
            return False
        seen[places] = True
    return True


def _steps(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Differences of consecutive rows; of whole numbers exact, and signed."""
    if x.dtype.kind == "f":
        with np.errstate(invalid="ignore"):
            return np.diff(x.astype(np.float64), axis=0)
    wide = x if x.dtype.itemsize == 8 else x.astype(np.int64)
    return np.asarray(np.diff(wide, axis=0)).view(np.int64)
