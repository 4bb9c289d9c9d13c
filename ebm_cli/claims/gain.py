"""The claim that a difference is negative on average over splits of the data, with its standard error."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, sqrt
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
        key: of results.json: a difference of which negative values are better, such as eval/nll_vs_mixture.
        ratio: r > 0.
        where: selects the runs; None selects all.
        misses: ≥ 0: groups of runs whose mean may be up to one standard error above 0. If there are more of them, each
            fails.

    Raises:
        ValueError: a ratio or a number of misses out of range.
    """

    key: str
    ratio: float
    where: Where | None = None
    misses: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.ratio < float("inf"):
            raise ValueError(f"ratio must be > 0, got {self.ratio}")
        if self.misses < 0:
            raise ValueError(f"misses must be >= 0, got {self.misses}")
        require_selection(where=self.where)

    def judge(self, runs: Sequence[Record]) -> list[Verdict]:
        judged = [self._judge_group(group) for group in group_runs(runs, self.where or {})]
        near = [verdict for verdict, misses_by in judged if not verdict.passed and 0 <= misses_by <= 1]
        if not 0 < len(near) <= self.misses:
            return [verdict for verdict, _ in judged]
        excuse = f"; by at most one standard error, as {self.misses} may"
        return [Verdict(True, verdict.what + excuse) if verdict in near else verdict for verdict, _ in judged]

    def _judge_group(self, group: RunGroup) -> tuple[Verdict, float]:
        """The verdict on a group, and its mean in standard errors; ∞ without one."""
        about = join_parts(group.label, self.key)
        if len(group.runs) < 2:
            return Verdict(None, f"{about}: {len(group.runs)} runs; two splits are needed"), inf
        try:
            values = result_values(group.runs, self.key)
        except LookupError as missing:
            return Verdict(False, f"{about}: {missing.args[0]}"), inf
        mean, error = fmean(values), stdev(values) * sqrt(1 / len(values) + self.ratio)
        noise = "" if abs(mean) > 2 * error else ", within its noise"
        splits = f"{sum(value < 0 for value in values)} of {len(values)} splits below 0"
        reasons = "" if mean < 0 else _possible_reasons(group.runs, mean)
        verdict = Verdict(mean < 0, f"{about} {mean:.3g} ± {error:.2g}{noise}; {splits}{reasons}")
        return verdict, mean / error if error > 0 else inf


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
