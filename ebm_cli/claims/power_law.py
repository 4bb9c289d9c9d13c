"""A result falls as a power of a config key."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import linear_regression
from typing import final

from ebm_cli.claims.base import Claim, Group, Verdict, Where, check_where, groups, numbers, sentence
from ebm_cli.runs.record import Record


@final
@dataclass(frozen=True)
class PowerLaw(Claim):
    """result ∝ config keyᵖ: p is the slope of log(mean result of the runs alike in the key) against log(key).

    Args:
        key: of results.json, > 0.
        against: a config key, > 0, such as dataset.n_train.
        exponent: p.
        within: how far the measured slope may be from p, ≥ 0.
        where: which runs; None is all of them.
        source: where the exponent comes from, for the reader.
    """

    key: str
    against: str
    exponent: float
    within: float
    where: Where | None = None
    source: str = ""

    def __post_init__(self) -> None:
        if self.within < 0:
            raise ValueError(f"within must be >= 0, got {self.within}")
        check_where(where=self.where)

    def judge(self, runs: Sequence[Record]) -> list[Verdict]:
        return [self._of(group) for group in groups(runs, self.where or {})]

    def _of(self, group: Group) -> Verdict:
        about = sentence(group.label, f"{self.key} ∝ {self.against}^{self.exponent:g}")
        try:
            points = self._points(group.runs)
        except LookupError as missing:
            return Verdict(False, f"{about}: {missing.args[0]}")
        if len(points) < 2:
            return Verdict(None, f"{about}: needs two values of {self.against}, got {len(points)}")
        slope = linear_regression([math.log(x) for x, _ in points], [math.log(y) for _, y in points]).slope
        passed = abs(slope - self.exponent) <= self.within
        found = f"slope {slope:.3f} over {len(points)} values, {len(group.runs)} runs;"
        bound = f"{'' if passed else 'not '}within {self.within:g}"
        return Verdict(passed, sentence(f"{about}:", found, bound, source=self.source))

    def _points(self, runs: Sequence[Record]) -> list[tuple[float, float]]:
        """(key, mean result) for each value of the key."""
        alike: dict[float, list[float]] = {}
        for run, value in zip(runs, numbers(runs, self.key), strict=True):
            x = run.value(self.against)
            if not isinstance(x, int | float) or x <= 0 or value <= 0:
                raise LookupError(f"{run.path.name} has {self.against} = {x} and {self.key} = {value}, not both > 0")
            alike.setdefault(float(x), []).append(value)
        return [(x, sum(values) / len(values)) for x, values in sorted(alike.items())]
