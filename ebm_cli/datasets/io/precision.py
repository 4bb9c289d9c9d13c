"""Numbers that float32 cannot hold: not finite, too large, or so close together that it takes them for one another."""

import math
from collections.abc import Callable, Iterator
from typing import Any, Never

import numpy as np
import torch

from ebm_cli.datasets.io.contents import ColumnWords, InvalidFile
from ebm_cli.datasets.io.mapped import CHUNK_NUMBERS, MappedRows

ROUNDING = 1e-13
"""Range of a column, relative to its largest value, up to which it is a constant that was computed with rounding."""
WITHOUT_NAMES = ColumnWords()
Array = np.ndarray[Any, Any]


def require_finite(
    rows: MappedRows,
    words: ColumnWords = WITHOUT_NAMES,
    row_label: Callable[[int], str] = "row {}".format,
    chunk_numbers: int = CHUNK_NUMBERS,
    missing: bool = False,
) -> None:
    """Require that every number is finite, in float32 too.

    Args:
        rows: [N, *shape].
        words: for the columns.
        row_label: position of a row → its name.
        chunk_numbers: numbers that are looked at together.
        missing: whether NaN is allowed.

    Raises:
        InvalidFile: the message names the first number that is not.
    """
    n_wrong, first, cure = 0, "", ""
    for chunk in slices(rows, chunk_numbers):
        x = rows[chunk]
        wrong = (torch.isinf(x) if missing else ~torch.isfinite(x)).nonzero()
        if len(wrong) and not n_wrong:
            i, place = chunk.start + int(wrong[0, 0]), [int(k) for k in wrong[0, 1:]]
            where = words.label(place[0]) if len(place) == 1 else f"place {place}"
            value = rows.value(i, *place)
            first = f"{value} in {row_label(i)}, {where}"
            drop = f", or leave the column out with {words.drop(place[0])}" if len(place) == 1 else ""
            is_large = math.isfinite(value)
            cure = ", beyond float32 (3.4e38): divide them by a power of ten" if is_large else ": remove such rows"
            cure += drop
        n_wrong += len(wrong)
    if n_wrong:
        more = f" (and {n_wrong - 1:,} more like it)" if n_wrong > 1 else ""
        raise InvalidFile(f"holds {first}{more}{cure}")


def require_float32_precision(
    rows: MappedRows, words: ColumnWords = WITHOUT_NAMES, chunk_numbers: int = CHUNK_NUMBERS
) -> None:
    """Require that float32 resolves 1/1000 of each column's range: dates in seconds, for instance, are off by a minute.

    Whole numbers are compared as whole numbers, also beyond 2⁵³, where float64 merges them.

    Raises:
        InvalidFile: the message names the first column that is rounded more coarsely.
    """
    width = rows.shape[1]
    low, high, error = None, None, np.zeros(width)
    is_whole = np.ones(width, dtype=bool)
    for chunk in slices(rows, chunk_numbers):
        x = rows.numbers(chunk)
        x = x.astype(np.uint8) if x.dtype.kind == "b" else x
        low = x.min(axis=0) if low is None else np.minimum(low, x.min(axis=0))
        high = x.max(axis=0) if high is None else np.maximum(high, x.max(axis=0))
        error = np.maximum(error, _rounding_error(x).max(axis=0))
        if x.dtype.kind == "f":
            is_whole &= (x == np.round(x)).all(axis=0)
    assert low is not None
    assert high is not None
    spread = _difference(high, low)
    largest = np.maximum(np.abs(low.astype(np.float64)), np.abs(high.astype(np.float64)))
    # A smaller range is that of a constant which was computed with rounding; whole numbers are not.
    varies = np.where(is_whole, spread > 0, spread > ROUNDING * largest)
    wrong = np.flatnonzero(varies & (error > spread / 1000))
    if len(wrong):
        j = int(wrong[0])
        _raise_too_coarse(low[j], high[j], float(largest[j]), words.label(j), words.drop(j))


def _raise_too_coarse(low: Any, high: Any, largest: float, label: str, drop: str) -> Never:
    digits = 12 if f"{float(low):.12g}" != f"{float(high):.12g}" else 17
    first, last = (str(int(v)) if low.dtype.kind in "iu" else f"{float(v):.{digits}g}" for v in (low, high))
    cure = f"subtract {first} from them" if largest > 1 else "multiply them by a power of ten"
    raise InvalidFile(
        f"holds numbers from {first} to {last} in {label}, which float32 rounds too coarsely: "
        f"{cure}, or leave the column out with {drop}"
    )


def _rounding_error(x: Array) -> Array:
    """|x − float32(x)| of each number; for whole numbers of 64 bits without an intermediate float64."""
    if x.dtype.kind == "f" or x.dtype.itemsize < 8:
        wide = x.astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            return np.asarray(np.abs(wide - wide.astype(np.float32)))
    bounds = np.iinfo(x.dtype)
    # The largest float64 below 2⁶³ or 2⁶⁴; float32 rounds up to these.
    back = np.minimum(x.astype(np.float32).astype(np.float64), np.nextafter(float(bounds.max), 0)).astype(x.dtype)
    return _difference(np.maximum(x, back), np.minimum(x, back))


def _difference(high: Array, low: Array) -> Array:
    """High − low ≥ 0 in float64; for whole numbers exact before it is rounded."""
    if high.dtype.kind in "iu":
        return (high.astype(np.int64).view(np.uint64) - low.astype(np.int64).view(np.uint64)).astype(np.float64)
    return high.astype(np.float64) - low.astype(np.float64)


def counting_columns(rows: MappedRows, chunk_numbers: int = CHUNK_NUMBERS) -> list[int]:
    """Columns that count the rows, from 0 or from 1."""
    counts = np.ones(rows.shape[1], dtype=bool)
    first = rows.numbers(slice(0, 1))[0]
    counts &= (first == 0) | (first == 1)
    for chunk in slices(rows, chunk_numbers):
        if not counts.any():
            break
        x = rows.numbers(chunk)
        counts &= (x == first + np.arange(chunk.start, chunk.start + len(x))[:, None]).all(axis=0)
    return [int(j) for j in np.flatnonzero(counts)]


def slices(rows: MappedRows, chunk_numbers: int = CHUNK_NUMBERS) -> Iterator[slice]:
    """Slices of consecutive rows with at most `chunk_numbers` numbers each, at least one row."""
    step = max(1, chunk_numbers // max(1, int(np.prod(rows.shape[1:]))))
    return (slice(start, start + step) for start in range(0, len(rows), step))
