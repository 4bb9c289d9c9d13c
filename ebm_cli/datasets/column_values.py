"""The values of one column of a table: repeated ones, extreme ones, and ones that stand for a missing number."""

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Numbers = NDArray[np.float32] | NDArray[np.float64]

FINE, COARSE = 0.02, 0.1
"""Width, in standard deviations of the column, from which a repeated value counts: for score matching, which follows
the finest structure, and for other methods. Numbers with many digits coincide by chance, but at distances that no
density resolves."""
TIED_SHARE = 0.1
"""Share of rows with a repeated value from which a column counts as tied."""
ATOM_SHARE, ATOM_ROWS = 0.01, 5
"""Share and number of rows from which a single repeated value of a continuous column counts."""
FAR = 10.0
"""Robust standard deviations from the median beyond which a value is far."""
GAP = 3.0
"""Factor between the nearest far value and the farthest other one from which the far ones are outliers."""
SPREAD = 3.0
"""Factor by which far values must increase the standard deviation over the robust one."""
NORMAL_IQR = 1.349
"""Distance of the quartiles of N(0, 1)."""

MISSING_CODES = frozenset(
    {-1.0, -9.0, -99.0, -999.0, -9999.0, -99999.0, -999999.0, 99.0, 999.0, 9999.0, 99999.0, 999999.0}
    | {-99.9, -999.9, 99.9, 999.9, -999.25, -888.0, -8888.0, 1e20, -1e20, 1e30, -1e30, 32767.0, -32768.0, 65535.0}
    | {float(np.float32(x)) for x in (-99.9, -999.9, 99.9, 999.9, 1e20, -1e20, 1e30, -1e30, 9.96921e36)}
    | {float(2**31 - 1), -float(2**31), float(2**31), 9.96921e36}
)
"""Numbers that files use for "missing", in float64 and float32."""


class Values(NamedTuple):
    """The different values of a column, ascending [m], and the number of rows of each [m]."""

    values: Array
    counts: NDArray[np.int64]

    @classmethod
    def of(cls, column: Numbers) -> "Values":
        """Sort the numbers of a column [N], which are numbers of float32."""
        ordered = np.sort(column.astype(np.float32, copy=False))
        starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
        return cls(ordered[starts].astype(np.float64), np.diff(starts, append=len(ordered)))

    @property
    def is_distinct(self) -> bool:
        """True if no value repeats."""
        return len(self.values) == self.n

    @property
    def n(self) -> int:
        """Rows."""
        return int(self.counts.sum())

    @property
    def std(self) -> float:
        """Standard deviation."""
        mean = float(np.average(self.values, weights=self.counts))
        return float(np.sqrt(np.average((self.values - mean) ** 2, weights=self.counts)))

    def quantiles(self, *shares: float) -> list[float]:
        """The smallest values that at least these shares of the rows do not exceed."""
        at = np.searchsorted(self.counts.cumsum(), np.array(shares) * self.n)
        return [float(x) for x in self.values[np.minimum(at, len(self.values) - 1)]]

    def without(self, keep: NDArray[np.bool_]) -> "Values":
        """The values that `keep` [m] marks."""
        return Values(self.values[keep], self.counts[keep])

    @property
    def is_whole(self) -> bool:
        """True if every value is a whole number."""
        return bool((self.values == np.round(self.values)).all())


class Ties(NamedTuple):
    """Repeated values of a column.

    Attributes:
        kind: two values, whole numbers, steps (rounded numbers), or one value of a continuous column.
        share: of the rows with a repeated value, or with `value`.
        n_values: different values.
        step: median distance between neighbours, data units; for a single value a fifth of the standard deviation.
        value: the most frequent one.
    """

    kind: Literal["two", "whole", "rounded", "atom"]
    share: float
    n_values: int
    step: float
    value: float


