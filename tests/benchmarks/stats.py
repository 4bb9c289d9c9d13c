"""Medians with an interval that assumes no distribution of the noise, and slopes of curves."""

import math
from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

FEWEST = 6
"""Least number of values of which the whole range is a 95 % interval of the median: for 5 it has 1 − 2·2⁻⁵ = 94 %."""


class Interval(NamedTuple):
    """A median, and the interval that holds the true one with at least 95 % probability."""

    median: float
    low: float
    high: float


def median_interval(values: Sequence[float], level: float = 0.95) -> Interval:
    """The median and an interval of it by order statistics: [x₍ᵣ₎, x₍ₙ₊₁₋ᵣ₎].

    The number of values below the true median is Bin(n, ½) for any distribution; r is the largest rank with
    P(Bin(n, ½) < r) ≤ (1 − level)/2.

    Args:
        values: independent values, FEWEST or more.
        level: the least coverage, in (0, 1 − 2¹⁻ⁿ].

    Source: David & Nagaraja (2003), "Order Statistics", section 7.1.
    Raises:
        ValueError: too few values.
    """
    n, ordered = len(values), sorted(values)
    tail, rank = 0.0, 0
    while (tail := tail + math.comb(n, rank) / 2**n) <= (1 - level) / 2:
        rank += 1
    if rank == 0:
        raise ValueError(f"an interval of the median at {level} needs {FEWEST} values or more, got {n}")
    return Interval(median(ordered), ordered[rank - 1], ordered[n - rank])


def ratios(times: Sequence[float], to: Sequence[float]) -> Interval:
    """Ratio of `to` to `times`, round by round: a busy round slows both, which cancels in the ratio."""
    return median_interval([b / a for a, b in zip(times, to, strict=True)])


def slope(x: Sequence[float], y: Sequence[float]) -> float:
    """The exponent a of y ∝ xᵃ: least squares of log y on log x."""
    u, v = [math.log(value) for value in x], [math.log(value) for value in y]
    mean_u, mean_v = sum(u) / len(u), sum(v) / len(v)
    variance = sum((a - mean_u) ** 2 for a in u)
    return sum((a - mean_u) * (b - mean_v) for a, b in zip(u, v, strict=True)) / variance
