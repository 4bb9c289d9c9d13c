"""The claim that one result is smaller than another."""

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
class Order(Claim):
    """result < other result in the same runs, or < the same result in other runs.

    Args:
        key: of results.json: the smaller result.
        below: key of the larger result; None is `key` again, in other runs.
        where: selects the runs of the smaller result; None selects all.
        beside: selects the runs of the larger result; None compares each run with itself.
        take: each (every run of one side below every run of the other, or each run below itself if `beside` is None),
            or the median, mean or spread of either side.
        source: the published relation, for the reader.

    Raises:
        ValueError: a result would be compared with itself.
    """

    key: str
    below: str | None = None
    where: Where | None = None
    beside: Where | None = None
    take: Take = "each"
    source: str = ""

    def __post_init__(self) -> None:
        if self.beside is None and self.below in (None, self.key):
            raise ValueError(f"below must be another result than {self.key} if beside is null, got {self.below}")
        require_selection(where=self.where, beside=self.beside)

    def judge(self, runs: Sequence[Record]) -> list[Verdict]:
        lower = group_runs(runs, self.where or {})
        if self.beside is None:
            return [self._judge_pair(group, group) for group in lower]
        return [self._judge_pair(group, other) for group in lower for other in group_runs(runs, self.beside)]

    def _judge_pair(self, low: RunGroup, high: RunGroup) -> Verdict:
        below = self.below or self.key
        about, beside = join_parts(low.label, self.key), join_parts(high.label if self.beside else "", below)
        if not low.runs or not high.runs:
            return Verdict(None, f"{about} < {beside}: not run")
        try:
            lows, highs = result_values(low.runs, self.key), result_values(high.runs, below)
        except LookupError as missing:
            return Verdict(False, f"{about} < {beside}: {missing.args[0]}")
        if self.beside is None and self.take == "each":
            passed = all(a < b for a, b in zip(lows, highs, strict=True))
        else:
            passed = max(reduce_values(lows, self.take)) < min(reduce_values(highs, self.take))
        sign = "<" if passed else "not <"
        parts = (about, describe_values(lows, self.take), sign, beside, describe_values(highs, self.take))
        return Verdict(passed, join_parts(*parts, source=self.source))
