"""The claim that a difference is negative on average over splits of the data, with its standard error."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, stdev
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
class Gain(Claim):
    """The mean of a result over J runs, each with its own split of the data, is negative. Its standard error is

        s √(1/J + r),     r = test rows / training rows, s the standard deviation over the runs.

    Splits of the same rows are not independent: s/√J would go to 0 with the number of splits.

    Source: Nadeau & Bengio (2003), Machine Learning 52, section 3 (corrected resampled t-test).

    Args:
        key: of results.json: a difference of which negative values are better, such as eval/nll_vs_gaussian.
        ratio: r > 0.
        where: selects the runs; None selects all.

    Raises:
        ValueError: a ratio out of range.
    """

    key: str
    ratio: float
    where: Where | None = None

    def __post_init__(self) -> None:
        if not 0 < self.ratio < float("inf"):
            raise ValueError(f"ratio must be > 0, got {self.ratio}")
        require_selection(where=self.where)

    def judge(self, runs: Sequence[Record]) -> list[Verdict]:
        return [self._judge_group(group) for group in group_runs(runs, self.where or {})]

    def _judge_group(self, group: RunGroup) -> Verdict:
        about = join_parts(group.label, self.key)
        if len(group.runs) < 2:
            return Verdict(None, f"{about}: {len(group.runs)} runs; two splits are needed")
        try:
            values = result_values(group.runs, self.key)
        except LookupError as missing:
            return Verdict(False, f"{about}: {missing.args[0]}")
        mean, error = fmean(values), stdev(values) * sqrt(1 / len(values) + self.ratio)
        noise = "" if abs(mean) > 2 * error else ", within its noise"
        splits = f"{sum(value < 0 for value in values)} of {len(values)} splits below 0"
        reasons = "" if mean < 0 else _possible_reasons(group.runs, mean)
        return Verdict(mean < 0, f"{about} {mean:.3g} ± {error:.2g}{noise}; {splits}{reasons}")


def _possible_reasons(runs: Sequence[Record], mean: float) -> str:
    """Possible reasons of a mean that is not negative: an uncertain log Z, and runs that stopped early."""
    errors = [value for run in runs if isinstance(value := run.results.get("eval/log_z_se"), float)]
    reasons = []
    if errors:
        largest = max(errors)
        certain = "certain" if largest < mean else "uncertain"
        reasons.append(f"log Z is {certain} (± {largest:.2g} at most)")
    early = sum(run.step is not None and run.steps is not None and run.step < run.steps for run in runs)
    if early:
        reasons.append(f"{early} of {len(runs)} runs stopped early, when the validation rows got worse")
    return "".join(f"; {reason}" for reason in reasons)