def widths(column: Values) -> Array:
    """Distance within which as many other rows lie as a value has itself, for each value [m], data units.

    On whole numbers it is about 1. In a sample of a density it is the distance of neighbours, since no value repeats.
    A model whose density is much narrower than this at a repeated value has learned that value, and no density.
    """
    values, counts = column
    m, total = len(values), np.concatenate(([0], column.counts.cumsum()))
    index, found = np.arange(m), np.full(m, values[-1] - values[0])
    is_open, k = counts > 1, 1
    found[~is_open] = 0.0
    while is_open.any() and k < 2 * m:
        low, high = np.maximum(index - k, 0), np.minimum(index + k, m - 1)
        reached = is_open & (total[high + 1] - total[low] - counts >= counts)
        found[reached] = np.maximum(values - values[low], values[high] - values)[reached]
        is_open &= ~reached
        k += max(1, k // 2)
    return found


def ties(column: Values, scale: float, resolution: float = FINE) -> Ties | None:
    """Repeated values that a density cannot have; None if there are none that matter.

    Args:
        column: of at least two values.
        scale: standard deviation in data units, > 0.
        resolution: `FINE` or `COARSE`. With the second, a single value counts from `TIED_SHARE` of the rows, and whole
            or rounded numbers count if most rows repeat one and their step is as large, too.
    """
    values, counts = column
    atom_rows = max(ATOM_ROWS, (ATOM_SHARE if resolution < COARSE else TIED_SHARE) * column.n)
    if len(values) > 2 and counts.max() < atom_rows and counts[counts > 1].sum() < TIED_SHARE * column.n:
        return None
    is_repeated = (counts > 1) & (widths(column) > resolution * scale)
    tied = float(counts[is_repeated].sum() / column.n)
    top = int(counts.argmax())
    step = float(np.median(np.diff(values)))
    is_atom = is_repeated & (counts >= atom_rows)
    others = column.n - counts[is_atom].sum()
    others_tied = float(counts[is_repeated & ~is_atom].sum() / max(1, others))
    if len(values) == 2 and column.n > 4:
        return Ties("two", 1.0, 2, step, float(values[top]))
    # A few atoms in a continuous column: what is left of it does not repeat, and has more values than there are atoms.
    if is_atom.any() and others_tied < TIED_SHARE and (~is_atom).sum() > 2 * is_atom.sum():
        return Ties("atom", float(counts[top] / column.n), len(values), 0.2 * scale, float(values[top]))
    if tied < TIED_SHARE or (resolution >= COARSE and (tied < 0.5 or step < resolution * scale)):
        return None
    return Ties("whole" if column.is_whole else "rounded", tied, len(values), step, float(values[top]))


def missing_code(column: Values) -> float | None:
    """A value that seems to stand for a missing number; None if there is none.

    A code of `MISSING_CODES` counts if it repeats, is the smallest or largest value, and lies as far from the others
    as they spread, or is the only negative number and stands apart. 0 counts if it repeats, and all other
    values are positive and farther from 0 than their quartiles from each other, or than a fifth of their median, and
    are no counts from 1.
    """
    values, counts = column
    if len(values) < 6:
        return None
    for end, near in ((0, 1), (-1, -2)):
        code, others = float(values[end]), column.without(np.arange(len(values)) != end % len(values))
        gap, spread = abs(code - float(values[near])), float(others.values[-1] - others.values[0])
        lower, middle, upper = others.quantiles(0.25, 0.5, 0.75)
        if code in MISSING_CODES and counts[end] > 1:
            is_only_negative = code < 0 <= float(values[near]) and (not others.is_whole or gap > 5)
            if gap >= spread or (is_only_negative and gap > 0.5 * (upper - lower)) or (
                is_only_negative and not others.is_whole and code == -1
            ):  # fmt: skip
                return code
        is_only_zero = code == 0 and end == 0 and counts[end] > 1 and len(others.values) >= 10
        is_count = others.is_whole and gap == 1  # 0, 1, 2, …
        if is_only_zero and not is_count and (gap >= upper - lower or gap > 0.2 * middle):
            return code
    return None


def robust_scale(column: Values) -> tuple[float, float] | None:
    """Median and (q₇₅ − q₂₅)/1.349, data units; None if at least half of the rows, and of the others, are equal.

    Where the quartiles coincide, the most frequent value is left out.
    """
    lower, median, upper = column.quantiles(0.25, 0.5, 0.75)
    if lower == upper and len(column.values) > 2:
        others = column.without(np.arange(len(column.values)) != column.counts.argmax())
        lower, median, upper = others.quantiles(0.25, 0.5, 0.75)
    return (median, (upper - lower) / NORMAL_IQR) if upper > lower else None


class Extremes(NamedTuple):
    """Values that are far from the others, and set the scale of the column.

    Attributes:
        kind: outliers, which stand apart, or a heavy tail, which does not.
        rows: number of rows with a far value.
        farthest: the far value with the largest distance from the median.
        others: largest distance of another value from the median.
        median: of the column.
        ratio: standard deviation of the column over the robust one, (q₇₅ − q₂₅)/1.349.
    """

    kind: Literal["outliers", "heavy"]
    rows: int
    farthest: float
    others: float
    median: float
    ratio: float


def extremes(column: Values) -> Extremes | None:
    """Find far values that increase the standard deviation by `SPREAD`; None if there are none."""
    centre = robust_scale(column) if len(column.values) >= 8 else None
    if centre is None:
        return None
    median, robust = centre
    distance = np.abs(column.values - median)
    is_far = distance > FAR * robust
    if not is_far.any() or (ratio := column.std / robust) < SPREAD:
        return None
    rows = int(column.counts[is_far].sum())
    far, near = distance[is_far], float(distance[~is_far].max())
    farthest = float(column.values[distance.argmax()])
    is_apart = float(far.min()) > GAP * near
    found = Extremes("outliers", rows, farthest, near, median, ratio)
    if rows <= max(1.0, ATOM_SHARE * column.n) and is_apart:
        return found
    # Far values of a second mode are about equally far; those of a tail differ by factors.
    is_tail = rows <= column.n / 10 and float(far.max()) > SPREAD * float(far.min())
    return found._replace(kind="heavy") if is_tail and not is_apart else None
