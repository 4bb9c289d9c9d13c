"""Mean and spread of a result over the runs of a group, and the test of a difference between two groups.

    m = Σ x_i / n        s² = Σ (x_i − m)² / (n − 1),  for n ≥ 2

Welch's t-test of a difference, with v = s²/n (`conclusions` compares p with its threshold):

    t = (m_a − m_b) / √(v_a + v_b)        p = 2 P(T_ν ≤ −|t|)        ν = (v_a + v_b)² / (v_a²/(n_a−1) + v_b²/(n_b−1))

Source: Welch (1947), Biometrika 34, 28–35.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from scipy.special import stdtr

from ebm_cli.evaluation.values import format_value

GIGABYTES_FROM = 10_000.0
"""Megabytes from which memory is in gigabytes."""


class Spread(NamedTuple):
    """A result over the n ≥ 1 runs of a group that have it; sd is None for n = 1."""

    mean: float
    sd: float | None
    n: int

    @staticmethod
    def of(values: Sequence[float]) -> "Spread":
        """Mean and standard deviation (n − 1) of at least one value."""
        n = len(values)
        mean = math.fsum(values) / n
        return Spread(mean, math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (n - 1)) if n > 1 else None, n)

    def parts(self) -> tuple[str, str]:
        """Mean and sd as text: two digits of the sd, the mean to the same decimal; no sd where it is 0, or n = 1."""
        if not self.sd:
            return format_value(int(self.mean) if self.mean.is_integer() else self.mean), ""
        size, digit = max(abs(self.mean), self.sd), math.floor(math.log10(self.sd))
        if not 1e-4 <= size < 1e6:
            digits = min(max(math.floor(math.log10(size)) - digit + 1, 1), 6)
            return f"{self.mean:.{digits}e}", f"{self.sd:.1e}"
        decimals = min(max(1 - digit, 0), 6)
        return f"{self.mean:.{decimals}f}", f"{self.sd:.{decimals}f}" if decimals < 6 else f"{self.sd:.1e}"

    def cost_parts(self, unit: str) -> tuple[str, str]:
        """The same of a cost, of which no more than three digits mean anything: whole megabytes, or gigabytes.

        Args:
            unit: of the cost; only that of memory is written.
        """
        if unit == "MB" and self.mean >= GIGABYTES_FROM:
            return Spread(self.mean / 1000, self.sd and self.sd / 1000, self.n).cost_parts("GB")
        size = math.floor(math.log10(abs(self.mean))) if self.mean else 0
        decimals = 0 if unit == "MB" or (self.mean.is_integer() and not self.sd) else min(max(2 - size, 0), 6)
        mean, sd = (f"{x:,.{decimals}f}".replace(",", " ") for x in (self.mean, self.sd or 0.0))
        return f"{mean} {unit}" if unit in ("MB", "GB") else mean, sd if float(sd.replace(" ", "")) else ""

    def __str__(self) -> str:
        return " ± ".join(part for part in self.parts() if part)


def welch(a: Spread, b: Spread) -> float | None:
    """The two-sided p-value of Welch's t-test on two means; None where either has no spread (n = 1)."""
    if a.sd is None or b.sd is None:
        return None
    va, vb = a.sd**2 / a.n, b.sd**2 / b.n
    if va + vb == 0:
        return 1.0 if a.mean == b.mean else 0.0
    freedom = (va + vb) ** 2 / (va**2 / (a.n - 1) + vb**2 / (b.n - 1))
    return 2 * float(stdtr(freedom, -abs(a.mean - b.mean) / math.sqrt(va + vb)))
