"""The claim that a result is a power of a config key."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import linear_regression
from typing import final

from ebm_cli.claims.base import (
    Claim,
    RunGroup,
    Verdict,
    Where,
    group_runs,
    join_parts,
    require_selection,
    result_values,
)
from ebm_cli.runs.record import Record


@final
@dataclass(frozen=True)
class PowerLaw(Claim):
    """result ∝ config keyᵖ: p is the slope of log(mean result of the runs with the same key) against log(key).

    Args:
        key: of results.json, > 0 (of either sign if `squared`).
        against: a config key, > 0, such as dataset.n_train.
        exponent: p.
        within: largest distance of the measured slope from p, ≥ 0.
        where: selects the runs; None selects all.
        source: origin of the exponent, for the reader.
        squared: take the mean of the squares, for an error of either sign.
    """

    key: str
    against: str
    exponent: float
    within: float
    where: Where | None = None
    source: str = ""
    squared: bool = False

    def __post_init__(self) -> None:
        if self.within < 0:
            raise ValueError(f"within must be >= 0, got {self.within}")
        require_selection(where=self.where)

    def judge(self, runs: Sequence[Record]) -> list[Verdict]:
        return [self._judge_group(group) for group in group_runs(runs, self.where or {})]

    def _judge_group(self, group: RunGroup) -> Verdict:
        about = join_parts(group.label, f"{self.key}{'²' * self.squared} ∝ {self.against}^{self.exponent:g}")
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
        return Verdict(passed, join_parts(f"{about}:", found, bound, source=self.source))

    def _points(self, runs: Sequence[Record]) -> list[tuple[float, float]]:
        """(key, mean result or square) for each value of the key."""
        alike: dict[float, list[float]] = {}
        for run, result in zip(runs, result_values(runs, self.key), strict=True):
            value = result**2 if self.squared else result
            x = run.get(self.against)
            if not isinstance(x, int | float) or x <= 0 or value <= 0:
                raise LookupError(f"{run.path.name} has {self.against} = {x} and {self.key} = {result}, not both > 0")
            alike.setdefault(float(x), []).append(value)
        return [(x, sum(values) / len(values)) for x, values in sorted(alike.items())]
