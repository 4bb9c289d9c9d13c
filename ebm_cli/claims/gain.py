"""A difference is negative on average over splits of the data, beyond its noise."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, stdev
from typing import final

from ebm_cli.claims.base import Claim, Group, Verdict, Where, check_where, groups, numbers, sentence
from ebm_cli.runs.record import Record


@final
@dataclass(frozen=True)
class Gain(Claim):
    """mean of a result over J runs < 0, whose runs differ in the split of the data; with its standard error

        s √(1/J + r),     r = test rows / training rows,

    s the standard deviation over the runs. Splits share rows, so that J of them are not J independent ones: s/√J would
    go to 0 with more splits of the same rows.

    Source: Nadeau & Bengio (2003), Machine Learning 52, section 3 (corrected resampled t-test).

    Args:
        key: of results.json: a difference for which less than 0 is better, such as eval/nll_vs_gaussian.
        ratio: r > 0.
        where: which runs; None is all of them.

    Raises: ValueError for a ratio out of its range.
    """

    key: str
    ratio: float
    where: Where | None = None

    def __post_init__(self) -> None:
        if not 0 < self.ratio < float("inf"):
            raise ValueError(f"ratio must be > 0, got {self.ratio}")
        check_where(where=self.where)

    def judge(self, runs: Sequence[Record]) -> list[Verdict]:
        return [self._of(group) for group in groups(runs, self.where or {})]

    def _of(self, group: Group) -> Verdict:
        about = sentence(group.label, self.key)
        if len(group.runs) < 2:
            return Verdict(None, f"{about}: {len(group.runs)} runs; two splits are needed")
        try:
            values = numbers(group.runs, self.key)
        except LookupError as missing:
            return Verdict(False, f"{about}: {missing.args[0]}")
        mean, error = fmean(values), stdev(values) * sqrt(1 / len(values) + self.ratio)
        beyond = "" if abs(mean) > 2 * error else ", within its noise"
        split = f"{sum(value < 0 for value in values)} of {len(values)} splits below 0"
        why = "" if mean < 0 else _why_not(group.runs, mean)
        return Verdict(mean < 0, f"{about} {mean:.3g} ± {error:.2g}{beyond}; {split}{why}")


def _why_not(runs: Sequence[Record], mean: float) -> str:
    """What runs say of a mean that is not below 0: whether log Z is sure enough, and how many stopped early."""
    errors = [value for run in runs if isinstance(value := run.results.get("eval/log_z_se"), float)]
    said = []
    if errors:
        largest = max(errors)
        said.append(f"log Z is {'sure' if largest < mean else 'not sure'} (± {largest:.2g} at most)")
    early = sum(run.step is not None and run.steps is not None and run.step < run.steps for run in runs)
    if early:
        said.append(f"{early} of {len(runs)} runs stopped early, on validation rows that got worse")
    return "".join(f"; {words}" for words in said)
