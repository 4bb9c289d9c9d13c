"""The claim that a result lies within bounds."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from ebm_cli.claims.base import (
    Claim,
    RunGroup,
    Take,
    Verdict,
    Where,
    describe_values,
    group_runs,
    join_parts,
    reduce_values,
    require_selection,
    result_values,
)
from ebm_cli.runs.record import Record


@final
@dataclass(frozen=True)
class Bound(Claim):
    """at_least ≤ result ≤ at_most, for every group of runs that `where` selects.

    Args:
        key: of results.json.
        at_least, at_most: the bounds, in the result's unit; one of them may be None.
        where: selects the runs; None selects all.
        take: each run, or the median, mean or spread (largest − smallest) of a group's runs.
        source: the published number, for the reader.

    Raises:
        ValueError: no bound, or bounds that no number can meet.
    """

    key: str
    at_least: float | None = None
    at_most: float | None = None
    where: Where | None = None
    take: Take = "each"
    source: str = ""

    def __post_init__(self) -> None:
        if self.at_least is None and self.at_most is None:
            raise ValueError("at_most must be a number if at_least is null, got None")
        if self.at_least is not None and self.at_most is not None and self.at_least > self.at_most:
            raise ValueError(f"at_least must be <= at_most = {self.at_most}, got {self.at_least}")
        require_selection(where=self.where)

    def judge(self, runs: Sequence[Record]) -> list[Verdict]:
        return [self._judge_group(group) for group in group_runs(runs, self.where or {})]

    def _judge_group(self, group: RunGroup) -> Verdict:
        about = join_parts(group.label, self.key)
        if not group.runs:
            return Verdict(None, f"{about}: not run")
        try:
            values = result_values(group.runs, self.key)
        except LookupError as missing:
            return Verdict(False, f"{about}: {missing.args[0]}")
        compared = reduce_values(values, self.take)
        passed = all(
            (self.at_least is None or value >= self.at_least) and (self.at_most is None or value <= self.at_most)
            for value in compared
        )
        return Verdict(
            passed, join_parts(about, describe_values(values, self.take), self._bounds(passed), source=self.source)
        )

    def _bounds(self, passed: bool) -> str:
        if self.at_least is not None and self.at_most is not None:
            return f"{'in' if passed else 'not in'} [{self.at_least:g}, {self.at_most:g}]"
        sign, bound = ("≤", self.at_most) if self.at_least is None else ("≥", self.at_least)
        return f"{'' if passed else 'not '}{sign} {bound:g}"
