"""Numbers that float32 cannot hold: not finite, too large, or so close together that it takes them for one another."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch

from ebm_cli.datasets.io.contents import ROW_LABEL, ColumnWords, InvalidFile
from ebm_cli.datasets.io.mapped import CHUNK_NUMBERS, MappedRows, slices
from ebm_cli.datasets.io.problems import Problem

ROUNDING = 1e-13
"""Range of a column, relative to its largest value, up to which it is a constant that was computed with rounding."""
WITHOUT_NAMES = ColumnWords()
Array = np.ndarray[Any, Any]


class NotFinite(NamedTuple):
    """The numbers of one place of a row that are not finite: their number, and the first with its row."""

    place: tuple[int, ...]
    n: int
    row: int
    value: Any


def not_finite(rows: MappedRows, chunk_numbers: int = CHUNK_NUMBERS, missing: bool = False) -> list[NotFinite]:
    """Find the numbers that are not finite in float32, place by place.

    Args:
        rows: [N, *shape].
        chunk_numbers: numbers that are looked at together.
        missing: whether NaN is allowed.
    """
    counts = np.zeros(rows.shape[1:], dtype=np.int64)
    first = np.full(rows.shape[1:], -1, dtype=np.int64)
    for chunk in slices(rows, chunk_numbers):
        x = rows[chunk]
        wrong = (torch.isinf(x) if missing else ~torch.isfinite(x)).numpy()
        if wrong.any():
            is_new = wrong.any(axis=0) & (first < 0)
            first = np.where(is_new, chunk.start + wrong.argmax(axis=0), first)
            counts += wrong.sum(axis=0)
    places = [tuple(int(k) for k in place) for place in np.argwhere(counts)]
    return [NotFinite(p, int(counts[p]), int(first[p]), rows.value(int(first[p]), *p)) for p in places]


def finite_problems(
    rows: MappedRows,
    words: ColumnWords = WITHOUT_NAMES,
    row_label: Callable[[int], str] = ROW_LABEL,
    chunk_numbers: int = CHUNK_NUMBERS,
    missing: bool = False,
) -> list[Problem]:
    """Problems of columns [N, D] with numbers that are not finite, or beyond float32."""
    problems = []
    for found in not_finite(rows, chunk_numbers, missing):
        k = found.place[0]
        more = f", and {found.n - 1:,} more like it" if found.n > 1 else ""
        is_large = math.isfinite(found.value)
        cure = "divide them by a power of ten" if is_large else "remove such rows"
        fact = "holds numbers beyond float32 (3.4e38) in" if is_large else "holds numbers that are not finite in"
        example = f"{found.value} in {row_label(found.row)}{more}"
        wrong = None if is_large else _without_value(rows.column(k), missing)
        problems.append(Problem(fact, words.position(k), example, cure, wrong, is_infinite=not is_large))
    return problems


def _without_value(column: Array, missing: bool) -> Array:
    """Rows [N] whose number is infinite, or NaN if that is not allowed."""
    x = column.astype(np.float64)
    return np.isinf(x) if missing else ~np.isfinite(x)


def require_finite_images(rows: MappedRows, missing: bool = False) -> None:
    """Require that every number of images [N, C, H, W] is finite, in float32 too.

    Raises:
        InvalidFile: the message names the first number that is not.
    """
    found = not_finite(rows, missing=missing)
    if found:
        first, count = min(found, key=lambda one: one.row), sum(one.n for one in found)
        more = f" (and {count - 1:,} more like it)" if count > 1 else ""
        is_large = math.isfinite(first.value)
        cure = ", beyond float32 (3.4e38): divide them by a power of ten" if is_large else ": remove such rows"
        raise InvalidFile(f"holds {first.value} in {ROW_LABEL(first.row)}, place {list(first.place)}{more}{cure}")


def precision_problems(
    rows: MappedRows, words: ColumnWords = WITHOUT_NAMES, chunk_numbers: int = CHUNK_NUMBERS
) -> list[Problem]:
    """Problems of columns whose range float32 resolves by less than 1/1000, as dates in seconds, off by a minute.

    Whole numbers are compared as whole numbers, also beyond 2⁵³, where float64 merges them; numbers that are missing
    are left out, and columns with numbers beyond float32.
    """
    width = rows.shape[1]
    low, high, error = None, None, np.zeros(width)
    is_whole = np.ones(width, dtype=bool)
    for chunk in slices(rows, chunk_numbers):
        x = rows.numbers(chunk)
        x = x.astype(np.uint8) if x.dtype.kind == "b" else x
        low = _lowest(x) if low is None else np.fmin(low, _lowest(x))
        high = _highest(x) if high is None else np.fmax(high, _highest(x))
        error = np.fmax(error, _highest(_rounding_error(x)))
        if x.dtype.kind == "f":
            is_whole &= ((x == np.round(x)) | np.isnan(x)).all(axis=0)
    assert low is not None
    assert high is not None
    spread = _difference(high, low)
    largest = np.maximum(np.abs(low.astype(np.float64)), np.abs(high.astype(np.float64)))
    # A smaller range is that of a constant which was computed with rounding; whole numbers are not.
    varies = np.where(is_whole, spread > 0, spread > ROUNDING * largest)
    wrong = np.flatnonzero(varies & (largest <= np.finfo(np.float32).max) & (error > spread / 1000))
    return [_too_coarse(low[j], high[j], float(largest[j]), words.position(int(j))) for j in wrong]


def _lowest(x: Array) -> Array:
    return np.asarray(np.fmin.reduce(x, axis=0))


def _highest(x: Array) -> Array:
    return np.asarray(np.fmax.reduce(x, axis=0))


def _too_coarse(low: Any, high: Any, largest: float, column: int) -> Problem:
    digits = 12 if f"{float(low):.12g}" != f"{float(high):.12g}" else 17
    first, last = (str(int(v)) if low.dtype.kind in "iu" else f"{float(v):.{digits}g}" for v in (low, high))
    cure = f"subtract {first} from them" if largest > 1 else "multiply them by a power of ten"
    fact = "holds numbers that float32 rounds too coarsely in"
    return Problem(fact, column, f"from {first} to {last}", cure)


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
